//! Power cuts: what is left of the guest's file system wherever the power of the SSD goes.
//!
//! The log of the SSD's writes is replayed onto an empty disk up to each of its entries, with nothing of what
//! was written since the last flush, and with any part of that. Each time the file system must recover and hold all files
//! that had been synced by then. The guest marks these points by writes outside its file system
//! (`image/guest/scripts/selftest`).

use crate::write_log::{self, Entry};
use luge_qemu_test::{Bench, TestError, selftest};
use luge_seeded::fuzz;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// First words of a mark.
const MARK: &[u8] = b"LUGE-GUEST synced ";

/// Granularity of what is written to the image of a disk.
const PAGE_BYTES: usize = 4096;

/// Files that the guest writes and syncs, one by one.
const FILES: usize = 4;

/// A file that the guest had synced before an entry of the log.
struct Synced {
    /// Number of entries before its mark.
    since: usize,
    name: String,
    content: Vec<u8>,
}

/// Log of the guest's volume, and what must survive.
pub struct PowerCuts {
    /// Offsets are those of the volume.
    entries: Vec<Entry>,
    /// Number of entries before the mark of the file system.
    made: usize,
    synced: Vec<Synced>,
    image: PathBuf,
}

impl PowerCuts {
    /// Reads the log of an SSD on which the self-test ran.
    ///
    /// # Errors
    /// If the log or what the guest wrote cannot be read.
    ///
    /// # Panics
    /// If the guest has not marked its file system and all its files.
    pub fn read(bench: &Bench<'_>, log: &Path) -> Result<Self, TestError> {
        bench.lab().ensure_tools()?;
        let entries = write_log::read(log).map_err(|error| TestError::Host(error.to_string()))?;
        let mut entries: Vec<Entry> = entries.into_iter().filter_map(of_volume).collect();
        let image = bench.path("power-cut.img");
        let mut marks = marks(&entries);
        // A guest that is started again begins anew, with another file system.
        marks.truncate(1 + FILES);
        assert_eq!(marks.len(), 1 + FILES, "marks of the guest: {marks:?}");
        entries.truncate(marks.last().map_or(0, |(since, _)| since + 1));
        let (made, _) = marks.remove(0);
        Disk::after(&entries).store(&image);
        recover(&image);
        let synced = marks.into_iter().map(|(since, mark)| synced(&image, since, &mark)).collect();
        Ok(Self { entries, made, synced, image })
    }

    /// Checks a power cut after each entry since the file system was made: all before it is on the media.
    ///
    /// # Panics
    /// If something is lost.
    pub fn check_each_entry(&self) {
        let mut disk = Disk::after(&self.entries[..self.made]);
        for (at, entry) in self.entries.iter().enumerate().skip(self.made) {
            disk.apply(entry);
            self.check(&disk, at + 1);
        }
    }

    /// Checks a power cut before each flush and at the end: nothing that was not flushed is on the media.
    ///
    /// # Panics
    /// If something is lost.
    pub fn check_nothing_unflushed(&self) {
        let since_made = self.entries.iter().enumerate().skip(self.made + 1);
        let flushes = since_made.filter(|(_, entry)| **entry == Entry::Flush).map(|(at, _)| at);
        for cut in flushes.chain([self.entries.len()]) {
            self.check(&self.part_before(cut, || false), cut);
        }
    }

    /// Checks power cuts at random entries: any part of the writes since the last flush is on the media.
    ///
    /// # Panics
    /// If something is lost.
    pub fn check_random_parts(&self) {
        fuzz(|random| {
            let cut = random.between(self.made + 1, self.entries.len());
            let disk = self.part_before(cut, || random.once_in(2));
            self.check(&disk, cut);
        });
    }

