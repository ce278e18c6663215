//! `cargo compare --nvme`: measures Luge's NVMe controllers, and the virtio disk of the same volume in turns with
//! them, beside the ideal loop.

mod report;
mod rows;
mod server;

use crate::cpus::Cpus;
use crate::measure::Meter;
use crate::report::Ideal;
use luge_image::Progress;
use luge_qemu_test::TestError;
use report::Measured;
pub(crate) use report::Report;
pub(crate) use rows::Extent;
use rows::{NvmeRow, rows};
use server::Server;

/// All measurements of one run.
pub(crate) struct Measuring<'a> {
    pub(crate) meter: Meter<'a>,
    /// Size of the memory device.
    pub(crate) memory_mib: u32,
    pub(crate) progress: Progress,
    pub(crate) rounds: u32,
}

impl Measuring<'_> {
    /// Measures all rows. A row that cannot be measured is reported and left out. A signal ends the measurements, and the
    /// report has the rows so far.
    pub(crate) fn fill(&self, report: &mut Report, depths: &[u16], extent: Extent) -> Result<(), TestError> {
        for &depth in depths {
            let _step = self.progress.step(&format!("ideal loop, depth {depth}"));
            let samples = (0..self.rounds).map(|_| self.meter.ideal(depth)).collect::<Result<_, _>>()?;
            report.ideal.push(Ideal { depth, samples });
        }
        let rows = rows(extent);
        let cpus = server_cpus(self.meter.cpus);
        for cores in 1..=cpus.len() {
            let with_cores: Vec<NvmeRow> = rows.iter().filter(|row| row.cores == cores).copied().collect();
            let server =
                Server::start(self.meter.bench, self.memory_mib, cpus.get(..cores).unwrap_or(&cpus))?;
            self.measure_all(&server, &with_cores, report)?;
        }
        match rows.len() - report.rows.len() {
            0 => Ok(()),
            lost => Err(TestError::Host(format!("{lost} of {} rows could not be measured", rows.len()))),
        }
    }

    /// Measures the rows of a server.
    fn measure_all(&self, server: &Server, rows: &[NvmeRow], report: &mut Report) -> Result<(), TestError> {
        for &row in rows {
            match self.measure(server, row) {
                Ok(measured) => report.rows.push(measured),
                Err(error) if self.meter.stop.was_asked() => return Err(error),
                Err(error) => self.progress.say(&error.to_string()),
            }
        }
        Ok(())
    }

    fn measure(&self, server: &Server, row: NvmeRow) -> Result<Measured, TestError> {
        let step = self.progress.step(&row.to_string());
        let device = row.load.device;
        let (controllers, disk) = (server.nvme(device, row.controllers), server.virtio(device));
        let mut measured = Measured { row, nvme: Vec::new(), virtio: Vec::new() };
        for round in 1..=self.rounds {
            step.note(&format!("round {round} of {}", self.rounds));
            measured.nvme.push(self.meter.load_all(&controllers, &row.load, round)?);
            if row.controllers == 1 {
                measured.virtio.push(self.meter.load(&disk, &row.load, round)?);
            }
        }
        Ok(measured)
    }
}

/// CPUs of the server: the first for rows with one core, both for rows with two.
fn server_cpus(cpus: Cpus) -> [u16; 2] {
    [cpus.server, cpus.neighbours]
}

/// The CPUs of a run, in words.
pub(crate) fn cpus_in_words(cpus: Cpus) -> String {
    let [first, second] = server_cpus(cpus);
    let shared = if second == cpus.generator { ", which it shares with the second core" } else { "" };
    format!(
        "{first} for the server, {second} for its second core, {} for the load generator{shared}",
        cpus.generator
    )
}
