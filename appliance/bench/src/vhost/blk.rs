//! vhost-user-blk: a header of 16 bytes and a status byte, in one cache line as in Linux's driver.

use super::kind::{Answer, Kind, Link};
use super::lines::{Buffer, LINE, SlotLines};
use super::open::Open;
use super::ring::Ring;
use super::talk::Talk;
use crate::error::BenchError;
use crate::options::Options;
use luge_spec::virtio::blk::{Config, RequestStatus, RequestType};
use luge_spec::virtio::{Features, blk};
use zerocopy::FromBytes;

/// Length of a header. The sector is its second half.
const HEADER: u32 = 16;
const SECTOR: u32 = 8;
/// Status that no server writes.
const NO_STATUS: u8 = !RequestStatus::OK.0;

/// A virtio disk.
#[derive(Clone, Copy)]
pub(crate) struct Blk;

impl Kind for Blk {
    const FIRST_QUEUE: u16 = 0;
    const FEATURES: Features =
        Features(Features::BLK_FLUSH.0 | Features::BLK_RO.0 | Features::BLK_BLK_SIZE.0 | Features::BLK_MQ.0);
    const MULTIQUEUE: Features = Features::BLK_MQ;
    const SLOT_BYTES: u32 = LINE;
    const ANSWER: u32 = HEADER;

    fn new(_: &Options) -> Self {
        Self
    }

    #[inline]
    fn prepare(&self, slot: SlotLines<'_>, data: Buffer, writes: bool) -> [Link; 3] {
        let kind = if writes { RequestType::OUT } else { RequestType::IN };
        slot.set_word(0, kind.0.get().into());
        [
            Link { buffer: slot.buffer(0, HEADER), is_written: false },
            Link { buffer: data, is_written: !writes },
            Link { buffer: slot.buffer(Self::ANSWER, 1), is_written: true },
        ]
    }

    #[inline]
    fn sector(&self, slot: SlotLines<'_>) -> u64 {
        slot.word(SECTOR)
    }

    #[inline]
    fn set_sector(&self, slot: SlotLines<'_>, sector: u64) {
        slot.set_word(SECTOR, sector);
    }

    #[inline]
    fn forget_answer(slot: SlotLines<'_>) {
        slot.set_byte(Self::ANSWER, NO_STATUS);
    }

    #[inline]
    fn answer(slot: SlotLines<'_>) -> Answer {
        Answer::Status(slot.byte(Self::ANSWER).into())
    }

    /// A number of virtio.
    fn status(status: u16) -> String {
        status.to_string()
    }
}

impl Open for Blk {
    fn open(talk: &mut Talk<'_>, features: Features, _: &mut [Ring<Self>]) -> Result<u64, BenchError> {
        // As long as the oldest servers know it: up to the writeback byte and the queues.
        let bytes = talk.config(60)?;
        let mut whole = [0; size_of::<Config>()];
        whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        let config = blk::Config::read_from_bytes(&whole).map_err(|_| talk.wrong("GET_CONFIG: too short"))?;
        check(talk, features, &config)?;
        Ok(config.capacity.get())
    }
}

/// Fails unless the disk is one for the options.
fn check(talk: &Talk<'_>, features: Features, config: &Config) -> Result<(), BenchError> {
    let (sectors, bs) = (config.capacity.get(), talk.options().bs);
    let block = if features.contains(Features::BLK_BLK_SIZE) { config.blk_size.get() } else { 0 };
    if block != 0 && !bs.is_multiple_of(block) {
        return Err(BenchError::Options(format!(
            "--bs {bs}: the disk has blocks of {block} bytes, name a multiple of that"
        )));
    }
    if sectors < u64::from(bs / 512) {
        return Err(talk.wrong(&format!("the disk has {sectors} sectors only, less than one request")));
    }
    if talk.options().rw.writes() && features.contains(Features::BLK_RO) {
        return Err(talk.wrong("the disk is read-only"));
    }
    Ok(())
}
