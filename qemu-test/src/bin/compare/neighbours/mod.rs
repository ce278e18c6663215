//! `cargo compare --neighbours`: measures a victim beside nobody, honest tenants and attacks, each on the
//! same core of one `luge serve`.

mod beside;
mod report;

use crate::cpus::{self, Cpus};
use crate::measure::Meter;
use crate::rows::{Device, Direction, Row};
use beside::{Beside, Seen};
use luge_image::Progress;
use luge_qemu_test::TestError;
use luge_qemu_test::neighbours::{ATTACKS, DiskKind, HONEST, House, Neighbour, QUICK, Resident};
pub(crate) use report::Report;

/// Requests in flight of the victim.
const DEPTHS: [u16; 2] = [1, 32];

/// Size of the victim's requests in bytes.
const BYTES: u32 = 512;

/// Extent of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The null device at depth 1, and few neighbours.
    Quick,
    /// All devices, depths and neighbours.
    All,
}

impl Extent {
    fn kinds(self) -> &'static [DiskKind] {
        match self {
            Self::Quick => &[DiskKind::Null],
            Self::All => &[DiskKind::Null, DiskKind::Memory],
        }
    }

    fn depths(self) -> &'static [u16] {
        match self {
            Self::Quick => &DEPTHS[..1],
            Self::All => &DEPTHS,
        }
    }

    fn neighbours(self) -> Vec<&'static dyn Neighbour> {
        match self {
            Self::Quick => QUICK.into(),
            Self::All => HONEST.into_iter().chain(ATTACKS).collect(),
        }
    }
}

/// All measurements of one run.
pub(crate) struct Measuring<'a> {
    pub(crate) meter: Meter<'a>,
    pub(crate) progress: Progress,
    pub(crate) rounds: u32,
}

impl Measuring<'_> {
    /// Measures everything. A victim or a daemon that fails is part of the result. A signal ends the
    /// measurements, and the report has those so far.
    pub(crate) fn fill(&self, report: &mut Report, extent: Extent) -> Result<(), TestError> {
        for &kind in extent.kinds() {
            let neighbours = extent.neighbours().into_iter().map(Some);
            for neighbour in std::iter::once(None).chain(neighbours) {
                for &depth in extent.depths() {
                    report.rows.push(self.beside(neighbour, kind, depth)?);
                }
            }
        }
        Ok(())
    }

    fn beside(
        &self,
        neighbour: Option<&'static dyn Neighbour>,
        kind: DiskKind,
        depth: u16,
    ) -> Result<Beside, TestError> {
        let name = neighbour.map(Neighbour::name);
        let who = name.as_deref().unwrap_or("nobody");
        let step = self.progress.step(&format!("{kind:?}, depth {depth}, beside {who}"));
        let mut beside =
            Beside { kind, depth, neighbour: name, seen: Vec::new(), refusal: None, failure: None };
        let mut house = House::start(self.meter.bench, self.meter.cpus.server, kind, neighbour)?;
        let target = house.target();
        let settle = |neighbour| cpus::on(self.meter.cpus.neighbours, || Resident::start(neighbour, target));
        let resident = neighbour.map(settle).transpose()?;
        beside.refusal = resident.as_ref().and_then(Resident::refusal).map(ToString::to_string);
        for round in 1..=self.rounds {
            step.note(&format!("round {round} of {}", self.rounds));
            match self.look(&mut house, &row(kind, depth), round) {
                Ok(seen) => beside.seen.push(seen),
                Err(error) if self.meter.stop.was_asked() => return Err(error),
                Err(error) => {
                    beside.failure = Some(error.to_string());
                    break;
                }
            }
        }
        Ok(beside)
    }

    /// Loads the victim's disk for one round.
    fn look(&self, house: &mut House, row: &Row, round: u32) -> Result<Seen, TestError> {
        let before = house.requests().ok();
        let sample = self.meter.load(&house.victim(), row, round)?;
        let counts = before.zip(house.requests().ok());
        let share = counts.as_ref().and_then(|(before, after)| after.victims_share_since(before));
        let evenness = counts.as_ref().and_then(|(before, after)| after.evenness_since(before));
        Ok(Seen { sample, share, evenness })
    }
}

fn row(kind: DiskKind, depth: u16) -> Row {
    let device = match kind {
        DiskKind::Null => Device::Null,
        DiskKind::Memory => Device::Memory,
    };
    Row { device, direction: Direction::Reads, bytes: BYTES, queues: 1, depth }
}

/// CPUs of the measurement, in words.
pub(crate) fn cpus_in_words(cpus: Cpus) -> String {
    let Cpus { server, generator, neighbours } = cpus;
    match neighbours == generator {
        true => format!("{server} for the server, {generator} for the victim and its neighbours"),
        false => {
            format!("{server} for the server, {generator} for the victim, {neighbours} for its neighbours")
        }
    }
}
