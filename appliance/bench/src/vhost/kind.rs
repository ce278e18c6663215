//! Differences between the kinds of disks: their queues, and the layout of requests.

use super::lines::{Buffer, SlotLines};
use crate::options::Options;
use luge_spec::virtio::Features;

/// A buffer of a chain, and whether the server writes to it.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) buffer: Buffer,
    pub(crate) is_written: bool,
}

/// Answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Zero for success, else as the protocol numbers them.
    Status(u16),
    /// The request did nothing, and is to be sent again.
    Again,
}

/// A kind of disk. Its values are small, and copied into each ring. Calls are generic, not dynamic.
pub(crate) trait Kind: Copy {
    /// The ring with the first requests.
    const FIRST_QUEUE: u16;
    /// Features of the kind that are used where they are offered.
    const FEATURES: Features;
    /// Feature without which there is one queue only, where there is such a feature.
    const MULTIQUEUE: Features;
    /// Bytes of a slot's header and answer, in whole cache lines.
    const SLOT_BYTES: u32;
    /// Place of the answer in the slot.
    const ANSWER: u32;

    /// The kind with what the options say about it.
    fn new(options: &Options) -> Self;

    /// Writes a slot's header for a direction; returns the chain.
    fn prepare(&self, slot: SlotLines<'_>, data: Buffer, writes: bool) -> [Link; 3];

    /// First sector of a slot's request.
    fn sector(&self, slot: SlotLines<'_>) -> u64;

    /// Sets the first sector of a slot's request.
    fn set_sector(&self, slot: SlotLines<'_>, sector: u64);

    /// Makes an answer that the server does not write known as such.
    fn forget_answer(slot: SlotLines<'_>);

    /// Answer of the server.
    fn answer(slot: SlotLines<'_>) -> Answer;

    /// Name of a status.
    fn status(status: u16) -> String;
}
