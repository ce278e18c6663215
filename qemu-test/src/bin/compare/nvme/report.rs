//! Results of NVMe controllers, as tables and as JSON.

use super::rows::NvmeRow;
use crate::measure::Sample;
use crate::report::{Form, Ideal, ideal_table, median, millions, numbers, ratio};
use crate::table::{Column, Table};
use serde_json::{Value, json};

/// Samples of one load.
pub(crate) struct Measured {
    pub(crate) row: NvmeRow,
    pub(crate) nvme: Vec<Sample>,
    /// Samples of the virtio disk of the same volume; none for several controllers.
    pub(crate) virtio: Vec<Sample>,
}

/// All results of a run.
pub(crate) struct Report {
    /// Properties of the machine and of the run.
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) ideal: Vec<Ideal>,
    pub(crate) rows: Vec<Measured>,
}

impl Report {
    pub(crate) fn write(&self, form: Form) -> String {
        let tables = [self.facts_table(), ideal_table(&self.ideal), self.table()];
        form.write(tables, || self.to_json())
    }

    fn facts_table(&self) -> Table {
        let mut table = Table::new([Column::Words("machine"), Column::Words("setting")]);
        self.facts.iter().for_each(|(name, fact)| table.push([(*name).to_owned(), fact.clone()]));
        table
    }

    fn table(&self) -> Table {
        let mut table = Table::new([
            Column::Words("device"),
            Column::Words("requests"),
            Column::Number("cores"),
            Column::Number("controllers x queues x depth"),
            Column::Number("line ns"),
            Column::Number("NVMe M IOPS"),
            Column::Number("virtio M IOPS"),
            Column::Number("ratio"),
            Column::Number("NVMe ns/IO"),
            Column::Number("virtio ns/IO"),
            Column::Number("NVMe mean us"),
            Column::Number("99.99 % us"),
        ]);
        for Measured { row, nvme, virtio } in &self.rows {
            let load = &row.load;
            let target = |samples: &[Sample]| median(samples, |sample| Some(sample.target_ns), 1);
            table.push([
                load.device.name().to_owned(),
                format!("{} {} B", load.direction.name(), load.bytes),
                row.cores.to_string(),
                format!("{} x {} x {}", row.controllers, load.queues, load.depth),
                median(nvme, |sample| sample.round_trip_ns, 0),
                millions(nvme),
                millions(virtio),
                ratio(nvme, virtio).map_or_else(|| "?".to_owned(), |ratio| format!("{ratio:.2}")),
                target(nvme),
                target(virtio),
                median(nvme, |sample| sample.mean_ns.map(|ns| ns / 1e3), 2),
                median(nvme, |sample| sample.p99_99_ns.map(|ns| ns / 1e3), 1),
            ]);
        }
        table
    }

    pub(crate) fn to_json(&self) -> Value {
        let facts = self.facts.iter().map(|(name, fact)| ((*name).to_owned(), json!(fact)));
        let ideal = |one: &Ideal| json!({ "depth": one.depth, "result": numbers(&one.samples) });
        let row = |Measured { row, nvme, virtio }: &Measured| {
            let load = &row.load;
            json!({ "device": load.device.name(), "rw": load.direction.name(), "bs": load.bytes,
                "cores": row.cores, "controllers": row.controllers, "queues": load.queues, "iodepth": load.depth,
                "ratio": ratio(nvme, virtio), "nvme": numbers(nvme), "virtio": numbers(virtio) })
        };
        json!({ "machine": Value::Object(facts.collect()),
            "ideal": self.ideal.iter().map(ideal).collect::<Vec<_>>(),
            "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}
