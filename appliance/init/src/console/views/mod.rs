//! Views: results of methods as a person reads them, with units, rates, and the columns that matter first.
//!
//! Invariants
//! - A result of an unknown shape is printed unchanged.
//! - JSON (`--json`) never passes here.
//!
//! Not here: alignment and colours (`table`).

mod bdevs;
mod controllers;
mod cores;
mod host;
mod iostat;
mod latency;
mod row;
mod subsystems;
mod vms;

pub(super) use row::View;

use row::rows;
use serde_json::Value;

/// Counters of the last look, from which rates are computed.
#[derive(Default)]
pub(super) struct Earlier {
    bdevs: iostat::Earlier,
    cores: cores::Earlier,
}

/// Extent of a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// Everything.
    All,
    /// One thing, or with other parameters.
    Some,
}

/// View of a method's result; `None` if the result is to be printed unchanged.
pub(super) fn view(method: &str, asked: Asked, result: &Value, earlier: &mut Earlier) -> Option<View> {
    match (method, asked) {
        ("bdev_get_bdevs", Asked::All) => Some(View::table(rows(result, bdevs::row)?)),
        ("bdev_get_iostat", _) => iostat::view(result, &mut earlier.bdevs),
        ("framework_get_reactors", _) => cores::view(result, &mut earlier.cores),
        ("vhost_get_controllers", Asked::All) => Some(View::table(rows(result, controllers::row)?)),
        ("vhost_get_controllers", Asked::Some) => controllers::with_luns(result),
        ("nvmf_get_subsystems", Asked::All) => Some(View::table(rows(result, subsystems::row)?)),
        ("bdev_nvme_get_controllers", Asked::All) => Some(View::table(rows(result, bdevs::ssd)?)),
        ("vm_get_vms", Asked::All) => Some(View::table(rows(result, vms::row)?)),
        ("luge_get_host", _) => host::view(result),
        ("luge_get_latency", _) => latency::view(result),
        _ => None,
    }
}
