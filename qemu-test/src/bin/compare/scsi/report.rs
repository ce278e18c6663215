//! Results of LUNs, as tables and as JSON.

use crate::machine::Machine;
use crate::measure::Sample;
use crate::report::{Form, Ideal, ideal_table, median, millions, numbers, ratio};
use crate::rows::Row;
use crate::table::{Column, Table};
use serde_json::{Value, json};

/// Samples of one load.
pub(crate) struct Measured {
    pub(crate) row: Row,
    pub(crate) scsi: Vec<Sample>,
    /// Samples of the virtio disk of the same volume.
    pub(crate) virtio: Vec<Sample>,
    /// Samples of the peer's virtio disk: it has no LUNs.
    pub(crate) peer: Vec<Sample>,
}

/// All results of a run.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) ideal: Vec<Ideal>,
    pub(crate) rows: Vec<Measured>,
}

impl Report {
    pub(crate) fn write(&self, form: Form) -> String {
        let tables = [self.machine.table(), ideal_table(&self.ideal), self.table()];
        form.write(tables, || self.to_json())
    }

    fn table(&self) -> Table {
        let mut table = Table::new([
            Column::Words("device"),
            Column::Words("requests"),
            Column::Number("queues x depth"),
            Column::Number("line ns"),
            Column::Number("SCSI M IOPS"),
            Column::Number("virtio M IOPS"),
            Column::Number("peer M IOPS"),
            Column::Number("to virtio"),
            Column::Number("to peer"),
            Column::Number("SCSI ns/IO"),
            Column::Number("virtio ns/IO"),
            Column::Number("peer ns/IO"),
        ]);
        for Measured { row, scsi, virtio, peer } in &self.rows {
            let target = |samples: &[Sample]| median(samples, |sample| Some(sample.target_ns), 1);
            let to =
                |theirs| ratio(scsi, theirs).map_or_else(|| "?".to_owned(), |ratio| format!("{ratio:.2}"));
            table.push([
                row.device.name().to_owned(),
                format!("{} {} B", row.direction.name(), row.bytes),
                format!("{} x {}", row.queues, row.depth),
                median(scsi, |sample| sample.round_trip_ns, 0),
                millions(scsi),
                millions(virtio),
                millions(peer),
                to(virtio),
                to(peer),
                target(scsi),
                target(virtio),
                target(peer),
            ]);
        }
        table
    }

    pub(crate) fn to_json(&self) -> Value {
        let ideal = |one: &Ideal| json!({ "depth": one.depth, "result": numbers(&one.samples) });
        let row = |Measured { row, scsi, virtio, peer }: &Measured| {
            json!({ "device": row.device.name(), "rw": row.direction.name(), "bs": row.bytes,
                "queues": row.queues, "iodepth": row.depth,
                "ratio": ratio(scsi, virtio), "ratio_to_peer": ratio(scsi, peer),
                "scsi": numbers(scsi), "virtio": numbers(virtio), "peer": numbers(peer) })
        };
        json!({ "machine": self.machine.to_json(),
            "ideal": self.ideal.iter().map(ideal).collect::<Vec<_>>(),
            "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}
