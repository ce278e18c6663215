//! Errors of a build. Each message names the thing, what is wrong and, if there is one, the remedy.

use std::io;
use std::path::PathBuf;

/// A build that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Tools are missing, and we may not install them.
    #[error(
        "{step} needs Debian packages that are not installed: {packages}\n\
         install them as root: apt-get install -y {packages}"
    )]
    MissingPackages {
        /// Step that needs them, as a noun: `the kernel`.
        step: String,
        /// Package names, separated by blanks.
        packages: String,
    },
    /// A program ran and failed.
    #[error("{command} failed ({status}); its log is {}, which ends:\n{tail}", log.display())]
    Failed {
        /// The program and its first arguments.
        command: String,
        /// Exit status.
        status: String,
        /// Last lines of the log.
        tail: String,
        /// Path of the log.
        log: PathBuf,
    },
    /// A program could not be started.
    #[error("cannot start {program}: {source}; is it installed and in PATH?")]
    NotStarted {
        /// The program.
        program: String,
        /// Cause.
        source: io::Error,
    },
    /// A file operation failed.
    #[error("{doing}: {source}")]
    Io {
        /// Operation and path: `writing /tmp/x`.
        doing: String,
        /// Cause.
        source: io::Error,
    },
    /// The output path of the image is not a regular file.
    #[error("{} is not a regular file: write the image to a file first, then flash it with dd", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// No Debian archive is known to this machine.
    #[error(
        "no Debian archive found in /etc/apt/sources.list or /etc/apt/sources.list.d: \
         add the line of your Debian release and try again (building needs a Debian 12 or 13 host)"
    )]
    NoArchive,
    /// The archive has no such package.
    #[error("the Debian archive has no package {package}; `cargo image --refresh` updates the package lists")]
    NoPackage {
        /// The package.
        package: String,
    },
    /// Lines of the kernel's fragment are not in its configuration.
    #[error(
        "the kernel's configuration dropped {} line(s) of the fragment:\n  {}\n\
         each depends on another option, or does not exist in this kernel",
        lost.len(), lost.join("\n  ")
    )]
    FragmentLost {
        /// The lines, each with what the configuration has instead.
        lost: Vec<String>,
    },
    /// A file has an unexpected format.
    #[error("{what} is not as expected: {problem}")]
    Malformed {
        /// The file.
        what: String,
        /// The problem.
        problem: String,
    },
}

/// Adds the operation to an I/O error.
pub(crate) trait Doing<T> {
    /// Turns the error into [`ImageError::Io`]; `doing` reads like `writing /tmp/x`.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, ImageError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, ImageError> {
        self.map_err(|source| ImageError::Io { doing: doing(), source })
    }
}
