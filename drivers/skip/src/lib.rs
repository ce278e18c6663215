//! Report of tests that this machine cannot run.
//!
//! The test harness knows passed and failed tests only. A test that returns early therefore calls
//! [`skip`], and `cargo verify` counts it as skipped and prints its name.

use std::io::Write;
use std::panic::Location;

/// Beginning of the line that reports a skipped test.
pub const MARK: &str = "skipped test: ";

/// Reports that the calling test is skipped because of `reason`, which names the remedy.
#[track_caller]
pub fn skip(reason: &str) {
    let line = report(std::thread::current().name(), Location::caller(), reason);
    // The harness hides what a passing test prints, but not what is written like this.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Line about a test, which the harness runs in a thread of that name.
fn report(thread: Option<&str>, caller: &Location<'_>, reason: &str) -> String {
    let place = format!("{}:{}", caller.file(), caller.line());
    // The harness uses the main thread where it may use one only.
    let name = thread.filter(|&name| name != "main").map_or_else(|| place.clone(), str::to_owned);
    format!("\n{MARK}{name} ({place}): {reason}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_test_its_place_and_the_reason() {
        let here = Location::caller();
        let place = format!("{}:{}", here.file(), here.line());
        let named = report(Some("disks::a_disk"), here, "no loop devices: run as root");
        assert_eq!(named, format!("\nskipped test: disks::a_disk ({place}): no loop devices: run as root\n"));
        let unnamed = report(Some("main"), here, "no");
        assert_eq!(unnamed, format!("\nskipped test: {place} ({place}): no\n"));
    }
}
