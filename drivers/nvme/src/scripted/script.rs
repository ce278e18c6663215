//! Script of a scripted SSD: its answers about itself, and its misbehaviour.

use luge_memory::PciId;
use luge_spec::nvme::{StatusCode, Version, command_sets, oncs};
use std::time::Duration;

/// Namespace of a scripted SSD.
#[derive(Clone, Debug)]
pub struct ScriptedNamespace {
    /// Identifier.
    pub id: u32,
    /// Size in blocks.
    pub blocks: u64,
    /// LBADS.
    pub block_shift: u8,
    /// MS.
    pub metadata_bytes: u16,
    /// DPS.
    pub protection: u8,
    /// NAWUN and NAWUPF; zero for a namespace without sizes of its own.
    pub atomic_z: u16,
    /// NSATTR bit 0.
    pub read_only: bool,
    /// CSI.
    pub command_set: u8,
    /// NGUID.
    pub nguid: [u8; 16],
    /// Status with which Identify Namespace ends.
    pub identify: StatusCode,
}

impl ScriptedNamespace {
    /// Plain namespace of 4 MiB.
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

/// Change that follows when CC.EN becomes 1.
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
    /// Failure of the command.
    Refused(StatusCode),
    /// Fixed identifiers, whatever is asked for.
    Ids(Vec<u32>),
    /// Every identifier, without an end.
    Endless,
}

/// Use that the SSD fails at: it reports a fatal error then, or drops a command.
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

/// Misbehaviour with one I/O command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mischief {
    /// Completes the command with an error.
    Status(StatusCode),
    /// Executes the command, but completes it under an identifier that no slot has.
    UnknownId,
    /// Completes the command twice.
    Twice,
    /// Does not execute the command, and completes it under the identifier of the last command in its slot.
    StaleId,
    /// Completes the command in the name of another submission queue.
    WrongQueue,
    /// Completes the command with a submission queue head beyond the tail.
    HeadPastTail,
    /// Completes the command with a submission queue head outside of the queue.
    HeadOutside,
    /// Completes the command, and flips the phase tag of the next completion entry, which has no completion.
    FalsePhase,
    /// Never completes the command.
    Silence,
    /// Never completes the command, and reports a fatal error.
    Fatal,
    /// Never completes the command, and is gone.
    Vanish,
}

/// Properties of a scripted SSD. They may change while it runs.
#[derive(Clone, Debug)]
pub struct Script {
    /// PCI vendor and device.
    pub model: PciId,
    /// Use that the SSD fails at.
    pub weakness: Option<Weakness>,
    /// CAP.MQES; zero for an SSD that does not tell, and takes 64 entries.
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
    /// AWUN and AWUPF.
    pub atomic_z: u16,
    /// WZSL; Identify CNS 06h fails before version 2.0.
    pub write_zeroes_max: u8,
    /// ONCS.
    pub oncs: u16,
    /// VWC.
    pub volatile_cache: u8,
    /// AERL.
    pub event_limit_z: u8,
    /// Number of I/O queue pairs that can be created.
    pub queue_pairs: u16,
    /// Number of I/O queue pairs that the SSD grants, whatever it is asked for. If none: as many as can be created, and
    /// no more than it is asked for.
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
    /// Change that follows when CC.EN becomes 1.
    pub enabling: Enabling,
    /// Whether CSTS.RDY follows when CC.EN becomes 0.
    pub disable_works: bool,
    /// Whether a function reset works.
    pub reset_works: bool,
    /// Whether bus mastering can be taken away.
    pub bus_master_works: bool,
    /// Whether a shutdown is ever confirmed.
    pub shutdown_works: bool,
    /// Whether I/O queues are created.
    pub queues_work: bool,
    /// Whether the SSD is in its slot.
    pub present: bool,
    /// Misbehaviour with every admin command: [`Mischief::UnknownId`], `WrongQueue`, `Twice` or `Silence`.
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
            atomic_z: 0,
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
    /// Number of entries of the largest I/O queue, zero-based.
    pub(super) const fn queue_limit_z(&self) -> u16 {
        if self.queue_entries_z == 0 { 63 } else { self.queue_entries_z }
    }
}
