//! A wait for what is in flight on a volume.

use crate::Attachment;
use crate::answer::{Question, question};

/// Waits until the requests have ended that are in flight on a volume now, on all cores that it is attached to: as long
/// as the slowest SSD takes. Requests that come meanwhile are held.
pub fn drain<'a>(attachments: impl IntoIterator<Item = &'a Attachment>) {
    // All cores drain at the same time.
    let begun = attachments.into_iter().map(|attachment| {
        let (question, answer) = question();
        let volume = attachment.volume();
        attachment.core().send(move |core| core.drain(volume, Box::new(move || answer.give(()))));
        question
    });
    begun.collect::<Vec<_>>().into_iter().for_each(Question::wait);
}
