//! The build cache: results, each named by a hash of its inputs.
//!
//! Invariants
//! - An entry's name contains the hash of all its inputs.
//! - An entry appears whole, by one rename, or not at all.
//! - An entry has one builder at a time: others wait on a lock and then find the entry.
//! - A failed build leaves its log and nothing else.
//!
//! Not here: the inputs of a key, which each builder lists.

use crate::error::{Doing, ImageError};
use crate::journal::Journal;
use crate::progress::Progress;
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Age from which an unused entry is removed when a newer one is made.
const FORGET_AFTER: Duration = Duration::from_secs(14 * 24 * 3600);
/// Entries of one name that stay, the ones used last; more of them are removed ...
const KEEP: usize = 8;
/// ... unless they were used this recently and may still be in use.
const MAYBE_IN_USE: Duration = Duration::from_secs(3 * 3600);

/// A folder of build results.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the user's cache: `$LUGE_CACHE`, else `$XDG_CACHE_HOME/luge`, else `~/.cache/luge`.
    pub fn open() -> Result<Self, ImageError> {
        let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || from("HOME").unwrap_or_else(|| PathBuf::from("/root")).join(".cache");
        let root =
            from("LUGE_CACHE").unwrap_or_else(|| from("XDG_CACHE_HOME").unwrap_or_else(home).join("luge"));
        Self::at(&root)
    }

    /// Opens a cache in the folder `root`, which is made if it does not exist.
    pub fn at(root: &Path) -> Result<Self, ImageError> {
        fs::create_dir_all(root).doing(|| format!("making the cache {}", root.display()))?;
        let root = root.canonicalize().doing(|| format!("opening the cache {}", root.display()))?;
        Ok(Self { root })
    }

    /// A folder of the cache for other use; its users lock it themselves.
    pub fn folder(&self, name: &str) -> Result<PathBuf, ImageError> {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder).doing(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }

    /// Path of a log file.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    /// Waits for and takes the lock `name`; dropping the file releases it.
    pub(crate) fn lock(&self, name: &str, progress: &Progress) -> Result<File, ImageError> {
        let path = self.folder("locks")?.join(name);
        let file = File::create(&path).doing(|| format!("making the lock {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                progress.say(&format!("waiting for another build ({})", path.display()));
            }
            Err(TryLockError::Error(source)) => {
                return Err(ImageError::Io { doing: format!("locking {}", path.display()), source });
            }
        }
        file.lock().doing(|| format!("locking {}", path.display()))?;
        Ok(file)
    }

    /// Returns the entry's folder; if there is none, `build` fills it first.
    pub(crate) fn entry(
        &self,
        wanted: &Wanted<'_>,
        progress: &Progress,
        build: impl FnOnce(&Workshop<'_>) -> Result<(), ImageError>,
    ) -> Result<PathBuf, ImageError> {
        let name = format!("{}-{}", wanted.name, wanted.key.short());
        let entry = self.folder("entries")?.join(&name);
        if entry.is_dir() {
            touch(&entry);
            return Ok(entry);
        }
        let _lock = self.lock(&name, progress)?;
        if !entry.is_dir() {
            self.make(wanted, &name, progress, build)?;
            self.forget_old(wanted.name);
        }
        Ok(entry)
    }

    fn make(
        &self,
        wanted: &Wanted<'_>,
        name: &str,
        progress: &Progress,
        build: impl FnOnce(&Workshop<'_>) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let step = progress.step(wanted.what);
        let site = self.folder("building")?.join(name);
        clear(&site)?;
        let workshop = Workshop::open(&site, Journal::create(self.log(name), &step)?)?;
        let built = build(&workshop).and_then(|()| {
            let entry = self.root.join("entries").join(name);
            // A folder that was unpacked has the time of its archive.
            touch(&workshop.out);
            fs::rename(&workshop.out, &entry).doing(|| format!("keeping {}", entry.display()))
        });
        let cleared = clear(&site);
        built.and(cleared)
    }

    /// Removes entries of this name that are old or too many.
    fn forget_old(&self, name: &str) {
        let Ok(entries) = fs::read_dir(self.root.join("entries")) else { return };
        let prefix = format!("{name}-");
        let ours = |entry: &fs::DirEntry| {
            entry.file_name().to_string_lossy().strip_prefix(&prefix).is_some_and(is_short_key)
        };
        let mut found: Vec<(Duration, PathBuf)> =
            entries.flatten().filter(ours).map(|entry| (unused_for(&entry.path()), entry.path())).collect();
        found.sort();
        for (rank, (unused, path)) in found.iter().enumerate() {
            if *unused > FORGET_AFTER || (rank >= KEEP && *unused > MAYBE_IN_USE) {
                // An entry that cannot be removed costs space only.
                let _ = fs::remove_dir_all(path);
            }
        }
    }
}

fn is_short_key(text: &str) -> bool {
    text.len() == SHORT_KEY && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn unused_for(entry: &Path) -> Duration {
    let used = fs::metadata(entry).and_then(|data| data.modified()).unwrap_or_else(|_| SystemTime::now());
    used.elapsed().unwrap_or_default()
}

fn touch(entry: &Path) {
    // Only `forget_old` reads the time, so a read-only cache works too.
    let _ = File::open(entry).and_then(|folder| folder.set_modified(SystemTime::now()));
}

fn clear(folder: &Path) -> Result<(), ImageError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ImageError::Io { doing: format!("removing {}", folder.display()), source: error })
        }
        _ => Ok(()),
    }
}

