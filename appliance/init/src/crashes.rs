//! Crashes of the machine, as the firmware keeps them: the last lines of the kernel's log before each (pstore).
//!
//! ```text
//!  crash --> kernel's log --> records of about 1 KiB, in variables of UEFI --> next boot: files in /sys/fs/pstore
//! ```
//!
//! The kernel writes a record with the newest lines first, then records with older ones. A record begins with
//! `REASON#COUNT PartNUMBER`, COUNT being that of all crashes since the boot. Removing its file removes the record.
//!
//! Invariants
//! - The files are not trusted: other systems may have left some, firmware may have damaged any. What is read of them
//!   is bounded.
//! - Nothing is removed but by [`remove_crash`] and [`keep_newest_crashes`].
//!
//! Not here: the lines themselves (`say`, and the trace).

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most records that are read; a crash has about ten.
const RECORDS_MAX: usize = 256;
/// Most bytes that are read of a record.
const RECORD_BYTES_MAX: u64 = 8192;

/// Cause of a crash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CrashCause {
    /// Panic of Luge, after which it has rebooted the machine.
    Luge,
    /// Panic of the kernel.
    Kernel,
    /// Fault of the kernel, which its panic follows.
    Oops,
    /// Anything else, of another system perhaps.
    Unknown,
}

/// A crash of the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crash {
    /// Name: that of the file of its newest record.
    pub name: String,
    /// Cause.
    pub cause: CrashCause,
    /// Time since 1970 by the machine's clock.
    pub time: Duration,
    /// Last lines of the kernel's log, oldest first. May have any characters.
    pub text: String,
    /// Files of its records.
    files: Vec<String>,
}

/// Lists the crashes in a folder of pstore, oldest first.
///
/// # Errors
/// Errors of reading the folder; there are no crashes where there is no such folder.
pub fn crashes(folder: &Path) -> io::Result<Vec<Crash>> {
    let mut records = records(folder)?;
    records.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut crashes: Vec<Crash> = Vec::new();
    let mut before: Option<Head> = None;
    for record in records {
        match crashes.last_mut().filter(|_| record.head.is_some_and(|head| head.goes_on_with(before))) {
            Some(crash) => crash.add_older(&record),
            None => crashes.push(Crash::of(&record)),
        }
        before = record.head;
    }
    Ok(crashes)
}

