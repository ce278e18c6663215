//! Log of a step: the output of its programs, and the part that explains a failure.

use crate::tally::Tally;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Last lines of a log that a failure shows.
const TAIL_LINES: usize = 60;

/// Lines about failed tests that a failure shows.
const FAILURES_LINES: usize = 400;

/// Failure of a step.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Description, with the end of the log.
    message: String,
    /// Counts for the report.
    pub(crate) tally: Tally,
}

impl Failure {
    /// A failure that counts as one.
    pub(crate) fn new(message: String) -> Self {
        Self { message, tally: Tally::FAILED }
    }

    /// Sets the counts.
    pub(crate) fn counted_as(self, tally: Tally) -> Self {
        Self { tally, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The log of one step.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Creates an empty log.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let open = || {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            File::create(path)
        };
        let file = open().map_err(|error| Failure::new(format!("writing {}: {error}", path.display())))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Adds a line.
    pub(crate) fn note(&mut self, line: &str) {
        // A log that cannot be written is no reason to fail the step.
        let _ = writeln!(self.file, "{line}");
    }

    /// Content so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    /// Runs a program to its end, with its output in the log.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<(), Failure> {
        self.note(&format!("+ {command:?}"));
        let status = self.spawn_and_wait(command).map_err(|error| {
            Failure::new(format!("cannot run {}: {error}", command.get_program().to_string_lossy()))
        })?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("{status}; {}", self.explanation())))
    }

    /// Output of failed tests, or the end of the log.
    fn explanation(&self) -> String {
        let (path, text) = (self.path.display(), self.text());
        let said = failures(&text);
        if said.is_empty() {
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
            return format!("{path} ends:\n{tail}");
        }
        format!("in {path}:\n{}", said.join("\n"))
    }

    fn spawn_and_wait(&self, command: &mut Command) -> io::Result<std::process::ExitStatus> {
        let (out, errors) = (self.file.try_clone()?, self.file.try_clone()?);
        command.stdin(Stdio::null()).stdout(out).stderr(errors).status()
    }
}

/// Lines about failed tests, which the harness prints from `failures:` to the result.
fn failures(text: &str) -> Vec<&str> {
    let mut inside = false;
    let about = text.lines().filter(|line| {
        inside = (inside || *line == "failures:") && !line.starts_with("test result: ");
        inside
    });
    about.take(FAILURES_LINES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_explained_by_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::create(&folder.path().join("step.log")).unwrap();
        let script = "for n in $(seq 99); do echo line $n; done; echo bad >&2; exit 3";
        let failure = log.run(Command::new("sh").args(["-c", script])).unwrap_err().to_string();
        assert!(failure.starts_with("exit status: 3"), "{failure}");
        assert!(failure.contains("line 99") && failure.ends_with("bad"), "{failure}");
        assert!(!failure.contains("line 9\n"), "{failure}");
    }

    #[test]
    fn failing_tests_are_explained_by_their_output_however_much_follows() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::create(&folder.path().join("step.log")).unwrap();
        let script = "echo failures:; echo; echo '---- one stdout ----'; echo broken; \
                      echo 'test result: FAILED. 0 passed; 1 failed'; seq 200; exit 101";
        let failure = log.run(Command::new("sh").args(["-c", script])).unwrap_err().to_string();
        assert!(failure.ends_with("---- one stdout ----\nbroken"), "{failure}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::create(&folder.path().join("step.log")).unwrap();
        let failure = log.run(&mut Command::new("no-such-program")).unwrap_err().to_string();
        assert!(failure.contains("no-such-program"), "{failure}");
    }
}
