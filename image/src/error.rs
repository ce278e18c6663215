//! What can go wrong while building, said to the person who builds.
//!
//! Every message names the thing and, where there is one, the remedy.

use std::io;
use std::path::PathBuf;

/// A build that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Tools are missing and could not be installed by us.
    #[error(
        "{step} needs Debian packages that are not installed: {packages}\n\
         install them as root: apt-get install -y {packages}"
    )]
    MissingPackages {
        /// What needs them, as a noun: `the kernel`.
        step: String,
        /// Package names, separated by blanks.
        packages: String,
    },
    /// A program ran and failed.
    #[error("{command} failed ({status}); its log is {}, which ends:\n{tail}", log.display())]
    Failed {
        /// The program and its first arguments.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines of the log.
        tail: String,
        /// The whole log.
        log: PathBuf,
    },
    /// A program could not be started.
    #[error("cannot start {program}: {source}; is it installed and in PATH?")]
    NotStarted {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A file operation failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The image was to be written over something that is not a file.
    #[error("{} is not a regular file: write the image to a file first, then flash it with dd", path.display())]
    NotAFile {
        /// What it was to be written to.
        path: PathBuf,
    },
    /// No Debian archive is known to this machine.
    #[error(
        "no Debian archive found in /etc/apt/sources.list or /etc/apt/sources.list.d: \
         add the line of your Debian release and try again (building needs a Debian 12 or 13 host)"
    )]
    NoArchive,
    /// The archive has no such package.
    #[error("the Debian archive has no package {package}; `cargo image --refresh` reads its lists anew")]
    NoPackage {
        /// The package.
        package: String,
    },
    /// Lines of the kernel's fragment are not in its configuration.
    #[error(
        "the kernel's configuration dropped {} line(s) of the fragment:\n  {}\n\
         each needs another option to be set first, or has gone from this kernel",
        lost.len(), lost.join("\n  ")
    )]
    FragmentLost {
        /// The lines, with what the configuration has instead.
        lost: Vec<String>,
    },
    /// A file does not have the form we rely on.
    #[error("{what} is not as expected: {problem}")]
    Malformed {
        /// The file.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Says what was being done when an I/O error happened.
pub(crate) trait Doing<T> {
    /// Turns the error into [`ImageError::Io`]; `doing` reads like `writing /tmp/x`.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, ImageError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, ImageError> {
        self.map_err(|source| ImageError::Io { doing: doing(), source })
    }
}
