//! vhost-user-scsi: a LUN of a host bus adapter. Header and answer of a slot are in lines of their own.
//!
//! The requests are READ (10) and WRITE (10), as Linux's driver has them, or READ (16) and WRITE (16) where the disk or
//! a request is too large for those. Unit attentions, which a LUN reports once, are not failures: the request is sent
//! again.

use super::kind::{Answer, Kind, Link};
use super::lines::{Buffer, LINE, SlotLines};
use super::open::Open;
use super::ring::Ring;
use super::talk::Talk;
use crate::error::BenchError;
use crate::options::Options;
use crate::queue::{BATCH, Done, Queue};
use luge_spec::scsi::{Capacity16, Opcode};
use luge_spec::virtio::Features;
use std::time::{Duration, Instant};
use zerocopy::FromBytes;

/// Length of a header: the LUN, the identifier, three bytes of attributes, and a CDB. Virtio 1.3, clause 5.6.6.1.
const HEADER: u32 = 51;
/// Place of the header, so that the block's address is at a multiple of eight.
const HEADER_AT: u32 = 3;
const CDB_AT: u32 = HEADER_AT + 19;
/// Place of the word with the address of the block; in CDBs of ten bytes it has the number of blocks, too.
const BLOCK_AT: u32 = CDB_AT + 2;
/// Place of the number of blocks in a CDB of 16 bytes.
const LONG_COUNT_AT: u32 = CDB_AT + 10;
/// Length of a response: twelve bytes, and sense data.
const RESPONSE: u32 = 12 + 96;
/// Place of the response's status, after the length of the sense data, the residual and the qualifier.
const STATUS_AT: u32 = LINE + 8;
/// Status of a request whose answer is GOOD although data is missing: none of SAM's.
const SHORT: u16 = 0xff;
/// Sense key UNIT ATTENTION.
const UNIT_ATTENTION: u8 = 6;
/// Status CHECK CONDITION with the response OK.
const CHECK_CONDITION: u64 = 2;

/// Time limit of a command before the load.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// A LUN, and the requests to it.
#[derive(Clone, Copy)]
pub(crate) struct Scsi {
    address: [u8; 8],
    /// Sectors of a block, as a power of two.
    shift: u32,
    /// Blocks of a request.
    blocks: u32,
    /// Whether CDBs have 16 bytes.
    is_long: bool,
}

impl Scsi {
    /// The requests to a disk of that size.
    fn sized(self, options: &Options, capacity: Size) -> Self {
        let blocks = options.bs / capacity.block_bytes;
        let is_long = capacity.blocks > 1 << 32 || blocks > u16::MAX.into();
        Self { shift: (capacity.block_bytes / 512).trailing_zeros(), blocks, is_long, ..self }
    }

    fn opcode(&self, writes: bool) -> Opcode {
        match (self.is_long, writes) {
            (false, false) => Opcode::READ_10,
            (false, true) => Opcode::WRITE_10,
            (true, false) => Opcode::READ_16,
            (true, true) => Opcode::WRITE_16,
        }
    }
}

impl Kind for Scsi {
    /// Behind the control and the event queue, which are never started.
    const FIRST_QUEUE: u16 = 2;
    const FEATURES: Features = Features(0);
    const MULTIQUEUE: Features = Features(0);
    const SLOT_BYTES: u32 = 3 * LINE;
    const ANSWER: u32 = LINE;

    fn new(options: &Options) -> Self {
        let lun = options.lun.unwrap_or(0);
        let mut address = [0; 8];
        let [high, low] = lun.to_be_bytes();
        // The flat form: Linux's driver writes it for all LUNs.
        address[..4].copy_from_slice(&[1, options.target.unwrap_or(0), 0x40 | high, low]);
        Self { address, shift: 0, blocks: 0, is_long: false }
    }

    fn prepare(&self, slot: SlotLines<'_>, data: Buffer, writes: bool) -> [Link; 3] {
        let mut header = [0; HEADER as usize];
        header[..8].copy_from_slice(&self.address);
        header[8..16].copy_from_slice(&slot.buffer(0, 0).address.to_le_bytes());
        header[19] = self.opcode(writes).0;
        (HEADER_AT..).zip(header).for_each(|(at, byte)| slot.set_byte(at, byte));
        if self.is_long {
            (LONG_COUNT_AT..).zip(self.blocks.to_be_bytes()).for_each(|(at, byte)| slot.set_byte(at, byte));
        }
        let header = Link { buffer: slot.buffer(HEADER_AT, HEADER), is_written: false };
        let response = Link { buffer: slot.buffer(Self::ANSWER, RESPONSE), is_written: true };
        let data = Link { buffer: data, is_written: !writes };
        if writes { [header, data, response] } else { [header, response, data] }
    }

    #[inline]
    fn sector(&self, slot: SlotLines<'_>) -> u64 {
        let word = u64::from_be(slot.word(BLOCK_AT));
        (if self.is_long { word } else { word >> 32 }) << self.shift
    }

    #[inline]
    fn set_sector(&self, slot: SlotLines<'_>, sector: u64) {
        let block = sector >> self.shift;
        // Of a CDB of ten bytes: the block, the group number, the number of blocks, the control byte.
        let word = if self.is_long { block } else { block << 32 | u64::from(self.blocks) << 8 };
        slot.set_word(BLOCK_AT, word.to_be());
    }

