//! Debian 13's packages, looked up and fetched with apt in a state folder of our own: without root
//! and without a change to the system.
//!
//! All hosts use one release, so that a Debian 12 and a Debian 13 machine build the same image. The
//! package lists are read once and kept. A build uses newer versions only after `--refresh`.

use crate::archive::Archive;
use crate::cache::Cache;
use crate::error::{Doing, ImageError};
use crate::journal::Journal;
use crate::progress::{Progress, Step};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release that everything comes from.
const RELEASE: &str = "trixie";

/// Packages that are fetched along with those named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// None.
    Alone,
    /// All that they depend on; versions from backports are preferred.
    WithDependencies,
}

/// The Debian archive, with package lists of our own.
pub(crate) struct Apt<'a> {
    folder: PathBuf,
    cache: &'a Cache,
    progress: &'a Progress,
}

impl<'a> Apt<'a> {
    /// Opens the archive; reads the package lists if that was never done.
    pub(crate) fn open(cache: &'a Cache, progress: &'a Progress) -> Result<Self, ImageError> {
        let apt = Self { folder: cache.folder("apt")?, cache, progress };
        let _lock = cache.lock("apt", progress)?;
        let sources = Archive::of_host(Path::new("/etc"))?.list_for(RELEASE);
        if fs::read_to_string(apt.read_marker()).ok().as_deref() != Some(&sources) {
            apt.read_lists(&sources)?;
        }
        Ok(apt)
    }

    /// Updates the package lists.
    pub(crate) fn refresh(cache: &'a Cache, progress: &'a Progress) -> Result<(), ImageError> {
        let folder = cache.folder("apt")?;
        match fs::remove_file(folder.join("read")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ImageError::Io { doing: format!("refreshing {}", folder.display()), source: error })
            }
            _ => Self::open(cache, progress).map(drop),
        }
    }

    /// File with the sources that the lists were read from.
    fn read_marker(&self) -> PathBuf {
        self.folder.join("read")
    }

    fn read_lists(&self, sources: &str) -> Result<(), ImageError> {
        for part in ["lists/partial", "archives/partial", "none"] {
            let part = self.folder.join(part);
            fs::create_dir_all(&part).doing(|| format!("making {}", part.display()))?;
        }
        for (name, text) in [("sources.list", sources), ("status", "")] {
            let path = self.folder.join(name);
            fs::write(&path, text).doing(|| format!("writing {}", path.display()))?;
        }
        let step = self.progress.step("reading Debian's package lists");
        self.journal(&step)?.run(self.command("apt-get").arg("update"))?;
        fs::write(self.read_marker(), sources).doing(|| format!("writing {}", self.read_marker().display()))
    }

    /// Version of a package that would be fetched now.
    pub(crate) fn candidate(&self, package: &str) -> Result<String, ImageError> {
        self.candidates(&[package]).map(|versions| versions.concat())
    }

    /// Versions of packages that would be fetched now, in the order of `packages`.
    pub(crate) fn candidates(&self, packages: &[&str]) -> Result<Vec<String>, ImageError> {
        let policy = self.ask(self.command("apt-cache").arg("policy").args(packages))?;
        let known = candidates(&policy);
        let version = |package: &&str| match known.iter().find(|(name, _)| name == package) {
            Some((_, version)) => Ok((*version).to_owned()),
            None => Err(ImageError::NoPackage { package: (*package).to_owned() }),
        };
        packages.iter().map(version).collect()
    }

    /// First package that `package` depends on: the real package behind a metapackage.
    pub(crate) fn first_dependency(&self, package: &str) -> Result<String, ImageError> {
        let text = self.ask(self.command("apt-cache").args(["depends", package]))?;
        let name = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        name.map(str::to_owned).ok_or_else(|| ImageError::NoPackage { package: package.to_owned() })
    }

    /// Fetches packages into the folder `into`, as `.deb` files.
    pub(crate) fn fetch(&self, packages: &[&str], reach: Reach, into: &Path) -> Result<(), ImageError> {
        let step = self.progress.step(&format!("fetching {}", packages.join(" ")));
        let _lock = self.cache.lock("apt", self.progress)?;
        let journal = self.journal(&step)?;
        if journal.run(&mut self.fetching(packages, reach, into)).is_ok() {
            return Ok(());
        }
        // The archive may have newer versions than the lists, and these files no longer.
        journal.run(self.command("apt-get").arg("update"))?;
        journal.run(&mut self.fetching(packages, reach, into))
    }

    fn fetching(&self, packages: &[&str], reach: Reach, into: &Path) -> Command {
        let mut command = self.command("apt-get");
        command.current_dir(into);
        match reach {
            Reach::Alone => command.arg("download"),
            Reach::WithDependencies => {
                command.arg("-o").arg(format!("Dir::Cache::archives={}", into.display()));
                command.args(["install", "--yes", "--download-only", "--target-release"]);
                command.arg(format!("{RELEASE}-backports"))
            }
        };
        command.args(packages);
        command
    }

    fn ask(&self, command: &mut Command) -> Result<String, ImageError> {
        let step = Progress::quiet().step("asking apt");
        Journal::create(self.cache.log("apt-questions"), &step)?.output(command)
    }

    fn journal<'s>(&self, step: &'s Step) -> Result<Journal<'s>, ImageError> {
        Journal::create(self.cache.log("apt"), step)
    }

    /// An apt program with our state folder; other settings (proxies) are the machine's.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C");
        let mut set = |name: &str, value: String| {
            command.arg("-o").arg(format!("{name}={value}"));
        };
        let at = |part: &str| self.folder.join(part).display().to_string();
        set("Dir::State", at(""));
        set("Dir::State::lists", at("lists"));
        set("Dir::State::status", at("status"));
        set("Dir::Cache", at(""));
        set("Dir::Cache::archives", at("archives"));
        set("Dir::Cache::pkgcache", at("pkgcache.bin"));
        set("Dir::Cache::srcpkgcache", at("srcpkgcache.bin"));
        set("Dir::Etc::sourcelist", at("sources.list"));
        set("Dir::Etc::sourceparts", at("none"));
        set("Dir::Etc::preferences", at("none/preferences"));
        set("Dir::Etc::preferencesparts", at("none"));
        for (name, value) in FIXED_OPTIONS {
            set(name, value.to_owned());
        }
        command
    }
}

