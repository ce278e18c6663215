//! The steps, in the order they run: what fails fastest comes first.

use crate::deny;
use crate::log::{Failure, Log};
use crate::tally::Tally;
use luge_image::{Cache, Progress};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One step.
pub(crate) struct Step {
    /// One word, for the command line and the log's name.
    pub(crate) name: &'static str,
    /// What it does, for a person.
    pub(crate) what: &'static str,
    /// The work itself.
    pub(crate) work: fn(&mut Log) -> Result<Tally, Failure>,
}

/// The step that runs only when it is named: it takes hours.
pub(crate) const LONG: Step = Step {
    name: "long",
    what: "every seeded test, with seeds that nobody has tried, for LUGE_FUZZ_SECONDS each",
    work: long,
};

/// Seconds for each seeded test of the long step, unless the environment says another number.
const FUZZ_SECONDS: &str = "60";

/// The steps that run when none is named.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "formatting", what: "cargo fmt", work: formatting },
    Step { name: "lints", what: "cargo clippy, warnings are errors", work: lints },
    Step { name: "dependencies", what: "cargo deny", work: deny::check },
    Step { name: "documentation", what: "cargo doc, warnings are errors", work: documentation },
    Step { name: "tests", what: "unit tests of every crate", work: tests },
    Step { name: "instructions", what: "no hot path takes more instructions", work: instructions },
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

/// Counts the instructions of the hot paths; each benchmark fails where a count has grown.
fn instructions(log: &mut Log) -> Result<Tally, Failure> {
    ensure_tools()?;
    let count = |package: &&str| {
        once(log, &mut cargo(&["bench", "--package", package, "--bench", "instructions", "--", "--check"]))
    };
    ["luge-memory", "luge-nvme", "luge-vhost"].iter().map(count).sum()
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

/// Runs all tests; the seeded ones (fuzzers, kills, power cuts) as long as the environment says.
fn long(log: &mut Log) -> Result<Tally, Failure> {
    ensure_tools()?;
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
    if std::env::var_os("LUGE_FUZZ_SECONDS").is_none() {
        tests.env("LUGE_FUZZ_SECONDS", FUZZ_SECONDS);
    }
    counted(log, &mut tests)
}

/// A program that passes or fails as a whole.
fn once(log: &mut Log, command: &mut Command) -> Result<Tally, Failure> {
    log.run(command).map(|()| Tally::PASSED)
}

/// A program that runs tests and says how many passed.
fn counted(log: &mut Log, command: &mut Command) -> Result<Tally, Failure> {
    let outcome = log.run(command);
    let mut tally = Tally::of_tests(&log.text());
    outcome.map(|()| tally).map_err(|failure| {
        // What does not compile, or dies, has no failed test to show for it.
        tally.failed = tally.failed.max(1);
        failure.counted_as(tally)
    })
}

/// Cargo, in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(workspace()).env("CARGO_TERM_COLOR", "never");
    command
}

fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Where builds go.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}
