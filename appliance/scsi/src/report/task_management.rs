//! REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS. SPC-4, clause 6.36.

use crate::bytes::{cut, length_8, u8_at, u32_at};
use luge_spec::scsi::TaskManagementReport;
use zerocopy::IntoBytes;

/// REPD: the extended form is wanted.
const EXTENDED: u8 = 1 << 7;

/// ATS, ATSS, CTSS, LURS and QTS: ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET and QUERY TASK. CLEAR
/// ACA is for units with NORMACA = 1.
const FUNCTIONS: u8 = 1 << 7 | 1 << 6 | 1 << 4 | 1 << 3 | 1;

/// QTSS and ITNRS: QUERY TASK SET and I_T NEXUS RESET.
const MORE_FUNCTIONS: u8 = 1 << 1 | 1;

/// Bytes of the short form.
const SHORT_BYTES: usize = 4;

/// Answers REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.
pub(crate) fn task_management(cdb: &[u8]) -> Vec<u8> {
    let is_extended = u8_at(cdb, 2) & EXTENDED != 0;
    let rest = length_8(size_of::<TaskManagementReport>().saturating_sub(SHORT_BYTES));
    let report = TaskManagementReport {
        functions: FUNCTIONS,
        more_functions: MORE_FUNCTIONS,
        length: if is_extended { rest } else { 0 },
        ..TaskManagementReport::default()
    };
    let bytes = report.as_bytes();
    let form = if is_extended { bytes } else { bytes.get(..SHORT_BYTES).unwrap_or(bytes) };
    cut(form.to_vec(), u32_at(cdb, 6))
}
