//! Files behind the disks: in memory if there is room, else on the host's disk.

use luge_qemu_test::TestError;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A file system in memory, on every Linux host.
const IN_MEMORY: &str = "/dev/shm";

/// Size of a null disk in bytes.
pub(crate) const NULL_BYTES: u64 = 1 << 30;

/// Sizes of the memory and file disks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) memory_mib: u32,
    pub(crate) file_mib: u32,
}

impl Sizes {
    /// Small disks, for a brief run.
    pub(crate) const SMALL: Self = Self { memory_mib: 64, file_mib: 64 };

    /// Disks larger than the processor's caches, if memory allows.
    pub(crate) fn that_fit() -> Self {
        let free = std::fs::read_to_string("/proc/meminfo").ok();
        let free_kib = free.and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
        // Both servers have a memory disk, and the file is in memory as well.
        if free_kib >= Some(4 << 20) { Self { memory_mib: 512, file_mib: 256 } } else { Self::SMALL }
    }
}

/// Files without holes. Dropping the handle removes them.
pub(crate) struct Files {
    folder: TempDir,
    /// Whether the files are in memory, without direct I/O.
    pub(crate) in_memory: bool,
}

impl Files {
    /// Creates and fills the files.
    ///
    /// # Errors
    /// If there is no room.
    pub(crate) fn create(sizes: Sizes) -> Result<Self, TestError> {
        let need = u64::from(sizes.memory_mib + sizes.file_mib) << 20;
        let in_memory = room(Path::new(IN_MEMORY)) > Some(need);
        let parent = if in_memory { PathBuf::from(IN_MEMORY) } else { std::env::temp_dir() };
        // The name contains the id of the process that owns it.
        let prefix = format!("luge-compare-{}-", std::process::id());
        let folder = TempDir::with_prefix_in(prefix, &parent).map_err(failed)?;
        let files = Self { folder, in_memory };
        fill(&files.memory(), sizes.memory_mib).map_err(failed)?;
        fill(&files.file(), sizes.file_mib).map_err(failed)?;
        Ok(files)
    }

    /// File that replaces a memory device, for a server without one.
    pub(crate) fn memory(&self) -> PathBuf {
        self.folder.path().join("memory")
    }

    /// File of the file device.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("file")
    }
}

/// Free bytes in the file system of `folder`.
fn room(folder: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(folder).ok()?;
    system.f_bavail.checked_mul(system.f_frsize)
}

fn fill(path: &Path, size_mib: u32) -> io::Result<()> {
    let (mut file, piece) = (File::create(path)?, vec![0x5a; 1 << 20]);
    (0..size_mib).try_for_each(|_| file.write_all(&piece))?;
    // On a disk, writing back during a measurement would disturb it.
    file.sync_all()
}

fn failed(source: io::Error) -> TestError {
    TestError::Io { doing: "making the files behind disks".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_size_and_go_with_their_handle() {
        let files = Files::create(Sizes { memory_mib: 1, file_mib: 2 }).unwrap();
        let (memory, file) = (files.memory(), files.file());
        assert_eq!(memory.metadata().unwrap().len(), 1 << 20);
        assert_eq!(file.metadata().unwrap().len(), 2 << 20);
        drop(files);
        assert!(!memory.exists() && !file.exists());
    }
}
