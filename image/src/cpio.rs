//! Cpio archives in the format "newc", which the kernel unpacks as its initramfs
//! (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Archives are reproducible: times are zero, the owner is root, inodes count from 1. Parent folders
//! are added automatically, and each path occurs once.

use crate::error::{Doing, ImageError};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// Name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive being written.
#[derive(Debug, Default)]
pub(crate) struct Cpio {
    bytes: Vec<u8>,
    inode: u32,
    paths: BTreeSet<String>,
}

/// Major and minor number of a character device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeviceNumber {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// Header fields of an entry, besides its name and size.
struct Entry {
    mode: u32,
    links: u32,
    device: DeviceNumber,
}

impl Entry {
    fn of(mode: u32) -> Self {
        Self { mode, links: 1, device: DeviceNumber { major: 0, minor: 0 } }
    }
}

impl Cpio {
    /// An empty archive.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a folder that everybody may enter (0755), unless it is there; `path` is absolute.
    pub(crate) fn folder(&mut self, path: &str) -> Result<(), ImageError> {
        let name = path.trim_matches('/');
        if name.is_empty() || self.paths.contains(name) {
            return Ok(());
        }
        self.entry(name, &Entry { links: 2, ..Entry::of(FOLDER | 0o755) }, &[])
    }

    /// Adds a file with the given content.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<(), ImageError> {
        self.entry(path.trim_matches('/'), &Entry::of(FILE | (mode & 0o7777)), content)
    }

    /// Whether the archive has this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.paths.contains(path.trim_matches('/'))
    }

    /// Adds a copy of a file of the host, with its permissions.
    pub(crate) fn copy(&mut self, path: &str, source: &Path) -> Result<(), ImageError> {
        let reading = || format!("reading {}", source.display());
        let mode = fs::metadata(source).doing(reading)?.permissions().mode();
        self.file(path, mode, &fs::read(source).doing(reading)?)
    }

    /// Adds a copy of all that is in a folder of the host, with its permissions. Folders that are there already stay.
    pub(crate) fn tree(&mut self, path: &str, source: &Path) -> Result<(), ImageError> {
        let reading = || format!("reading {}", source.display());
        self.folder(path)?;
        let mut entries: Vec<_> =
            fs::read_dir(source).doing(reading)?.collect::<Result<_, _>>().doing(reading)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (inside, source) = (format!("{path}/{}", entry.file_name().to_string_lossy()), entry.path());
            let kind = entry.file_type().doing(reading)?;
            if kind.is_symlink() {
                let target = fs::read_link(&source).doing(reading)?;
                self.link(&inside, &target.to_string_lossy())?;
            } else if kind.is_dir() {
                self.tree(&inside, &source)?;
            } else {
                self.copy(&inside, &source)?;
            }
        }
        Ok(())
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<(), ImageError> {
        self.entry(path.trim_matches('/'), &Entry::of(LINK | 0o777), target.as_bytes())
    }

    /// Adds a character device.
    pub(crate) fn device(&mut self, path: &str, device: DeviceNumber) -> Result<(), ImageError> {
        self.entry(path.trim_matches('/'), &Entry { device, ..Entry::of(CHARACTER_DEVICE | 0o600) }, &[])
    }

    /// Ends the archive and returns its bytes, a multiple of four of them.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, ImageError> {
        self.header(TRAILER, &Entry::of(0), 0)?;
        Ok(self.bytes)
    }

    fn entry(&mut self, name: &str, entry: &Entry, content: &[u8]) -> Result<(), ImageError> {
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.folder(parent)?;
        }
        if !self.paths.insert(name.to_owned()) {
            return Err(unfit(name, "the archive has this path already"));
        }
        self.header(name, entry, content.len())?;
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn header(&mut self, name: &str, entry: &Entry, size: usize) -> Result<(), ImageError> {
        let size = u32::try_from(size).map_err(|_| unfit(name, "a file has to be smaller than 4 GiB"))?;
        let name_size = u32::try_from(name.len() + 1).map_err(|_| unfit(name, "the name is too long"))?;
        self.inode += 1;
        let DeviceNumber { major, minor } = entry.device;
        // inode, mode, owner, group, links, time, size, file's device (2), own device (2), name size, checksum
        let fields = [self.inode, entry.mode, 0, 0, entry.links, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn unfit(name: &str, problem: &str) -> ImageError {
    ImageError::Malformed { what: format!("/{name} for a cpio archive"), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut cpio = Cpio::new();
        cpio.file("/etc/deep/config", 0o644, b"hello").unwrap();
        cpio.file("/init", 0o755, b"#!").unwrap();
        cpio.link("/bin/sh", "/init").unwrap();
        cpio.folder("/etc").unwrap();
        cpio.finish().unwrap()
    }

    /// Name, mode and content of every entry, read from the bytes.
    fn entries(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |n: usize| {
                let text = std::str::from_utf8(&bytes[6 + 8 * n..14 + 8 * n]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = std::str::from_utf8(&bytes[110..110 + name_size - 1]).unwrap().to_owned();
            let content = (110 + name_size).next_multiple_of(4);
            if name == TRAILER {
                return found;
            }
            found.push((name, mode, bytes[content..content + size].to_vec()));
            bytes = &bytes[(content + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn every_entry_is_there_once_below_its_folders() {
        let entries = entries(&sample());
        let names: Vec<&str> = entries.iter().map(|(name, _, _)| name.as_str()).collect();
        assert_eq!(names, ["etc", "etc/deep", "etc/deep/config", "init", "bin", "bin/sh"]);
        assert_eq!(entries[2].2, b"hello");
        assert_eq!(entries[3].1, 0o100_755);
        assert_eq!(entries[5].2, b"/init");
    }

    #[test]
    fn a_tree_is_copied_with_its_links_and_permissions() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/file"), "hello").unwrap();
        fs::set_permissions(folder.path().join("sub/file"), fs::Permissions::from_mode(0o750)).unwrap();
        std::os::unix::fs::symlink("sub", folder.path().join("link")).unwrap();
        let mut cpio = Cpio::new();
        cpio.folder("/at/sub").unwrap();
        cpio.tree("/at", folder.path()).unwrap();
        let entries = entries(&cpio.finish().unwrap());
        let found: Vec<_> = entries.iter().map(|(name, mode, _)| format!("{name} {mode:o}")).collect();
        assert_eq!(found, ["at 40755", "at/sub 40755", "at/link 120777", "at/sub/file 100750"]);
        assert_eq!(entries[2].2, b"sub");
        assert_eq!(entries[3].2, b"hello");
    }

    #[test]
    fn a_path_that_is_there_already_is_refused() {
        let mut cpio = Cpio::new();
        cpio.file("/init", 0o755, b"one").unwrap();
        assert!(cpio.has("/init") && !cpio.has("/bin"));
        let error = cpio.link("/init", "two").unwrap_err().to_string();
        assert!(error.contains("/init"), "{error}");
    }

    #[test]
    fn a_device_carries_its_numbers_and_no_content() {
        let mut cpio = Cpio::new();
        cpio.device("/null", DeviceNumber { major: 1, minor: 3 }).unwrap();
        let bytes = cpio.finish().unwrap();
        assert_eq!(&bytes[6 + 8..6 + 16], b"00002180", "mode");
        assert_eq!(&bytes[6 + 8 * 9..6 + 8 * 11], b"0000000100000003", "major and minor");
    }

    #[test]
    fn the_same_content_makes_the_same_bytes() {
        assert_eq!(sample(), sample());
        assert_eq!(sample().len() % 4, 0);
    }
}
