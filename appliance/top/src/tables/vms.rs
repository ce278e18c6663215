//! Table of the virtual machines.

use super::cells::{rate_cells, real, sum, text, whole};
use super::layout::{Layout, around_rates};
use crate::observed::Observed;
use crate::table::{Cell, Column};
use luge_init::units;
use luge_observe::{Snapshot, Vm};

pub(super) const LAYOUT: Layout = Layout { columns: &COLUMNS, first_sort: BEFORE.len(), rows };

const COLUMNS: [Column; 11] = around_rates(&BEFORE, &AFTER);

const BEFORE: [Column; 2] = [Column::text("VM"), Column::text("STATE")];

const AFTER: [Column; 3] = [Column::number("CPUS"), Column::number("MEMORY"), Column::text("DISKS")];

fn rows(observed: &Observed, now: &Snapshot) -> Vec<Vec<Cell>> {
    now.vms.iter().map(|vm| row(observed, now, vm)).collect()
}

fn row(observed: &Observed, now: &Snapshot, vm: &Vm) -> Vec<Cell> {
    let disks = now.endpoints.iter().filter(|endpoint| vm.disks.contains(&endpoint.name));
    let volumes = disks.flat_map(|endpoint| endpoint.volumes.iter().map(String::as_str));
    let rates = sum(observed.rates.as_ref(), volumes);
    let mut cells = vec![
        Cell::text(&vm.name),
        text(vm.state.as_deref()).alarm_if(vm.state.as_deref() == Some("crashed")),
    ];
    cells.extend(rate_cells(rates.as_ref()));
    cells.push(whole(vm.cpus));
    let memory = vm.memory_mib.map(|mib| real(mib) * f64::from(1 << 20));
    cells.push(Cell::number(memory, units::gibibytes));
    cells.push(Cell::text(vm.disks.join(",")));
    cells
}
