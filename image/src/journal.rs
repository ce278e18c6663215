//! The log of a step: runs programs and keeps their output.
//!
//! Output goes to a log file, and its latest line to the step's progress. The error of a program that
//! failed contains the end of the log.

use crate::error::{Doing, ImageError};
use crate::progress::Step;
use crate::tool::WATCHED;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Last lines of a log that an error shows.
const TAIL_LINES: usize = 25;

/// A log file and its step.
#[derive(Debug)]
pub(crate) struct Journal<'a> {
    path: PathBuf,
    step: &'a Step,
}

impl<'a> Journal<'a> {
    /// Creates an empty log at `path`.
    pub(crate) fn create(path: PathBuf, step: &'a Step) -> Result<Self, ImageError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).doing(|| format!("making {}", folder.display()))?;
        }
        File::create(&path).doing(|| format!("making the log {}", path.display()))?;
        Ok(Self { path, step })
    }

    /// Runs a program to its end, with its output in the log.
    pub(crate) fn run(&self, command: &mut Command) -> Result<(), ImageError> {
        let (reader, writer) = std::io::pipe().doing(|| "making a pipe".to_owned())?;
        let errors = writer.try_clone().doing(|| "copying a pipe".to_owned())?;
        command.stdin(Stdio::null()).stdout(writer).stderr(errors);
        let child = command.spawn();
        // The command holds the pipe's write end, and reading ends only when that is closed.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.map_err(|source| not_started(command, source))?;
        self.follow(command, reader)?;
        let status = child.wait().doing(|| format!("waiting for {}", describe(command)))?;
        if status.success() { Ok(()) } else { Err(self.failed(command, status.to_string())) }
    }

    /// Runs a program and returns what it wrote to standard output.
    pub(crate) fn output(&self, command: &mut Command) -> Result<String, ImageError> {
        let output = command.stdin(Stdio::null()).output().map_err(|source| not_started(command, source))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        self.append(&output.stdout)?;
        self.append(&output.stderr)?;
        Err(self.failed(command, output.status.to_string()))
    }

    fn follow(&self, command: &Command, output: std::io::PipeReader) -> Result<(), ImageError> {
        let mut log = self.open()?;
        let note =
            |error| ImageError::Io { doing: format!("writing {}", self.path.display()), source: error };
        writeln!(log, "+ {command:?}").map_err(note)?;
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).doing(|| "reading a program's output".to_owned())? > 0 {
            log.write_all(&line).map_err(note)?;
            self.step.note(String::from_utf8_lossy(&line).trim());
            line.clear();
        }
        Ok(())
    }

    fn open(&self) -> Result<File, ImageError> {
        OpenOptions::new().append(true).open(&self.path).doing(|| format!("opening {}", self.path.display()))
    }

    fn append(&self, text: &[u8]) -> Result<(), ImageError> {
        self.open()?.write_all(text).doing(|| format!("writing {}", self.path.display()))
    }

    fn failed(&self, command: &Command, status: String) -> ImageError {
        ImageError::Failed {
            command: describe(command),
            status,
            tail: tail(&self.path),
            log: self.path.clone(),
        }
    }
}

fn not_started(command: &Command, source: std::io::Error) -> ImageError {
    ImageError::NotStarted { program: command.get_program().to_string_lossy().into_owned(), source }
}

/// The program and its first three arguments.
fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    if words.iter().zip(WATCHED).all(|(word, watched)| word == watched) {
        words.drain(..WATCHED.len().min(words.len()));
    }
    words.truncate(4);
    words.join(" ")
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;

    #[test]
    fn a_failing_program_is_named_with_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let step = Progress::quiet().step("test");
        let journal = Journal::create(folder.path().join("log"), &step).unwrap();
        let error = journal
            .run(
                Command::new("sh")
                    .args(["-c", "for n in $(seq 40); do echo line $n; done; echo bad >&2; exit 3"]),
            )
            .unwrap_err()
            .to_string();
        assert!(error.contains("sh -c") && error.contains("exit status: 3"), "{error}");
        assert!(error.contains("bad") && error.contains("line 40"), "{error}");
        assert!(!error.contains("line 10\n"), "only the tail belongs in the message: {error}");
        assert!(error.contains(&folder.path().join("log").display().to_string()), "{error}");
    }

    #[test]
    fn a_tool_is_described_without_the_words_in_front_of_it() {
        let mut make = crate::tool::tool("make");
        assert_eq!(describe(make.args(["-C", "a", "-j2", "all"])), "make -C a -j2");
        assert_eq!(describe(&Command::new("true")), "true");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let step = Progress::quiet().step("test");
        let journal = Journal::create(folder.path().join("log"), &step).unwrap();
        let error = journal.run(&mut Command::new("no-such-program-here")).unwrap_err().to_string();
        assert!(error.contains("no-such-program-here"), "{error}");
    }
}
