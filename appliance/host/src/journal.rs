//! The journal: what the host was before its changes, so that they can be undone.
//!
//! One JSON file, replaced as a whole. A thing is noted before its first change, and removed when that is undone.

use crate::HostError;
use crate::pool::Pool;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// State of a thing before its first change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Before {
    /// An SSD, by its PCI address, and its driver.
    Driver { address: String, driver: Option<String> },
    /// The number of hugepages of a pool.
    Pages { pool: Pool, count: u64 },
}

impl Before {
    /// Whether both are about the same thing.
    fn is_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Driver { address: one, .. }, Self::Driver { address: other, .. }) => one == other,
            (Self::Pages { pool: one, .. }, Self::Pages { pool: other, .. }) => one == other,
            _ => false,
        }
    }
}

/// The journal of a host. Other processes wait outside while it is open.
pub(crate) struct Journal {
    path: PathBuf,
    entries: Vec<Before>,
    _lock: File,
}

impl Journal {
    /// Opens the journal at `path`, an empty one where there is no file.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) fn open(path: &Path) -> Result<Self, HostError> {
        let lock = lock(&path.with_extension("lock"))?;
        let entries = match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| HostError::Journal { path: path.to_owned(), reason: error.to_string() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(HostError::File { path: path.to_owned(), source }),
        };
        Ok(Self { path: path.to_owned(), entries, _lock: lock })
    }

    /// Things that were changed, in the order of their first changes.
    pub(crate) fn entries(&self) -> &[Before] {
        &self.entries
    }

    /// Notes what a thing is before a change, unless an earlier state of it is noted.
    ///
    /// # Errors
    /// [`HostError::File`]; the change must not be made then.
    pub(crate) fn note(&mut self, before: Before) -> Result<(), HostError> {
        if self.entries.iter().any(|entry| entry.is_of(&before)) {
            return Ok(());
        }
        self.entries.push(before);
        self.store()
    }

    /// Forgets a thing.
    ///
    /// # Errors
    /// [`HostError::File`].
    pub(crate) fn forget(&mut self, before: &Before) -> Result<(), HostError> {
        self.entries.retain(|entry| entry != before);
        self.store()
    }

    /// Replaces the file by a whole one: a process that is killed leaves the old or the new one.
    fn store(&self) -> Result<(), HostError> {
        let text = serde_json::to_string_pretty(&self.entries).map_err(io::Error::other);
        let new = self.path.with_extension("new");
        let written = text.and_then(|text| fs::write(&new, text + "\n"));
        let stored = written.and_then(|()| fs::rename(&new, &self.path));
        stored.map_err(|source| HostError::File { path: self.path.clone(), source })
    }
}

/// Locks out other processes.
fn lock(path: &Path) -> Result<File, HostError> {
    let failed = |source| HostError::File { path: path.to_owned(), source };
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    let file = File::create(path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(HostError::Busy),
        Err(error) => Err(failed(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(address: &str, driver: &str) -> Before {
        Before::Driver { address: address.into(), driver: Some(driver.into()) }
    }

    #[test]
    fn the_first_state_of_a_thing_is_kept_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/host.json");
        let pages = Before::Pages { pool: Pool { node: 0, page_kib: 2048 }, count: 3 };
        let mut journal = Journal::open(&path).unwrap();
        for before in [driver("a", "nvme"), pages.clone(), driver("a", "vfio-pci")] {
            journal.note(before).unwrap();
        }
        drop(journal);
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(journal.entries(), [driver("a", "nvme"), pages.clone()]);
        journal.forget(&driver("a", "nvme")).unwrap();
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().entries(), [pages]);
    }

    #[test]
    fn two_processes_do_not_change_a_host_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.json");
        let first = Journal::open(&path).unwrap();
        assert!(matches!(Journal::open(&path), Err(HostError::Busy)));
        drop(first);
        assert!(Journal::open(&path).is_ok());
    }

    #[test]
    fn a_file_that_is_no_journal_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.json");
        fs::write(&path, "[{\"driver\": 1}]").unwrap();
        let error = Journal::open(&path).err().unwrap().to_string();
        assert!(error.contains("host.json is no journal"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "[{\"driver\": 1}]");
    }
}
