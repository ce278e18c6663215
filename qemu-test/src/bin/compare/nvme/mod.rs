//! `cargo compare --nvme`: measures Luge's NVMe controllers, and the virtio disk of the same volume in turns with
//! them, beside the ideal loop.

mod report;
mod rows;
mod server;

use crate::measure::Meter;
use crate::report::Ideal;
use luge_image::Progress;
use luge_qemu_test::TestError;
use report::Measured;
pub(crate) use report::Report;
pub(crate) use rows::Extent;
use rows::{NvmeRow, rows};
pub(crate) use server::Server;

/// All measurements of one run.
pub(crate) struct Measuring<'a> {
    pub(crate) meter: Meter<'a>,
    pub(crate) server: Server,
    pub(crate) progress: Progress,
    pub(crate) rounds: u32,
}

impl Measuring<'_> {
    /// Measures all rows. A signal ends the measurements, and the report has the rows so far.
    pub(crate) fn fill(&self, report: &mut Report, depths: &[u16], extent: Extent) -> Result<(), TestError> {
        for &depth in depths {
            let _step = self.progress.step(&format!("ideal loop, depth {depth}"));
            let samples = (0..self.rounds).map(|_| self.meter.ideal(depth)).collect::<Result<_, _>>()?;
            report.ideal.push(Ideal { depth, samples });
        }
        for row in rows(extent) {
            report.rows.push(self.measure(row)?);
        }
        Ok(())
    }

    fn measure(&self, row: NvmeRow) -> Result<Measured, TestError> {
        let step = self.progress.step(&row.to_string());
        let device = row.load.device;
        let (controllers, disk) = (self.server.nvme(device, row.controllers), self.server.virtio(device));
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
