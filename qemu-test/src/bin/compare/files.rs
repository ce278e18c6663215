//! The files behind disks: in memory where the host has room there, else on its disk.

use luge_qemu_test::TestError;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A file system in memory that every Linux has.
const IN_MEMORY: &str = "/dev/shm";

/// Sizes of the disks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) memory_mib: u32,
    pub(crate) file_mib: u32,
}

impl Sizes {
    /// Small ones, for a brief run.
    pub(crate) const SMALL: Self = Self { memory_mib: 64, file_mib: 64 };

    /// Large enough that no cache of a processor holds them, where memory allows.
    pub(crate) fn that_fit() -> Self {
        let free = std::fs::read_to_string("/proc/meminfo").ok();
        let free_kib = free.and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
        // Both servers have the memory disk, and the file is in memory as well.
        if free_kib >= Some(4 << 20) { Self { memory_mib: 512, file_mib: 256 } } else { Self::SMALL }
    }
}

/// The files, every byte of them there. Dropping it removes them.
pub(crate) struct Files {
    folder: TempDir,
    /// Whether they are in memory: there is no direct I/O then.
    pub(crate) in_memory: bool,
}

impl Files {
    /// # Errors
    /// There is no room.
    pub(crate) fn create(sizes: Sizes) -> Result<Self, TestError> {
        let need = u64::from(sizes.memory_mib + sizes.file_mib) << 20;
        let in_memory = room(Path::new(IN_MEMORY)) > Some(need);
        let place = if in_memory { PathBuf::from(IN_MEMORY) } else { std::env::temp_dir() };
        // The name says whose it is.
        let prefix = format!("luge-compare-{}-", std::process::id());
        let folder = TempDir::with_prefix_in(prefix, &place).map_err(failed)?;
        let files = Self { folder, in_memory };
        fill(&files.memory(), sizes.memory_mib).map_err(failed)?;
        fill(&files.file(), sizes.file_mib).map_err(failed)?;
        Ok(files)
    }

    /// Stands for a memory device where a server has none.
    pub(crate) fn memory(&self) -> PathBuf {
        self.folder.path().join("memory")
    }

    /// The file device's.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("file")
    }
}

/// Free bytes in the file system of `place`.
fn room(place: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(place).ok()?;
    system.f_bavail.checked_mul(system.f_frsize)
}

fn fill(path: &Path, size_mib: u32) -> io::Result<()> {
    let (mut file, piece) = (File::create(path)?, vec![0x5a; 1 << 20]);
    (0..size_mib).try_for_each(|_| file.write_all(&piece))?;
    // On a disk: what is written back meanwhile would be measured.
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