    #[inline]
    fn forget_answer(slot: SlotLines<'_>) {
        slot.set_word(STATUS_AT, u64::MAX);
    }

    #[inline]
    fn answer(slot: SlotLines<'_>) -> Answer {
        let answer = slot.word(STATUS_AT) >> 16;
        if answer & 0xffff == 0 {
            let residual = slot.word(LINE) >> 32;
            return Answer::Status(if residual == 0 { 0 } else { SHORT });
        }
        failure(slot)
    }

    /// The status of SAM-5 and the response of virtio.
    fn status(status: u16) -> String {
        match status.to_le_bytes() {
            [0xff, 0] => "GOOD, but less data than asked for".to_owned(),
            [status, response] => format!("{status:#04x} and response {response}"),
        }
    }
}

impl Open for Scsi {
    fn open(talk: &mut Talk<'_>, _: Features, rings: &mut [Ring<Self>]) -> Result<u64, BenchError> {
        let (options, capacity) = (talk.options(), read_capacity(talk, &mut rings[0])?);
        check(talk, capacity)?;
        for ring in rings {
            let kind = ring.kind().sized(options, capacity);
            ring.prepare_all(kind);
        }
        Ok(capacity.blocks * u64::from(capacity.block_bytes / 512))
    }
}

/// Answer that is no success.
#[cold]
fn failure(slot: SlotLines<'_>) -> Answer {
    if sense_key(slot) == Some(UNIT_ATTENTION) {
        return Answer::Again;
    }
    let [_, _, status, response, ..] = slot.word(STATUS_AT).to_le_bytes();
    Answer::Status(u16::from_le_bytes([status, response]))
}

/// Size of a LUN.
#[derive(Clone, Copy)]
struct Size {
    blocks: u64,
    block_bytes: u32,
}

/// Writes a CDB of up to 32 bytes.
pub(super) fn write_cdb(slot: SlotLines<'_>, cdb: &[u8]) {
    (CDB_AT..).zip(cdb).for_each(|(at, byte)| slot.set_byte(at, *byte));
}

/// Sense key of a slot's answer, if that is CHECK CONDITION.
pub(super) fn sense_key(slot: SlotLines<'_>) -> Option<u8> {
    let answer = slot.word(STATUS_AT) >> 16;
    let sense = answer >> 16;
    let [key, ..] = if sense & 0x7e == 0x72 { sense >> 8 } else { sense >> 16 }.to_le_bytes();
    (answer & 0xffff == CHECK_CONDITION).then_some(key & 0xf)
}

/// Asks the LUN for its size, by the first slot of a ring.
fn read_capacity(talk: &Talk<'_>, ring: &mut Ring<Scsi>) -> Result<Size, BenchError> {
    const ANSWER_BYTES: u8 = 32;
    let mut cdb = [0; 32];
    cdb[0] = Opcode::SERVICE_ACTION_IN_16.0;
    cdb[1] = 0x10;
    cdb[13] = ANSWER_BYTES;
    write_cdb(ring.lines(0), &cdb);
    Scsi::forget_answer(ring.lines(0));
    ring.submit_prepared(0, 0);
    ring.publish();
    ring.kick_anyway();
    let status = wait(talk, ring)?;
    // Of the data it writes less than a request reads.
    if status != 0 && status != SHORT {
        return Err(
            talk.wrong(&format!("READ CAPACITY (16) has failed with status {}", Scsi::status(status)))
        );
    }
    let mut answer = [0; ANSWER_BYTES as usize];
    ring.data(0).split_at(ANSWER_BYTES.into()).0.read(&mut answer);
    let capacity =
        Capacity16::read_from_bytes(&answer).map_err(|_| talk.wrong("READ CAPACITY: too short"))?;
    Ok(Size { blocks: capacity.last_lba.get().wrapping_add(1), block_bytes: capacity.block_bytes.get() })
}

/// Waits for the answer to the only request of a ring; returns its status.
fn wait(talk: &Talk<'_>, ring: &mut Ring<Scsi>) -> Result<u16, BenchError> {
    let (start, mut done) = (Instant::now(), [Done::default(); BATCH]);
    loop {
        if ring.reap(&mut done).map_err(|reason| talk.wrong(&reason))? > 0 {
            return Ok(done[0].status);
        }
        if talk.is_over() || start.elapsed() > COMMAND_LIMIT {
            return Err(talk.wrong("it does not answer READ CAPACITY (16)"));
        }
        std::thread::yield_now();
    }
}

/// Fails unless the LUN is one for the options.
fn check(talk: &Talk<'_>, size: Size) -> Result<(), BenchError> {
    let (Size { blocks, block_bytes }, bs) = (size, talk.options().bs);
    if block_bytes < 512 || !block_bytes.is_power_of_two() {
        return Err(talk.wrong(&format!("the LUN has blocks of {block_bytes} bytes")));
    }
    if !bs.is_multiple_of(block_bytes) {
        return Err(BenchError::Options(format!(
            "--bs {bs}: the LUN has blocks of {block_bytes} bytes, name a multiple of that"
        )));
    }
    if blocks < u64::from(bs / block_bytes) {
        return Err(talk.wrong(&format!("the LUN has {blocks} blocks only, less than one request")));
    }
    Ok(())
}
