//! Table of the virtual machines.

use super::cells::{rate_cells, real, sum, text, whole};
use super::layout::Layout;
use crate::observed::Observed;
use crate::table::{Cell, Column};
use luge_init::units;
use luge_observe::{Snapshot, Vm};

/// Column of the requests per second.
const IOPS: usize = 2;

pub(super) const LAYOUT: Layout = Layout { columns: COLUMNS, first_sort: IOPS, rows };

const COLUMNS: &[Column] = &[
    Column::text("VM"),
    Column::text("STATE"),
    Column::number("IOPS"),
    Column::number("READ/s"),
    Column::number("WRITTEN/s"),
    Column::number("p50"),
    Column::number("p99"),
    Column::number("DEPTH"),
    Column::number("CPUS"),
    Column::number("MEMORY"),
    Column::text("DISKS"),
];

fn rows(observed: &Observed, now: &Snapshot) -> Vec<Vec<Cell>> {
    now.vms.iter().map(|vm| row(observed, now, vm)).collect()
}

fn row(observed: &Observed, now: &Snapshot, vm: &Vm) -> Vec<Cell> {
    let disks = now.endpoints.iter().filter(|endpoint| vm.disks.contains(&endpoint.name));
    let volumes = disks.flat_map(|endpoint| endpoint.volumes.iter().map(String::as_str));
    let rates = sum(observed.rates.as_ref(), volumes);
    let mut cells = vec![Cell::text(&vm.name), text(vm.state.as_deref())];
    cells.extend(rate_cells(rates.as_ref()));
    cells.push(whole(vm.cpus));
    let memory = vm.memory_mib.map(|mib| real(mib) * f64::from(1 << 20));
    cells.push(Cell::number(memory, units::gibibytes));
    cells.push(Cell::text(vm.disks.join(",")));
    cells
}
