//! A volume on several cores.

use crate::{AttachError, Attachment, CoreHandle};
use luge_block::OpenError;
use luge_volume::Volume;
use std::sync::Arc;

/// A volume on several cores.
pub struct Attachments {
    /// The volume on each core that serves it: one at least, unless there was none to ask.
    pub list: Vec<Attachment>,
    /// Refusal of a core that was left out, because the SSD beneath has no queue pair left for it.
    pub left_out: Option<AttachError>,
}

impl Attachments {
    /// Lets cores serve a volume, in order, until `most` of them do. Blocks while devices open queues. Cores for which
    /// the SSD beneath has no queue pair left are left out, as long as one remains.
    ///
    /// # Errors
    /// [`AttachError`]; nothing has changed then.
    pub fn open(cores: &[CoreHandle], volume: &Arc<Volume>, most: usize) -> Result<Self, AttachError> {
        let (mut list, mut left_out) = (Vec::new(), None);
        for core in cores {
            if list.len() == most {
                break;
            }
            match core.attach(volume) {
                Ok(attachment) => list.push(attachment),
                Err(error @ AttachError::Open(OpenError::NoQueue { .. })) => left_out = Some(error),
                Err(error) => return Err(error),
            }
        }
        match left_out {
            Some(error) if list.is_empty() => Err(error),
            left_out => Ok(Self { list, left_out }),
        }
    }
}
