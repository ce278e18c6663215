//! The file of a trace: a header, and the rings behind it.
//!
//! ```text
//!  0     "LUGETRC1"
//!  8     number of rings, entries of a ring: 32 bits each
//!  16    process identifier
//!  24    cores of the rings, 16 bits each; 0xffff: all other threads
//!  4096  the rings, one after the other
//! ```

use crate::entry::{ENTRY_BYTES, WORDS, to_bytes};
use crate::ring::ENTRIES;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(crate) const MAGIC: &[u8; 8] = b"LUGETRC1";
pub(crate) const HEADER_BYTES: usize = 4096;
pub(crate) const CORES_AT: usize = 24;

/// Most rings of a file.
pub(crate) const RINGS_MAX: usize = (HEADER_BYTES - CORES_AT) / 2;

/// Number that stands for all threads that are no cores.
pub(crate) const OTHERS: u16 = u16::MAX;

/// Error of opening a file for a trace.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Something else is at that path.
    #[error("{0} exists and is no trace: name another file for the trace")]
    Foreign(PathBuf),
    /// Another process writes its trace there.
    #[error("{0} is the trace of another process that runs: name another file for the trace")]
    InUse(PathBuf),
    /// The kernel refused.
    #[error("the trace {path} cannot be written: {source}")]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
}

/// File that a trace is written to.
pub(crate) struct TraceFile(File);

impl TraceFile {
    /// Makes the file for rings of those cores. A trace that is there already is renamed to `PATH.previous`.
    ///
    /// # Errors
    /// [`FileError`]; the file at the path is as it was then.
    pub(crate) fn create(path: &Path, cores: &[u16]) -> Result<Self, FileError> {
        let failed = |source: io::Error| FileError::Io { path: path.to_owned(), source };
        if keep_previous(path)? {
            std::fs::rename(path, previous(path)).map_err(failed)?;
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
        let file = File::from(file);
        lock(&file, path)?;
        file.write_all_at(&header(cores), 0).map_err(failed)?;
        let rings = cores.len() as u64 * ENTRIES * ENTRY_BYTES as u64;
        file.set_len(HEADER_BYTES as u64 + rings).map_err(failed)?;
        Ok(Self(file))
    }

    #[cfg(test)]
    pub(crate) fn of(file: File) -> Self {
        Self(file)
    }

    /// Writes an entry of a ring.
    pub(crate) fn write_entry(&self, ring: usize, number: u64, words: [u64; WORDS]) -> io::Result<()> {
        let place = ring as u64 * ENTRIES + number % ENTRIES;
        self.0.write_all_at(&to_bytes(words), HEADER_BYTES as u64 + place * ENTRY_BYTES as u64)
    }
}

/// Path of the trace before.
fn previous(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".previous");
    name.into()
}

/// Whether there is a trace at the path, of a process that has ended. An empty file is none, and can be used.
fn keep_previous(path: &Path) -> Result<bool, FileError> {
    let failed = |source: io::Error| FileError::Io { path: path.to_owned(), source };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        Err(Errno::LOOP) => return Err(FileError::Foreign(path.to_owned())),
        opened => File::from(opened.map_err(|error| failed(error.into()))?),
    };
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() && metadata.len() == 0 {
        return Ok(false);
    }
    let mut magic = [0; MAGIC.len()];
    if !metadata.is_file() || file.read_exact_at(&mut magic, 0).is_err() || magic != *MAGIC {
        return Err(FileError::Foreign(path.to_owned()));
    }
    lock(&file, path)?;
    Ok(true)
}

/// Locks a trace for as long as the file is open.
fn lock(file: &File, path: &Path) -> Result<(), FileError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(FileError::InUse(path.to_owned())),
        Err(error) => Err(FileError::Io { path: path.to_owned(), source: error.into() }),
        Ok(()) => Ok(()),
    }
}

fn header(cores: &[u16]) -> Vec<u8> {
    let rings = u32::try_from(cores.len()).unwrap_or(u32::MAX);
    let entries = u32::try_from(ENTRIES).unwrap_or(u32::MAX);
    let mut header = MAGIC.to_vec();
    header.extend(rings.to_le_bytes());
    header.extend(entries.to_le_bytes());
    header.extend(u64::from(std::process::id()).to_le_bytes());
    header.extend(cores.iter().flat_map(|core| core.to_le_bytes()));
    header.resize(HEADER_BYTES, 0);
    header
}
