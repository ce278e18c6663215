//! The admin commands that Luge uses, each as one function.
//!
//! Path: none; the control plane.

use crate::ErrorKind;
use crate::admin::Admin;
use crate::link::QueueId;
use crate::queue_memory::QueueMemory;
use crate::quirks::Quirk;
use luge_spec::nvme::{
    AdminOpcode, AsyncEvent, Cns, CommandSetCombinations, FeatureId, LogPage, QueueCounts, SubmissionEntry,
    event_config,
};
use zerocopy::{FromBytes, IntoBytes};

/// Namespace identifier that means all namespaces.
const ALL_NAMESPACES: u32 = u32::MAX;

/// CNTID that means the controller that gets the command.
const THIS_CONTROLLER: u32 = 0xffff;

/// PC of the Create commands: the memory of a queue is one piece.
const PHYSICALLY_CONTIGUOUS: u32 = 1;

impl Admin {
    /// Identify: reads a page of that kind.
    pub(crate) fn identify<T: FromBytes + IntoBytes>(
        &mut self,
        cns: Cns,
        namespace: u32,
    ) -> Result<T, ErrorKind> {
        let entry = SubmissionEntry::admin(AdminOpcode::IDENTIFY, u32::from(cns.0), 0);
        self.read_data(SubmissionEntry { namespace, ..entry })
    }

    /// Identify: reads the combinations of I/O command sets of this controller.
    pub(crate) fn command_set_combinations(&mut self) -> Result<CommandSetCombinations, ErrorKind> {
        let cdw10 = THIS_CONTROLLER << 16 | u32::from(Cns::COMMAND_SET_COMBINATIONS.0);
        self.read_data(SubmissionEntry::admin(AdminOpcode::IDENTIFY, cdw10, 0))
    }

    /// Chooses a combination of I/O command sets by its index.
    pub(crate) fn choose_command_sets(&mut self, index: u32) -> Result<(), ErrorKind> {
        self.set_feature(FeatureId::COMMAND_SET_PROFILE, index).map(drop)
    }

    /// Get Log Page: reads a page of the whole controller. The controller may then send the next event about it.
    pub(crate) fn log_page<T: FromBytes + IntoBytes>(&mut self, page: LogPage) -> Result<T, ErrorKind> {
        let words_z = u32::try_from(size_of::<T>() / 4).unwrap_or(1).saturating_sub(1);
        let entry = SubmissionEntry::admin(
            AdminOpcode::GET_LOG_PAGE,
            u32::from(page.0) | words_z << 16,
            words_z >> 16,
        );
        self.read_data(SubmissionEntry { namespace: ALL_NAMESPACES, ..entry })
    }

    /// Asks for I/O queue pairs; returns how many the controller grants, at most `wanted`.
    pub(crate) fn set_queue_pairs(&mut self, wanted: u16) -> Result<u16, ErrorKind> {
        let counts = QueueCounts::pairs_z(wanted.saturating_sub(1));
        let granted = QueueCounts(self.set_feature(FeatureId::NUMBER_OF_QUEUES, counts.0)?);
        let granted_z = granted.submission_z().min(granted.completion_z());
        Ok(granted_z.saturating_add(1).min(wanted))
    }

    /// Enables events: critical warnings, and those of `offered` (OAES) that Luge understands.
    pub(crate) fn request_events(&mut self, offered: u32) -> Result<(), ErrorKind> {
        let notices = offered & (event_config::NAMESPACES_CHANGED | event_config::FIRMWARE_ACTIVATION);
        let wanted = event_config::CRITICAL_WARNINGS | notices;
        self.set_feature(FeatureId::ASYNC_EVENT_CONFIGURATION, wanted).map(drop)
    }

    /// Reads the log page that an event names, so that the controller may send the next event of its type.
    pub(crate) fn acknowledge(&mut self, event: AsyncEvent) -> Result<(), ErrorKind> {
        match LogPage(event.log_page()) {
            LogPage(0) => Ok(()),
            LogPage::CHANGED_NAMESPACES => self.log_page::<[u32; 1024]>(LogPage(event.log_page())).map(drop),
            page => self.log_page::<[u32; 128]>(page).map(drop),
        }
    }

    /// Creates an I/O queue pair without an interrupt in its memory: the completion queue first.
    pub(crate) fn create_queue_pair(&mut self, id: QueueId, memory: &QueueMemory) -> Result<(), ErrorKind> {
        let size_and_id = u32::from(memory.entries().saturating_sub(1)) << 16 | u32::from(id.0);
        let completion = SubmissionEntry {
            prp1: memory.completions().iova().0,
            ..SubmissionEntry::admin(AdminOpcode::CREATE_COMPLETION_QUEUE, size_and_id, PHYSICALLY_CONTIGUOUS)
        };
        let use_completion_queue = u32::from(id.0) << 16 | PHYSICALLY_CONTIGUOUS;
        let submission = SubmissionEntry {
            prp1: memory.submissions().iova().0,
            ..SubmissionEntry::admin(AdminOpcode::CREATE_SUBMISSION_QUEUE, size_and_id, use_completion_queue)
        };
        self.execute(completion)?;
        self.execute(submission).inspect_err(|_| {
            let delete = SubmissionEntry::admin(AdminOpcode::DELETE_COMPLETION_QUEUE, u32::from(id.0), 0);
            let _ = self.execute(delete);
        })?;
        self.registers().quirks().pause(Quirk::PauseAfterQueue);
        Ok(())
    }

    /// Deletes an I/O queue pair: the submission queue first, which ends its commands.
    pub(crate) fn delete_queue_pair(&mut self, id: QueueId) -> Result<(), ErrorKind> {
        let id = u32::from(id.0);
        self.execute(SubmissionEntry::admin(AdminOpcode::DELETE_SUBMISSION_QUEUE, id, 0))?;
        self.execute(SubmissionEntry::admin(AdminOpcode::DELETE_COMPLETION_QUEUE, id, 0)).map(drop)
    }

    fn set_feature(&mut self, feature: FeatureId, value: u32) -> Result<u32, ErrorKind> {
        self.execute(SubmissionEntry::admin(AdminOpcode::SET_FEATURES, u32::from(feature.0), value))
    }

    /// Executes a command that returns at most a page of data; returns the data.
    fn read_data<T: FromBytes + IntoBytes>(&mut self, entry: SubmissionEntry) -> Result<T, ErrorKind> {
        let data = self.data();
        data.fill(0);
        self.execute(SubmissionEntry { prp1: data.iova().0, ..entry })?;
        let mut value = T::new_zeroed();
        data.read(value.as_mut_bytes());
        Ok(value)
    }
}