    /// Disk with all that was flushed before entry `cut`, and of the rest what `is_kept` says.
    fn part_before(&self, cut: usize, mut is_kept: impl FnMut() -> bool) -> Disk {
        let before = &self.entries[..cut];
        let flushed = before.iter().rposition(|entry| *entry == Entry::Flush).map_or(0, |last| last + 1);
        let (flushed, pending) = before.split_at(flushed);
        let mut disk = Disk::after(flushed);
        for entry in pending {
            let certain = matches!(entry, Entry::Write { fua: true, .. });
            if certain || is_kept() {
                disk.apply(entry);
            }
        }
        disk
    }

    /// Checks what a power cut before entry `cut` leaves.
    fn check(&self, disk: &Disk, cut: usize) {
        disk.store(&self.image);
        recover(&self.image);
        for file in self.synced.iter().filter(|file| file.since < cut) {
            let found = content(&self.image, &file.name);
            assert!(found == file.content, "{} is lost by a power cut before entry {cut}", file.name);
        }
    }
}

/// Entry with its offset on the guest's volume; `None` if it is about another volume.
fn of_volume(entry: Entry) -> Option<Entry> {
    match entry {
        Entry::Write { at, data, fua } => {
            let volume = selftest::volume_bytes();
            volume.contains(&at).then(|| Entry::Write { at: at - volume.start, data, fua })
        }
        other => Some(other),
    }
}

/// Number of entries before each mark, and its words.
fn marks(entries: &[Entry]) -> Vec<(usize, String)> {
    let mark = |entry: &Entry| match entry {
        Entry::Write { data, .. } => data.strip_prefix(MARK).and_then(|rest| {
            let line = rest.split(|&byte| byte == b'\n').next()?;
            String::from_utf8(line.to_vec()).ok()
        }),
        _ => None,
    };
    entries.iter().enumerate().filter_map(|(at, entry)| Some((at, mark(entry)?))).collect()
}

/// File of a mark such as `data.1 sha256=...`, with the content that has that hash.
fn synced(image: &Path, since: usize, mark: &str) -> Synced {
    let (name, hash) = mark.split_once(" sha256=").unwrap_or_else(|| panic!("the mark of a file: {mark}"));
    let content = content(image, name);
    let found: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, hash, "hash of {name}, without any power cut");
    Synced { since, name: name.to_owned(), content }
}

/// Content of the guest's volume.
struct Disk(Vec<u8>);

impl Disk {
    /// Empty disk to which `entries` were applied.
    fn after(entries: &[Entry]) -> Self {
        let volume = selftest::volume_bytes();
        let mut disk = Self(vec![0; usize::try_from(volume.end - volume.start).expect("a small volume")]);
        entries.iter().for_each(|entry| disk.apply(entry));
        disk
    }

    fn apply(&mut self, entry: &Entry) {
        if let Entry::Write { at, data, .. } = entry {
            let at = usize::try_from(*at).expect("an offset on the volume");
            self.0[at..at + data.len()].copy_from_slice(data);
        }
    }

    /// Writes the content to a file, with holes.
    fn store(&self, path: &Path) {
        let file = File::create(path).expect("a file in the folder of the test");
        file.set_len(self.0.len() as u64).expect("a longer file");
        for (page, bytes) in self.0.chunks(PAGE_BYTES).enumerate() {
            if *bytes != [0; PAGE_BYTES] {
                file.write_all_at(bytes, (page * PAGE_BYTES) as u64).expect("room on the disk");
            }
        }
    }
}

/// Repairs a file system as a machine that boots does.
fn recover(image: &Path) {
    // 1: errors were corrected. 4 and more: some are left, or the program has failed.
    const LEFT: i32 = 4;
    let output = run(Command::new("e2fsck").args(["-f", "-y"]).arg(image));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code().is_some_and(|code| code < LEFT), "{}: {text}", output.status);
}

/// Content of a file in the root of the file system.
fn content(image: &Path, name: &str) -> Vec<u8> {
    run(Command::new("debugfs").args(["-R", &format!("cat /{name}")]).arg(image)).stdout
}

/// Runs a program that may be in a folder of root's.
fn run(command: &mut Command) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C").output();
    output.unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()))
}
