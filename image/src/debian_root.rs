//! A bare Debian 13 with systemd, dpkg and shells, to try the package of the daemon in.
//!
//! Its packages are unpacked, not configured: there are the programs, and of the configuration only users and groups.
//!
//! Not here: booting it.

use crate::apt::{self, Apt, Reach};
use crate::cache::{Cache, Key, Wanted, Workshop};
use crate::error::{Doing, ImageError};
use crate::host;
use crate::progress::Progress;
use crate::qemu_root::merge_usr;
use std::fs;
use std::path::{Path, PathBuf};

/// Packages in the folder, besides those that they depend on.
const PACKAGES: [&str; 13] = [
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "dpkg",
    "findutils",
    "grep",
    "gzip",
    "kmod",
    "libc-bin",
    "sed",
    "systemd",
];

/// Shells that complete command lines, besides bash.
const SHELLS: [&str; 2] = ["fish", "zsh"];

/// Returns the folder with shells, from the cache or made now. It is to be read only.
///
/// # Errors
/// [`ImageError`] if packages cannot be fetched.
pub fn debian_root(cache: &Cache, progress: &Progress) -> Result<PathBuf, ImageError> {
    root_of(&[&PACKAGES[..], &SHELLS].concat(), cache, progress)
}

/// Returns the folder without further shells.
pub(crate) fn small_root(cache: &Cache, progress: &Progress) -> Result<PathBuf, ImageError> {
    root_of(&PACKAGES, cache, progress)
}

fn root_of(packages: &[&str], cache: &Cache, progress: &Progress) -> Result<PathBuf, ImageError> {
    host::ensure("a Debian root", &[host::FETCHING], cache, progress)?;
    let apt = Apt::open(cache, progress)?;
    let versions = apt.candidates(packages)?.join("\n");
    let key = Key::new().with_recipe(include_str!("debian_root.rs")).with("packages", versions.as_bytes());
    let wanted = Wanted { name: "debian-root", what: "preparing a Debian root", key };
    cache.entry(&wanted, progress, |workshop| build(&apt, packages, workshop))
}

fn build(apt: &Apt<'_>, packages: &[&str], workshop: &Workshop<'_>) -> Result<(), ImageError> {
    apt.fetch(packages, Reach::WithDependencies, &workshop.scratch)?;
    merge_usr(&workshop.out)?;
    apt::unpack_all(&workshop.scratch, &workshop.out, |command| workshop.run(command))?;
    for folder in ["usr/share/doc", "usr/share/locale"].map(|folder| workshop.out.join(folder)) {
        fs::remove_dir_all(&folder).doing(|| format!("removing {}", folder.display()))?;
    }
    for folder in [
        "dev",
        "proc",
        "root",
        "run",
        "srv",
        "sys",
        "tmp",
        "var/tmp",
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
    ] {
        let folder = workshop.out.join(folder);
        fs::create_dir_all(&folder).doing(|| format!("making {}", folder.display()))?;
    }
    for name in ["passwd", "group"] {
        let from = workshop.out.join("usr/share/base-passwd").join(format!("{name}.master"));
        copy(&from, &workshop.out.join("etc").join(name))?;
    }
    let status = workshop.out.join("var/lib/dpkg/status");
    fs::write(&status, "").doing(|| format!("writing {}", status.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), ImageError> {
    fs::copy(from, to).map(drop).doing(|| format!("copying {} to {}", from.display(), to.display()))
}