/// Removes a crash from a folder of pstore. One that somebody else has removed is no error.
///
/// # Errors
/// The firmware's.
pub fn remove_crash(folder: &Path, crash: &Crash) -> io::Result<()> {
    // The newest record goes last: a crash that was removed in part can be named again.
    for file in crash.files.iter().rev() {
        match fs::remove_file(folder.join(file)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// Removes all crashes of Luge's kernel but the newest `count`, so that the firmware's memory does not fill up; returns
/// how many. Records that cannot be read are left alone.
///
/// # Errors
/// Errors of reading the folder, and the firmware's.
pub fn keep_newest_crashes(folder: &Path, count: usize) -> io::Result<usize> {
    let mut known = crashes(folder)?;
    known.retain(|crash| crash.cause != CrashCause::Unknown);
    let old = known.len().saturating_sub(count);
    known.iter().take(old).try_for_each(|crash| remove_crash(folder, crash))?;
    Ok(old)
}

impl Crash {
    fn of(record: &Record) -> Self {
        let Record { file, time, head, text } = record;
        let cause = head.map_or(CrashCause::Unknown, |head| head.cause);
        Self { name: file.clone(), cause, time: *time, text: text.clone(), files: vec![file.clone()] }
    }

    /// Adds the lines before those that are there already.
    fn add_older(&mut self, record: &Record) {
        self.text.insert_str(0, &record.text);
        self.files.push(record.file.clone());
    }
}

/// A file of pstore.
struct Record {
    file: String,
    time: Duration,
    /// None of a record that is not of a crash, or that cannot be read.
    head: Option<Head>,
    text: String,
}

/// First line of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    count: u32,
    part: u32,
    cause: CrashCause,
}

impl Record {
    fn read(folder: &Path, file: String) -> Option<Self> {
        let path = folder.join(&file);
        let opened = File::open(path).ok()?;
        let modified = opened.metadata().and_then(|metadata| metadata.modified()).ok()?;
        let mut bytes = Vec::new();
        opened.take(RECORD_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let (head, text) = match text.split_once('\n').map(|(line, rest)| (Head::parse(line), rest)) {
            Some((Some(head), rest)) => (Some(head), rest),
            _ => (None, &*text),
        };
        Some(Self { time: since_1970(modified), head, text: text.to_owned(), file })
    }

    /// Place in the order of crashes: by time, which is that of the record, then as the kernel numbers them.
    fn order(&self) -> (Duration, Option<Head>, &str) {
        (self.time, self.head, &self.file)
    }
}

impl Head {
    /// Parses `REASON#COUNT PartNUMBER`.
    fn parse(line: &str) -> Option<Self> {
        let (reason, rest) = line.split_once('#')?;
        let (count, part) = rest.split_once(" Part")?;
        let cause = match reason {
            // Nothing but a panic of Luge makes the kernel keep its log at a shutdown.
            "Shutdown" => CrashCause::Luge,
            "Panic" => CrashCause::Kernel,
            "Oops" => CrashCause::Oops,
            _ => CrashCause::Unknown,
        };
        Some(Self { count: count.parse().ok()?, part: part.parse().ok()?, cause })
    }

    /// Whether this is the record after another one of the same crash.
    fn goes_on_with(self, before: Option<Self>) -> bool {
        before.is_some_and(|before| Self { part: before.part.saturating_add(1), ..before } == self)
    }
}

/// Reads the records of a folder, in no order.
fn records(folder: &Path) -> io::Result<Vec<Record>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let files = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let names = files.filter_map(|entry| entry.file_name().into_string().ok()).take(RECORDS_MAX);
    Ok(names.filter_map(|name| Record::read(folder, name)).collect())
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A folder with records: their names, times in seconds, and contents.
    fn folder(records: &[(&str, u64, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, seconds, text) in records {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            let time = UNIX_EPOCH + Duration::from_secs(*seconds);
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        folder
    }

    fn names(folder: &TempDir) -> Vec<String> {
        crashes(folder.path()).unwrap().into_iter().map(|crash| crash.name).collect()
    }

    #[test]
    fn the_records_of_a_crash_are_one_text_also_where_a_second_ends_between_them() {
        let folder = folder(&[
            ("dmesg-efi-3", 101, "Panic#1 Part3\n<6>[    1.0] oldest\n"),
            ("dmesg-efi-1", 100, "Panic#1 Part1\n<0>[    3.0] newest\n"),
            ("dmesg-efi-2", 100, "Panic#1 Part2\n<6>[    2.0] middle\n"),
        ]);
        let crashes = crashes(folder.path()).unwrap();
        assert_eq!(crashes.len(), 1);
        assert_eq!(crashes[0].name, "dmesg-efi-1");
        assert_eq!(crashes[0].cause, CrashCause::Kernel);
        assert_eq!(crashes[0].time, Duration::from_secs(100));
        assert_eq!(crashes[0].text, "<6>[    1.0] oldest\n<6>[    2.0] middle\n<0>[    3.0] newest\n");
    }

    #[test]
    fn a_fault_of_the_kernel_and_the_panic_after_it_are_two() {
        let folder = folder(&[
            ("a", 7, "Oops#1 Part1\nfault\n"),
            ("b", 7, "Oops#1 Part2\nbefore\n"),
            ("c", 7, "Panic#2 Part1\npanic\n"),
        ]);
        let crashes = crashes(folder.path()).unwrap();
        assert_eq!(crashes.len(), 2);
        assert_eq!(crashes[0].cause, CrashCause::Oops);
        assert_eq!(crashes[0].text, "before\nfault\n");
        assert_eq!(crashes[1].cause, CrashCause::Kernel);
        assert_eq!(crashes[1].text, "panic\n");
    }

    #[test]
    fn crashes_of_two_boots_are_in_the_order_of_time() {
        let folder = folder(&[
            ("z", 1000, "Shutdown#1 Part1\nfirst\n"),
            ("a", 2000, "Shutdown#1 Part1\nsecond\n"),
            ("b", 2000, "Shutdown#1 Part2\nbefore second\n"),
        ]);
        assert_eq!(names(&folder), ["z", "a"]);
    }

    #[test]
    fn a_crash_whose_older_records_are_missing_is_shown_and_removed_like_any_other() {
        let folder = folder(&[("a", 7, "Panic#1 Part2\nmiddle\n"), ("b", 7, "Panic#1 Part4\nolder\n")]);
        assert_eq!(names(&folder), ["a", "b"]);
        for crash in crashes(folder.path()).unwrap() {
            remove_crash(folder.path(), &crash).unwrap();
            remove_crash(folder.path(), &crash).unwrap();
        }
        assert_eq!(names(&folder), [""; 0]);
    }

    #[test]
    fn foreign_records_are_named_and_never_removed_unasked() {
        let folder = folder(&[
            ("dmesg-efi-1.enc.z", 1, "\u{1}\u{2}no text"),
            ("mce-erst-5", 2, ""),
            ("a", 3, "Panic#x Part1\n"),
            ("b", 4, "Panic#1 Part1\nours\n"),
        ]);
        fs::create_dir(folder.path().join("folder")).unwrap();
        assert_eq!(names(&folder), ["dmesg-efi-1.enc.z", "mce-erst-5", "a", "b"]);
        assert_eq!(keep_newest_crashes(folder.path(), 0).unwrap(), 1);
        assert_eq!(names(&folder), ["dmesg-efi-1.enc.z", "mce-erst-5", "a"]);
    }

    #[test]
    fn of_many_crashes_the_newest_are_kept() {
        let records: Vec<(String, u64, String)> =
            (0..9).map(|n| (format!("n{n}"), n, format!("Panic#1 Part1\n{n}\n"))).collect();
        let records: Vec<_> = records.iter().map(|(name, time, text)| (&**name, *time, &**text)).collect();
        let folder = folder(&records);
        assert_eq!(keep_newest_crashes(folder.path(), 2).unwrap(), 7);
        assert_eq!(names(&folder), ["n7", "n8"]);
        assert_eq!(keep_newest_crashes(folder.path(), 2).unwrap(), 0);
    }

    #[test]
    fn what_is_read_of_any_folder_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        assert!(crashes(&folder.path().join("missing")).unwrap().is_empty());
        for n in 0..RECORDS_MAX + 50 {
            fs::write(folder.path().join(n.to_string()), "x".repeat(10_000)).unwrap();
        }
        let crashes = crashes(folder.path()).unwrap();
        assert_eq!(crashes.len(), RECORDS_MAX);
        assert!(crashes.iter().all(|crash| crash.text.len() as u64 == RECORD_BYTES_MAX));
    }
}
