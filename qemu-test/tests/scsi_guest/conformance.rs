//! Outcomes of iscsi-test-cu that are right although a test did not pass.

use std::collections::BTreeMap;

/// Suites of a short run.
pub const FEW_SUITES: [&str; 6] = [
    "SCSI.Inquiry",
    "SCSI.ModeSense6",
    "SCSI.Read16",
    "SCSI.Write16",
    "SCSI.CompareAndWrite",
    "SCSI.ReportSupportedOpcodes",
];

/// A command or feature that Luge does not have, so that a test is skipped or fails.
struct Exception {
    /// Name of a test, or the beginning of the names of several.
    tests: &'static str,
    /// Outcome that is right.
    outcome: &'static str,
    /// Clause or limit of the program that says why.
    #[expect(dead_code, reason = "the reason is for readers")]
    reason: &'static str,
}

const fn skipped(tests: &'static str, reason: &'static str) -> Exception {
    Exception { tests, outcome: "skipped", reason }
}

const NO_SESSION: &str = "the program tests this by iSCSI sessions only, which SG_IO does not have";
const OPTIONAL: &str = "SBC-4, table 33: optional, and Luge does not have it";
const FIXED: &str = "SBC-4, 4.4: tests a medium that can be removed";
const PHYSICAL: &str = "SBC-4, 5.16.2: tests disks whose physical blocks have several logical ones";
const NO_ZERO: &str =
    "SBC-4, 6.6.4, WSNZ: a number of blocks of zero is refused, and the program looks for that";
const WRITABLE: &str = "SPC-4, 7.5.7, SWP: tests a disk that is read-only";

/// All of them. A name that is here and passes is an error, too.
const EXCEPTIONS: &[Exception] = &[
    skipped("SCSI.CompareAndWrite.MiscompareSense", NO_SESSION),
    skipped("SCSI.CompareAndWrite.InvalidDataOutSize", PHYSICAL),
    skipped("SCSI.ExtendedCopy.", OPTIONAL),
    skipped("SCSI.ProutReserve.Access", NO_SESSION),
    skipped("SCSI.ProutReserve.Ownership", NO_SESSION),
    skipped("SCSI.ProutPreempt.RemoveRegistration", NO_SESSION),
    skipped("SCSI.Reserve6.2Initiators", NO_SESSION),
    skipped("SCSI.Reserve6.Logout", NO_SESSION),
    skipped("SCSI.Reserve6.ITNexusLoss", NO_SESSION),
    skipped("SCSI.Reserve6.Target", NO_SESSION),
    skipped("SCSI.Reserve6.LUNReset", NO_SESSION),
    skipped("SCSI.MultipathIO.CompareAndWriteAsync", NO_SESSION),
    skipped("SCSI.MultipathIO.Reset", NO_SESSION),
    skipped("SCSI.ReadOnly.ReadOnlySBC", WRITABLE),
    skipped("SCSI.WriteSame10.InvalidDataOutSize", PHYSICAL),
    skipped("SCSI.WriteSame10.UnmapUnaligned", PHYSICAL),
    skipped("SCSI.WriteSame10.ZeroBlocks", NO_ZERO),
    skipped("SCSI.WriteSame16.InvalidDataOutSize", PHYSICAL),
    skipped("SCSI.WriteSame16.UnmapUnaligned", PHYSICAL),
    skipped("SCSI.WriteSame16.ZeroBlocks", NO_ZERO),
    skipped("SCSI.PreventAllow.", FIXED),
    skipped("SCSI.StartStopUnit.Simple", FIXED),
    skipped("SCSI.OrWrite.", OPTIONAL),
    skipped("SCSI.Prefetch10.", OPTIONAL),
    skipped("SCSI.Prefetch16.", OPTIONAL),
    skipped("SCSI.ReadDefectData10.", OPTIONAL),
    skipped("SCSI.ReadDefectData12.", OPTIONAL),
    skipped("SCSI.ReceiveCopyResults.", OPTIONAL),
    skipped("SCSI.Sanitize.", OPTIONAL),
    skipped("SCSI.WriteAtomic16.", OPTIONAL),
    skipped("SCSI.Read10.Async", NO_SESSION),
    skipped("SCSI.Write10.Async", NO_SESSION),
    Exception {
        tests: "SCSI.ReportLUNs.",
        outcome: "crashed",
        reason: "the program uses an iSCSI session that it does not have",
    },
];

/// Tests whose outcome is not the right one, as sentences.
pub fn faults(outcomes: &BTreeMap<String, String>) -> Vec<String> {
    outcomes
        .iter()
        .filter(|(test, outcome)| right(test) != outcome.as_str())
        .map(|(test, outcome)| format!("{test} {outcome}, not {}", right(test)))
        .collect()
}

/// Outcome of a test that is right: that of its longest name in the list.
fn right(test: &str) -> &'static str {
    let named = EXCEPTIONS.iter().filter(|exception| test.starts_with(exception.tests));
    named.max_by_key(|exception| exception.tests.len()).map_or("passed", |exception| exception.outcome)
}
