//! Errors of tests, with the end of the log.

use luge_image::ImageError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Failure of a machine, a daemon or another program under test.
#[derive(thiserror::Error)]
pub enum TestError {
    /// The program or image to be run could not be built.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// Operation, with the path.
        doing: String,
        /// Cause.
        source: io::Error,
    },
    /// A program did not print an expected text in time.
    #[error("{who} did not print {wanted:?} within {allowed:?}; {} ends:\n{tail}", log.display())]
    Silent {
        /// Name of the program.
        who: String,
        /// Expected text.
        wanted: String,
        /// Time limit.
        allowed: Duration,
        /// Last lines of the log.
        tail: String,
        /// Path of the log.
        log: PathBuf,
    },
    /// A program ended before it printed an expected text.
    #[error("{who} ended before it printed {wanted:?}; {} ends:\n{tail}", log.display())]
    Ended {
        /// Name of the program.
        who: String,
        /// Expected text.
        wanted: String,
        /// Last lines of the log.
        tail: String,
        /// Path of the log.
        log: PathBuf,
    },
    /// A program did not end in time.
    #[error("{who} still runs after {allowed:?}; {} ends:\n{tail}", log.display())]
    Lingers {
        /// Name of the program.
        who: String,
        /// Time limit.
        allowed: Duration,
        /// Last lines of the log.
        tail: String,
        /// Path of the log.
        log: PathBuf,
    },
    /// A peer answered a command with an error.
    #[error("{command} was refused: {answer}")]
    Refused {
        /// The command.
        command: String,
        /// Error in the answer.
        answer: serde_json::Value,
    },
    /// A peer sent an unexpected message, or a program printed something unexpected.
    #[error("unexpected answer of {who}: {said}")]
    Confused {
        /// Name of the peer.
        who: String,
        /// The message.
        said: String,
    },
    /// A program ended with an unexpected status.
    #[error("{program} ended with {status}:\n{said}")]
    Program {
        /// Name of the program and its task.
        program: String,
        /// Exit status.
        status: String,
        /// Output.
        said: String,
    },
    /// The host does not meet a requirement.
    #[error("{0}")]
    Host(String),
}

/// Prints the message in lines: the test harness shows this of a test that returns an error.
impl fmt::Debug for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Adds the operation to the error of a system call.
pub(crate) trait Doing<T> {
    /// Turns the error into [`TestError::Io`]; `doing` reads like `writing /tmp/x`.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, TestError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, TestError> {
        self.map_err(|source| TestError::Io { doing: doing(), source: source.into() })
    }
}