const FIXED_OPTIONS: [(&str, &str); 7] = [
    ("APT::Architecture", "amd64"),
    ("APT::Architectures", "amd64"),
    ("APT::Install-Recommends", "false"),
    // As root, apt would fetch as another user, which cannot write to our folders.
    ("APT::Sandbox::User", "root"),
    ("APT::Update::Error-Mode", "any"),
    ("Acquire::Languages", "none"),
    ("Acquire::Retries", "3"),
];

/// Names and candidate versions in the output of `apt-cache policy`.
fn candidates(policy: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut package = "";
    for line in policy.lines() {
        if let Some(version) = line.trim().strip_prefix("Candidate: ").filter(|version| *version != "(none)")
        {
            found.push((package, version));
        } else if !line.starts_with(' ') {
            package = line.trim_end_matches(':');
        }
    }
    found
}

/// Unpacks every `.deb` of a folder into `root`, without running the packages' scripts.
pub(crate) fn unpack_all(
    debs: &Path,
    root: &Path,
    mut run: impl FnMut(&mut Command) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let entries = fs::read_dir(debs).doing(|| format!("reading {}", debs.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for deb in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "deb")) {
        run(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(root))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_apts_answer_and_packages_without_one_are_left_out() {
        let policy = "one:\n  Installed: (none)\n  Candidate: 1:2.0-3\n  Version table:\n     1:2.0-3 500\n\
                      two:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n\
                      three:\n  Installed: 4\n  Candidate: 5~bpo13+1\n";
        assert_eq!(candidates(policy), [("one", "1:2.0-3"), ("three", "5~bpo13+1")]);
    }
}
