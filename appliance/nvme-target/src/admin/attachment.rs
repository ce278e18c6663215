//! Namespace Attachment. Base 2.0, clause 5.22.
//!
//! Namespaces of the subsystem are attached to its controllers, and detached. They are neither created nor deleted by
//! hosts (Namespace Management): that is the operator's.

use super::outcome::{INVALID_FIELD, INVALID_NAMESPACE, Outcome, Reply, refuse};
use crate::commands::CommandStatus;
use crate::controller::Controller;
use crate::ids::NamespaceId;
use luge_spec::nvme::{StatusCode, SubmissionEntry};

/// Bytes of a list of controllers.
const LIST_BYTES: usize = 4096;

/// Most controllers of a list.
const CONTROLLERS_MAX: usize = 2047;

/// SEL of the command.
enum Selection {
    Attach,
    Detach,
}

impl Controller {
    /// Namespace Attachment.
    pub(super) fn attach_namespace(&mut self, entry: &SubmissionEntry) -> Reply {
        let [cdw10, ..] = entry.cdw10;
        let selection = match cdw10 & 0xf {
            0 => Selection::Attach,
            1 => Selection::Detach,
            _ => return Err(INVALID_FIELD),
        };
        let id = NamespaceId(entry.namespace);
        if self.parts.subsystem.namespace(id).is_none() {
            return Err(INVALID_NAMESPACE);
        }
        let controllers = self.controllers_in(&self.host_data::<LIST_BYTES>(entry)?)?;
        self.check_attachments(id, &controllers, &selection)?;
        for controller in controllers {
            match selection {
                Selection::Attach => self.parts.subsystem.attach(id, controller),
                Selection::Detach => self.parts.subsystem.detach(id, controller),
            };
        }
        // The host knows of its own change; others are told by their events.
        self.namespaces_changed();
        Ok(Outcome::DONE)
    }

    /// Controllers of a list, each of which exists.
    fn controllers_in(&self, list: &[u8]) -> Result<Vec<u16>, CommandStatus> {
        let (words, _) = list.as_chunks::<2>();
        let mut words = words.iter().map(|word| u16::from_le_bytes(*word));
        let count = usize::from(words.next().unwrap_or(0));
        let ids: Vec<u16> = words.take(count).collect();
        let known = self.parts.subsystem.controller_list();
        let is_sorted = ids.iter().zip(ids.iter().skip(1)).all(|(one, next)| one < next);
        let is_valid = (1..=CONTROLLERS_MAX).contains(&count) && is_sorted;
        if !is_valid || !ids.iter().all(|id| known.contains(id)) {
            return refuse(StatusCode::INVALID_CONTROLLER_LIST);
        }
        Ok(ids)
    }

    /// Checks that each attachment changes: all of them are made, or none.
    fn check_attachments(
        &self,
        id: NamespaceId,
        controllers: &[u16],
        selection: &Selection,
    ) -> Result<(), CommandStatus> {
        let attached = self.parts.subsystem.attached_to(id);
        let is_attached = |controller: &u16| attached.contains(controller);
        match selection {
            Selection::Attach if controllers.iter().any(is_attached) => {
                refuse(StatusCode::NAMESPACE_ALREADY_ATTACHED)
            }
            Selection::Detach if !controllers.iter().all(is_attached) => {
                refuse(StatusCode::NAMESPACE_NOT_ATTACHED)
            }
            Selection::Attach | Selection::Detach => Ok(()),
        }
    }
}
