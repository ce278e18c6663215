//! Identities of files with guest memory, by which rings are assigned to tenants.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use vhost::vhost_user::message::VhostUserMemoryRegion;

/// Identity of a file with guest memory: device number of its file system, and inode number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MemoryFile {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl MemoryFile {
    /// Identity of a file; none where the kernel does not tell.
    pub(crate) fn of(file: &File) -> Option<Self> {
        let data = file.metadata().ok()?;
        Some(Self { device: data.dev(), inode: data.ino() })
    }

    /// File of the longest region: the guest's RAM, also where it has other regions.
    pub(crate) fn of_longest(regions: &[VhostUserMemoryRegion], files: &[File]) -> Option<Self> {
        let (_, file) = regions.iter().zip(files).max_by_key(|(region, _)| region.memory_size)?;
        Self::of(file)
    }
}