/// A request for an entry.
pub(crate) struct Wanted<'a> {
    /// Name of the entry without its hash: `kernel`.
    pub(crate) name: &'a str,
    /// Name of the step in messages: `building the kernel`.
    pub(crate) what: &'a str,
    /// Hash of its inputs.
    pub(crate) key: Key,
}

/// Folders and log of an entry that is being built.
pub(crate) struct Workshop<'a> {
    /// Folder that becomes the entry.
    pub(crate) out: PathBuf,
    /// Folder that is removed afterwards.
    pub(crate) scratch: PathBuf,
    journal: Journal<'a>,
}

impl<'a> Workshop<'a> {
    fn open(site: &Path, journal: Journal<'a>) -> Result<Self, ImageError> {
        let (out, scratch) = (site.join("out"), site.join("scratch"));
        for folder in [&out, &scratch] {
            fs::create_dir_all(folder).doing(|| format!("making {}", folder.display()))?;
        }
        Ok(Self { out, scratch, journal })
    }

    /// Runs a program, with its output in the entry's log.
    pub(crate) fn run(&self, command: &mut Command) -> Result<(), ImageError> {
        self.journal.run(command)
    }

    /// Runs a program and returns its standard output.
    pub(crate) fn output(&self, command: &mut Command) -> Result<String, ImageError> {
        self.journal.output(command)
    }
}

/// Hex digits of a key in an entry's name.
const SHORT_KEY: usize = 20;

/// Hash of all inputs of a result.
///
/// Each input is hashed with its name and its length, so that different lists of inputs are different
/// bytes.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    hash: Sha256,
}

impl Key {
    /// A key without inputs.
    pub(crate) fn new() -> Self {
        Self { hash: Sha256::new() }
    }

    /// Adds an input.
    pub(crate) fn with(mut self, name: &str, content: &[u8]) -> Self {
        for part in [name.as_bytes(), content] {
            self.hash.update(part.len().to_le_bytes());
            self.hash.update(part);
        }
        self
    }

