//! Why a file could not be opened as a device, as sentences for operators.

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a file or block device cannot be served.
#[derive(Debug, Error)]
pub enum FileError {
    /// There is nothing of that name.
    #[error("{} does not exist: create it first, for example with `truncate -s 10G {}`", .path.display(), .path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// The path is a directory.
    #[error("{} is a directory: name a file in it, or a block device", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// Some other kind of file, which stores no data.
    #[error("{} is {kind}: it is neither a file nor a block device that stores data, name one", .path.display())]
    Kind {
        /// Name of the kind.
        path: PathBuf,
        /// Kind of the file, with an article.
        kind: &'static str,
    },
    /// The kernel does not let this process open it so.
    #[error("no permission to open {} ({source}): change its mode or owner, or open it read-only", .path.display())]
    Denied {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Somebody else has it open as a device.
    #[error("{} is in use by another process or another device: stop that, or unmount it", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The block size is none, or smaller than that of the block device.
    #[error(
        "{} cannot have blocks of {block_bytes} bytes: a power of two from {least} to 65536 is possible",
        .path.display()
    )]
    BlockBytes {
        /// The file.
        path: PathBuf,
        /// The block size asked for, in bytes.
        block_bytes: u32,
        /// The smallest that is possible, in bytes.
        least: u32,
    },
    /// The file does not hold a whole number of blocks.
    #[error(
        "{} has {bytes} bytes, which is not one or more whole blocks of {block_bytes}: \
         change its size (truncate -s) or the block size",
        .path.display()
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Size of the file in bytes.
        bytes: u64,
        /// The block size in bytes.
        block_bytes: u32,
    },
    /// The kernel has no io_uring for this process.
    #[error("files need io_uring, which this kernel does not give: {remedy} ({source})")]
    IoUring {
        /// Access that was asked for.
        remedy: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused something else.
    #[error("cannot {action} {}: {source}", .path.display())]
    System {
        /// Operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl FileError {
    /// Error for an `open` that failed.
    pub(super) fn of_open(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::IsADirectory => Self::Directory { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path, source }
            }
            io::ErrorKind::ResourceBusy | io::ErrorKind::ExecutableFileBusy => Self::InUse { path },
            _ => Self::System { action: "open", path, source },
        }
    }

    /// Error for a ring that cannot be set up.
    pub(super) fn of_ring(source: io::Error) -> Self {
        let remedy = match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "set the sysctl kernel.io_uring_disabled to 0, and let the container's seccomp profile allow it"
            }
            io::ErrorKind::Unsupported => "use a kernel built with CONFIG_IO_URING",
            io::ErrorKind::InvalidInput => "use Linux 5.19 or newer",
            io::ErrorKind::OutOfMemory => "free some memory",
            _ => "see the kernel's log",
        };
        Self::IoUring { remedy, source }
    }
}
