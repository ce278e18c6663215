//! What can go wrong in a test bench, told with the end of the log.

use luge_image::ImageError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a machine, a daemon or a word from one of them could not be had.
#[derive(thiserror::Error)]
pub enum TestError {
    /// What is to be run could not be built.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Something did not say in time what it should have said.
    #[error("{who} did not say {wanted:?} within {allowed:?}; {} ends:\n{tail}", log.display())]
    Silent {
        /// Who.
        who: String,
        /// What was waited for.
        wanted: String,
        /// How long.
        allowed: Duration,
        /// The last lines of its log.
        tail: String,
        /// Its log.
        log: PathBuf,
    },
    /// Something ended before it said what it should have said.
    #[error("{who} ended before it said {wanted:?}; {} ends:\n{tail}", log.display())]
    Ended {
        /// Who.
        who: String,
        /// What was waited for.
        wanted: String,
        /// The last lines of its log.
        tail: String,
        /// Its log.
        log: PathBuf,
    },
    /// Something did not end in time.
    #[error("{who} still runs after {allowed:?}; {} ends:\n{tail}", log.display())]
    Lingers {
        /// Who.
        who: String,
        /// How long it was given.
        allowed: Duration,
        /// The last lines of its log.
        tail: String,
        /// Its log.
        log: PathBuf,
    },
    /// A peer answered a command with an error.
    #[error("{command} was refused: {answer}")]
    Refused {
        /// The command.
        command: String,
        /// The error as it came.
        answer: serde_json::Value,
    },
    /// A peer did not speak as its protocol says.
    #[error("{who} spoke out of turn: {said}")]
    Confused {
        /// Who.
        who: String,
        /// What it said.
        said: String,
    },
    /// A program did not end as it should have.
    #[error("{program} ended with {status}:\n{said}")]
    Program {
        /// The program and what it was to do.
        program: String,
        /// How it ended.
        status: String,
        /// What it said.
        said: String,
    },
    /// The machine we run on lacks something.
    #[error("{0}")]
    Host(String),
}

/// A test that returns an error is shown this: the log's end, in lines.
impl fmt::Debug for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Says what was being done when a system call failed.
pub(crate) trait Doing<T> {
    /// Turns the error into [`TestError::Io`]; `doing` reads like `writing /tmp/x`.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, TestError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, TestError> {
        self.map_err(|source| TestError::Io { doing: doing(), source: source.into() })
    }
}
