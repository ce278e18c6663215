//! What a scripted SSD says of itself, and how it misbehaves.

use luge_memory::PciId;
use luge_spec::nvme::{StatusCode, Version, command_sets, oncs};
use std::time::Duration;

/// A namespace of a scripted SSD.
#[derive(Clone, Debug)]
pub struct ScriptedNamespace {
    /// Its identifier.
    pub id: u32,
    /// Size in blocks.
    pub blocks: u64,
    /// LBADS.
    pub block_shift: u8,
    /// MS.
    pub metadata_bytes: u16,
    /// DPS.
    pub protection: u8,
    /// NAWUN and NAWUPF; it has none of its own if zero.
    pub atomic_z: u16,
    /// NSATTR bit 0.
    pub read_only: bool,
    /// CSI.
    pub command_set: u8,
    /// NGUID.
    pub nguid: [u8; 16],
    /// Status with which Identify of it ends.
    pub identify: StatusCode,
}

impl ScriptedNamespace {
    /// A plain one of 4 MiB.
    #[must_use]
    pub fn new(id: u32, block_shift: u8) -> Self {
        let blocks = 4 << 20 >> block_shift;
        Self {
            id,
            blocks,
            block_shift,
            metadata_bytes: 0,
            protection: 0,
            atomic_z: 0,
            read_only: false,
            command_set: 0,
            nguid: [0x5a; 16],
            identify: StatusCode::SUCCESS,
        }
    }
}

/// What follows when CC.EN becomes 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enabling {
    /// CSTS.RDY becomes 1.
    Ready,
    /// Nothing.
    Never,
    /// CSTS.CFS becomes 1.
    Fatal,
}

/// Answer to the list of active namespaces (Identify CNS 02h).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listing {
    /// The namespaces there are.
    True,
    /// Nothing: the command fails.
    Refused(StatusCode),
    /// Fixed identifiers, above whichever one is asked for.
    Ids(Vec<u32>),
    /// Every identifier, without an end.
    Endless,
}

/// A use that a model fails at: it reports a fatal error then, or drops a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weakness {
    /// A register is written sooner than this after a function reset, or after the start.
    WriteAfterReset(Duration),
    /// CSTS is read sooner than this after CC.EN became 0.
    LookAfterDisable(Duration),
    /// A command is fetched from an I/O queue sooner than this after the queue was created.
    CommandAfterCreation(Duration),
    /// An I/O queue holds two commands at a time.
    TwoCommands,
    /// Write Zeroes is sent.
    WriteZeroes,
    /// Identify is sent with a CNS above 01h.
    IdentifyBeyondBasic,
    /// The admin queue's submission ring is no whole number of pages.
    PartOfPage,
    /// A command has an identifier that is no index of an entry of its queue.
    LargeIdentifiers,
}

/// What happens to one I/O command instead of what should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mischief {
    /// It completes with an error.
    Status(StatusCode),
    /// It is executed, but completed under an identifier that no slot has.
    UnknownId,
    /// It is completed twice.
    Twice,
    /// It is not executed, and completed under the identifier of the last command in its slot.
    StaleId,
    /// It is completed in the name of another submission queue.
    WrongQueue,
    /// It is completed with a submission queue head that nobody submitted up to.
    HeadPastTail,
    /// It is completed with a submission queue head outside of the queue.
    HeadOutside,
    /// Besides, the phase tag of the next completion entry flips, with nothing behind it.
    LyingPhase,
    /// It is never completed.
    Silence,
    /// It is never completed, and the SSD reports a fatal error.
    Fatal,
    /// It is never completed, and the SSD is gone.
    Vanish,
}

/// What a scripted SSD is like. May change while it runs.
#[derive(Clone, Debug)]
pub struct Script {
    /// PCI vendor and device.
    pub model: PciId,
    /// A use that it fails at.
    pub weakness: Option<Weakness>,
    /// CAP.MQES; zero for one that does not tell, and takes 64 entries.
    pub queue_entries_z: u16,
    /// CAP.DSTRD.
    pub stride_log: u8,
    /// CAP.TO.
    pub timeout_500ms: u8,
    /// CAP.MPSMIN.
    pub page_min_log: u8,
    /// CAP.CSS.
    pub command_sets: u8,
    /// The combinations of I/O command sets (Identify CNS 1Ch); the command fails where there is none.
    pub combinations: Vec<u64>,
    /// VS.
    pub version: Version,
    /// MDTS.
    pub transfer_max: u8,
    /// WZSL; Identify CNS 06h fails before version 2.0.
    pub write_zeroes_max: u8,
    /// ONCS.
    pub oncs: u16,
    /// VWC.
    pub volatile_cache: u8,
    /// AERL.
    pub event_limit_z: u8,
    /// I/O queue pairs it gives.
    pub queue_pairs: u16,
    /// I/O queue pairs it grants, whatever it is asked for; as many as it gives, and no more than asked for, if none.
    pub granted: Option<u16>,
    /// SN.
    pub serial: &'static str,
    /// Namespaces, in ascending order.
    pub namespaces: Vec<ScriptedNamespace>,
    /// NN; the last namespace's identifier if none.
    pub namespaces_max: Option<u32>,
    /// Answer to the list of active namespaces.
    pub listing: Listing,
    /// Byte that fills the identify pages, instead of their content.
    pub identify_fill: Option<u8>,
    /// Duration of Identify.
    pub identify_takes: Duration,
    /// MSI-X vectors.
    pub vectors: u16,
    /// What follows when CC.EN becomes 1.
    pub enabling: Enabling,
    /// Whether CSTS.RDY follows when CC.EN becomes 0.
    pub disable_works: bool,
    /// Whether a function reset does.
    pub reset_works: bool,
    /// Whether bus mastering can be taken away.
    pub bus_master_works: bool,
    /// Whether a shutdown is ever confirmed.
    pub shutdown_works: bool,
    /// Whether I/O queues are created.
    pub queues_work: bool,
    /// Whether it is in its slot.
    pub present: bool,
    /// What happens to every admin command: [`Mischief::UnknownId`], `WrongQueue`, `Twice` or `Silence`.
    pub admin: Option<Mischief>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            model: PciId { vendor: 0x1b36, device: 0x0010 },
            weakness: None,
            queue_entries_z: 1023,
            stride_log: 0,
            timeout_500ms: 1,
            page_min_log: 0,
            command_sets: command_sets::NVM,
            combinations: Vec::new(),
            version: Version(0x0001_0400),
            transfer_max: 5,
            write_zeroes_max: 0,
            oncs: oncs::DATASET_MANAGEMENT | oncs::WRITE_ZEROES,
            volatile_cache: 1,
            event_limit_z: 3,
            queue_pairs: 4,
            granted: None,
            serial: "LUGE-0001",
            namespaces: vec![ScriptedNamespace::new(1, 9)],
            namespaces_max: None,
            listing: Listing::True,
            identify_fill: None,
            identify_takes: Duration::ZERO,
            vectors: 0,
            enabling: Enabling::Ready,
            disable_works: true,
            reset_works: true,
            bus_master_works: true,
            shutdown_works: true,
            queues_work: true,
            present: true,
            admin: None,
        }
    }
}

impl Script {
    /// Entries of the largest I/O queue, zero-based.
    pub(super) const fn queue_limit_z(&self) -> u16 {
        if self.queue_entries_z == 0 { 63 } else { self.queue_entries_z }
    }
}
