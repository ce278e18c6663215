//! `cargo compare --scsi`: measures LUNs of Luge, and the virtio disks of the same volumes and the peer's in turns with
//! them, beside the ideal loop.

mod report;

use crate::measure::Meter;
use crate::report::Ideal;
use crate::rows::{Row, Selection};
use crate::servers::Servers;
use luge_image::Progress;
use luge_qemu_test::TestError;
use report::Measured;
pub(crate) use report::Report;

/// All measurements of one run.
pub(crate) struct Measuring<'a> {
    pub(crate) meter: Meter<'a>,
    pub(crate) servers: Servers,
    pub(crate) progress: Progress,
    pub(crate) rounds: u32,
}

impl Measuring<'_> {
    /// Measures all rows. A signal ends the measurements, and the report has the rows so far.
    pub(crate) fn fill(
        &self,
        report: &mut Report,
        depths: &[u16],
        selection: Selection,
    ) -> Result<(), TestError> {
        for &depth in depths {
            let _step = self.progress.step(&format!("ideal loop, depth {depth}"));
            let samples = (0..self.rounds).map(|_| self.meter.ideal(depth)).collect::<Result<_, _>>()?;
            report.ideal.push(Ideal { depth, samples });
        }
        for row in selection.rows() {
            report.rows.push(self.measure(row)?);
        }
        Ok(())
    }

    fn measure(&self, row: Row) -> Result<Measured, TestError> {
        let step = self.progress.step(&row.to_string());
        let (lun, device) = (self.servers.lun(row.device), row.device);
        let (virtio, peer) = (self.servers.luge(device), self.servers.peer(device));
        let mut measured = Measured { row, scsi: Vec::new(), virtio: Vec::new(), peer: Vec::new() };
        for round in 1..=self.rounds {
            step.note(&format!("round {round} of {}", self.rounds));
            measured.scsi.push(self.meter.load_lun(&lun, &row, round)?);
            measured.virtio.push(self.meter.load(&virtio, &row, round)?);
            measured.peer.push(self.meter.load(&peer, &row, round)?);
        }
        Ok(measured)
    }
}
