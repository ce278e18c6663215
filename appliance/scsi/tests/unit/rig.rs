//! A volume with one unit, and initiators that send it commands.

use luge_block::Geometry;
use luge_block::doubles::Scripted;
use luge_reservations::{Change, Receipt};
use luge_scsi::{
    Answer, Ending, Incoming, Initiator, InitiatorConfig, LogicalUnit, Nexus, PortGroup, PortGroups, Reply,
    Sense, SenseFormat, UnitConfig, UnitListener, UnitReset,
};
use luge_spec::scsi::{AdditionalSense, ScsiStatus};
use luge_volume::Volume;
use std::sync::{Arc, Mutex};

/// LUNs that the target of all initiators has.
pub const LUNS: [u8; 3] = [0, 1, 255];

pub const UUID: [u8; 16] = *b"0123456789abcdef";

/// A process: one volume, and the paths to it.
pub struct World {
    pub groups: PortGroups,
    pub unit: Arc<LogicalUnit>,
}

/// Owner of an initiator, which keeps what it is told.
#[derive(Default)]
pub struct Owner {
    /// Changes of the view that cores do not obey.
    pub receipts: Mutex<Vec<Receipt>>,
    /// Resets by others that commands have not ended for.
    pub resets: Mutex<Vec<UnitReset>>,
}

impl UnitListener for Owner {
    fn view_changed(&self, receipt: Receipt) {
        self.receipts.lock().unwrap().push(receipt);
    }

    fn unit_reset(&self, reset: UnitReset) {
        self.resets.lock().unwrap().push(reset);
    }

    fn change_over(&self) {}
}

/// An initiator, and its way to the unit.
pub struct Host {
    pub initiator: Initiator,
    pub nexus: Arc<Nexus>,
    pub owner: Arc<Owner>,
}

impl World {
    pub fn new() -> Self {
        Self::of(Geometry::for_tests())
    }

    pub fn of(geometry: Geometry) -> Self {
        let volume = Arc::new(Volume::whole(Arc::new(Scripted::new(geometry, 1))));
        Self { groups: PortGroups::default(), unit: LogicalUnit::new(config(volume)).unwrap() }
    }

    /// An initiator whose first unit attention was reported.
    pub fn host(&self, name: &str) -> Host {
        let host = self.new_host(name, self.groups.free());
        assert_eq!(host.code(&TEST_UNIT_READY), AdditionalSense::POWER_ON_OR_RESET);
        host
    }

    /// An initiator that has sent nothing.
    pub fn new_host(&self, name: &str, group: &Arc<PortGroup>) -> Host {
        let owner = Arc::<Owner>::default();
        let (name, group) = (name.to_owned(), group.clone());
        let initiator = Initiator::new(InitiatorConfig { name, group, listener: owner.clone() });
        let nexus = self.unit.connect(&initiator, 0);
        Host { initiator, nexus, owner }
    }
}

/// Description of a unit without names of its own.
pub fn config(volume: Arc<Volume>) -> UnitConfig {
    let reservations = volume.reservations().clone();
    UnitConfig { volume, reservations, uuid: UUID, serial: None, product: None }
}

pub const TEST_UNIT_READY: [u8; 6] = [0; 6];
pub const READ_10: [u8; 10] = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
pub const WRITE_10: [u8; 10] = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];

impl Host {
    pub fn reply(&self, cdb: &[u8], data_out: &[u8]) -> Reply {
        self.nexus.serve(&Incoming { cdb, data_out, luns: &LUNS })
    }

    /// Sends a command, and awaits its change.
    pub fn send(&self, cdb: &[u8], data_out: &[u8]) -> Answer {
        match self.reply(cdb, data_out) {
            Reply::Done(answer) => answer,
            Reply::GoOn => panic!("{cdb:02x?} is one for a core"),
            Reply::Later(change) => {
                self.owner.receipts.lock().unwrap().clear();
                assert!(change.is_over(), "{cdb:02x?}");
                Answer { ending: Ending::GOOD, data_in: Vec::new(), format: SenseFormat::Fixed }
            }
        }
    }

    /// Sends a command whose change others delay.
    pub fn begin(&self, cdb: &[u8], data_out: &[u8]) -> Change {
        match self.reply(cdb, data_out) {
            Reply::Later(change) => change,
            other => panic!("{cdb:02x?} has ended: {other:?}"),
        }
    }

    /// Data of a command that succeeds.
    pub fn data(&self, cdb: &[u8]) -> Vec<u8> {
        self.good(cdb, &[])
    }

    pub fn good(&self, cdb: &[u8], data_out: &[u8]) -> Vec<u8> {
        let answer = self.send(cdb, data_out);
        assert_eq!(answer.ending, Ending::GOOD, "{cdb:02x?} {data_out:02x?}");
        answer.data_in
    }

    /// Sense data of a command that fails.
    pub fn refused(&self, cdb: &[u8], data_out: &[u8]) -> Sense {
        let answer = self.send(cdb, data_out);
        assert_eq!(answer.data_in, [], "{cdb:02x?}");
        answer.ending.sense.unwrap_or_else(|| panic!("{cdb:02x?} ended with {:?}", answer.ending))
    }

    /// Additional sense code of a command that fails.
    pub fn code(&self, cdb: &[u8]) -> AdditionalSense {
        self.refused(cdb, &[]).code
    }

    /// Whether a command is a reservation conflict. It may be one for a core.
    pub fn conflicts(&self, cdb: &[u8], data_out: &[u8]) -> bool {
        match self.reply(cdb, data_out) {
            Reply::Done(answer) => answer.ending.status == ScsiStatus::RESERVATION_CONFLICT,
            Reply::GoOn | Reply::Later(_) => false,
        }
    }

    /// Reads all that the initiator is to be told.
    pub fn attentions(&self) -> Vec<AdditionalSense> {
        std::iter::from_fn(|| match self.reply(&READ_10, &[]) {
            Reply::Done(answer) => answer.ending.sense.map(|sense| sense.code),
            _ => None,
        })
        .collect()
    }
}

/// CDB of INQUIRY for a page of vital product data.
pub fn vpd(page: u8, allocation_length: u16) -> [u8; 6] {
    let [high, low] = allocation_length.to_be_bytes();
    [0x12, 1, page, high, low, 0]
}

pub fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}
