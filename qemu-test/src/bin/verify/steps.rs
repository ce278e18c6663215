//! Steps of `cargo verify`, in their order: the fastest to fail come first.

use crate::cargo::cargo;
use crate::deny;
use crate::log::{Failure, Log};
use crate::tally::Tally;
use luge_image::{Cache, Progress};
use std::process::Command;

/// One step.
pub(crate) struct Step {
    /// Name on the command line and of the log, one word.
    pub(crate) name: &'static str,
    /// Description in messages.
    pub(crate) what: &'static str,
    /// Work of the step.
    pub(crate) work: fn(&mut Log) -> Result<Tally, Failure>,
}

/// Step that takes hours and runs only when it is named.
pub(crate) const LONG: Step =
    Step { name: "long", what: "all seeded tests, with new seeds, for LUGE_FUZZ_SECONDS each", work: long };

/// Seconds of each seeded test in the long step, unless the environment sets another number.
const FUZZ_SECONDS: &str = "60";

/// Steps that run when none is named.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "formatting", what: "cargo fmt", work: formatting },
    Step { name: "lints", what: "cargo clippy, warnings are errors", work: lints },
    Step { name: "dependencies", what: "cargo deny", work: deny::check },
    Step { name: "documentation", what: "cargo doc, warnings are errors", work: documentation },
    Step { name: "tests", what: "unit tests of every crate", work: tests },
    Step { name: "instructions", what: "instruction counts of hot paths have not grown", work: instructions },
    Step { name: "image", what: "the bootable image, with QEMU and a guest inside", work: image },
    Step { name: "machines", what: "tests in virtual machines", work: machines },
];

fn formatting(log: &mut Log) -> Result<Tally, Failure> {
    once(log, &mut cargo(&["fmt", "--all", "--check"]))
}

fn lints(log: &mut Log) -> Result<Tally, Failure> {
    once(log, &mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation(log: &mut Log) -> Result<Tally, Failure> {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    once(log, doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn ensure_tools() -> Result<(), Failure> {
    let tools = Cache::open().and_then(|cache| luge_image::ensure_test_tools(&cache, &Progress::to_stderr()));
    tools.map_err(|error| Failure::new(error.to_string()))
}

/// Counts the instructions of the hot paths; a benchmark fails if a count has grown.
fn instructions(log: &mut Log) -> Result<Tally, Failure> {
    ensure_tools()?;
    let packages = ["luge-memory", "luge-nvme", "luge-nvme-target", "luge-vhost"];
    let mut bench = cargo(&["bench", "--no-fail-fast", "--bench", "instructions"]);
    bench.args(packages.iter().flat_map(|package| ["--package", package])).args(["--", "--check"]);
    once(log, &mut bench)
}

fn tests(log: &mut Log) -> Result<Tally, Failure> {
    ensure_tools()?;
    counted(log, &mut cargo(&["test", "--workspace", "--no-fail-fast", "--exclude", "luge-qemu-test"]))
}

fn image(log: &mut Log) -> Result<Tally, Failure> {
    once(log, &mut cargo(&["run", "--package", "luge-image", "--", "--vm-pack"]))
}

fn machines(log: &mut Log) -> Result<Tally, Failure> {
    counted(log, &mut cargo(&["test", "--package", "luge-qemu-test", "--no-fail-fast"]))
}

/// Runs all tests; the seeded ones (fuzzers, kills, power cuts) for the time set in the environment.
fn long(log: &mut Log) -> Result<Tally, Failure> {
    ensure_tools()?;
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
    if std::env::var_os("LUGE_FUZZ_SECONDS").is_none() {
        tests.env("LUGE_FUZZ_SECONDS", FUZZ_SECONDS);
    }
    counted(log, &mut tests)
}

/// Runs a program that passes or fails as a whole.
fn once(log: &mut Log, command: &mut Command) -> Result<Tally, Failure> {
    log.run(command).map(|()| Tally::PASSED)
}

/// Runs a program of tests, which prints how many passed.
fn counted(log: &mut Log, command: &mut Command) -> Result<Tally, Failure> {
    let outcome = log.run(command);
    let mut tally = Tally::of_tests(&log.text());
    let Err(failure) = outcome else { return Ok(tally) };
    // A program that does not compile, or crashes, reports no failed test.
    tally.failed = tally.failed.max(1);
    Err(failure.counted_as(tally))
}
