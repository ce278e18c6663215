//! Data of admin commands, to and from guest memory.

use crate::commands::CommandStatus;
use crate::controller::Controller;
use crate::data::HostBuffer;
use luge_memory::Use;
use luge_spec::nvme::SubmissionEntry;

impl Controller {
    /// Copies data of a command to its host.
    ///
    /// # Errors
    /// The status of the command; nothing is written then.
    pub(super) fn to_host(&self, entry: &SubmissionEntry, data: &[u8]) -> Result<(), CommandStatus> {
        if data.is_empty() {
            return Ok(());
        }
        self.host_buffer(entry, data.len(), Use::Write)?.write(data);
        Ok(())
    }

    /// Copies data of a command from its host.
    ///
    /// # Errors
    /// The status of the command.
    pub(super) fn host_data<const BYTES: usize>(
        &self,
        entry: &SubmissionEntry,
    ) -> Result<[u8; BYTES], CommandStatus> {
        let mut data = [0; BYTES];
        self.host_buffer(entry, BYTES, Use::Read)?.read(&mut data);
        Ok(data)
    }

    fn host_buffer(
        &self,
        entry: &SubmissionEntry,
        bytes: usize,
        purpose: Use,
    ) -> Result<HostBuffer, CommandStatus> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let page_bytes = self.state.configuration().page_bytes();
        HostBuffer::find(entry, bytes, page_bytes, purpose, self.memory())
    }
}
