//! Reports: LUNs, target port groups, operation codes, task management functions. SPC-4, clauses 6.33 to 6.37.

mod luns;
mod operation_codes;
mod port_groups;
mod task_management;

pub(crate) use luns::report_luns;
pub(crate) use operation_codes::operation_codes;
pub(crate) use port_groups::port_groups;
pub(crate) use task_management::task_management;