    /// Adds the source text that builds the result: its lines of code, without comments and tests.
    pub(crate) fn with_recipe(self, source: &str) -> Self {
        let lines = source.lines().map(str::trim).take_while(|line| *line != "#[cfg(test)]");
        let code: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("//")).collect();
        self.with("recipe", code.join("\n").as_bytes())
    }

    /// Adds the content of a file.
    pub(crate) fn with_file(self, name: &str, path: &Path) -> Result<Self, ImageError> {
        let content = fs::read(path).doing(|| format!("reading {}", path.display()))?;
        Ok(self.with(name, &content))
    }

    /// The part of the hash that stands in an entry's name.
    pub(crate) fn short(&self) -> String {
        let digest = self.hash.clone().finalize();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        hex[..SHORT_KEY].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn wanted(content: &str) -> Wanted<'static> {
        Wanted { name: "thing", what: "making a thing", key: Key::new().with("input", content.as_bytes()) }
    }

    fn write_result(workshop: &Workshop<'_>) -> Result<(), ImageError> {
        fs::write(workshop.out.join("result"), "made").doing(|| "writing".to_owned())
    }

    #[test]
    fn the_second_build_of_the_same_inputs_builds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let first = cache.entry(&wanted("a"), &Progress::quiet(), write_result).unwrap();
        let second = cache.entry(&wanted("a"), &Progress::quiet(), |_| panic!("built twice")).unwrap();
        assert_eq!(first, second);
        assert_eq!(fs::read_to_string(second.join("result")).unwrap(), "made");
    }

    #[test]
    fn other_inputs_make_another_entry() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let first = cache.entry(&wanted("a"), &Progress::quiet(), write_result).unwrap();
        let second = cache.entry(&wanted("b"), &Progress::quiet(), write_result).unwrap();
        assert_ne!(first, second);
    }

    #[test]
    fn a_key_depends_on_where_one_input_ends_and_the_next_begins() {
        let short = |parts: &[(&str, &str)]| {
            parts.iter().fold(Key::new(), |key, (name, text)| key.with(name, text.as_bytes())).short()
        };
        assert_ne!(short(&[("a", "bc")]), short(&[("ab", "c")]));
        assert_ne!(short(&[("a", "b"), ("c", "d")]), short(&[("a", "bcd")]));
        assert_eq!(short(&[("a", "b")]), short(&[("a", "b")]));
        assert!(is_short_key(&short(&[])));
    }

    #[test]
    fn a_recipe_is_the_code_without_its_comments_and_tests() {
        let key = |source: &str| Key::new().with_recipe(source).short();
        let with_comments =
            "//! A file.\n\n/// One.\nfn a() {\n    // So.\n    b();\n}\n#[cfg(test)]\nmod tests {}\n";
        assert_eq!(key("fn a() {\n    b();\n}\n"), key(with_comments));
        assert_ne!(key("fn a() {\n    b();\n}\n"), key("fn a() {\n    c();\n}\n"));
    }

    #[test]
    fn a_failed_build_keeps_its_log_and_can_be_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let error = cache
            .entry(&wanted("a"), &Progress::quiet(), |workshop| {
                write_result(workshop)?;
                workshop.run(Command::new("sh").args(["-c", "echo it went wrong; exit 1"]))
            })
            .unwrap_err();
        let ImageError::Failed { log, .. } = error else { panic!("{error}") };
        assert!(fs::read_to_string(log).unwrap().contains("it went wrong"));
        assert_eq!(fs::read_dir(folder.path().join("entries")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(folder.path().join("building")).unwrap().count(), 0);
        cache.entry(&wanted("a"), &Progress::quiet(), write_result).unwrap();
    }

    #[test]
    fn builders_of_one_entry_at_the_same_time_build_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let built = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let made = cache.entry(&wanted("a"), &Progress::quiet(), |workshop| {
                        built.fetch_add(1, Ordering::Relaxed);
                        write_result(workshop)
                    });
                    assert!(made.unwrap().join("result").exists());
                });
            }
        });
        assert_eq!(built.load(Ordering::Relaxed), 1);
    }

    fn made(cache: &Cache, content: &str, unused_for: Duration) -> PathBuf {
        let entry = cache.entry(&wanted(content), &Progress::quiet(), write_result).unwrap();
        File::open(&entry).unwrap().set_modified(SystemTime::now() - unused_for).unwrap();
        entry
    }

    #[test]
    fn entries_long_unused_go_when_a_newer_one_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let old = made(&cache, "a", 2 * FORGET_AFTER);
        let recent = made(&cache, "b", MAYBE_IN_USE / 2);
        made(&cache, "c", Duration::ZERO);
        assert!(!old.exists());
        assert!(recent.exists());
    }

    #[test]
    fn an_entry_whose_folder_has_an_old_time_is_new_when_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let entry = Cache::at(folder.path()).unwrap().entry(&wanted("a"), &Progress::quiet(), |workshop| {
            write_result(workshop)?;
            let old = SystemTime::now() - 2 * FORGET_AFTER;
            File::open(&workshop.out).and_then(|out| out.set_modified(old)).doing(|| "ageing".to_owned())
        });
        assert!(entry.unwrap().exists());
    }

    #[test]
    fn of_many_entries_the_ones_used_last_stay() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let count = u32::try_from(KEEP).unwrap() + 2;
        let entries: Vec<PathBuf> =
            (1..=count).map(|n| made(&cache, &format!("entry {n}"), n * 2 * MAYBE_IN_USE)).collect();
        let newest = made(&cache, "newest", Duration::ZERO);
        let stay: Vec<bool> = entries.iter().map(|entry| entry.exists()).collect();
        assert!(newest.exists());
        assert_eq!(stay.iter().filter(|stays| **stays).count(), KEEP - 1);
        assert!(stay[0] && !stay[stay.len() - 1], "{stay:?}");
    }
}
