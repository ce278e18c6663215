//! Debian 13's Prometheus, unpacked: a program that needs the C library of any Debian, and nothing else.

use crate::apt::{self, Apt, Reach};
use crate::cache::{Cache, Key, Wanted};
use crate::error::ImageError;
use crate::host;
use crate::progress::Progress;
use std::path::PathBuf;

const PACKAGE: &str = "prometheus";

/// Returns the program, from the cache or fetched now.
///
/// # Errors
/// [`ImageError`] if the package cannot be fetched.
pub fn prometheus(cache: &Cache, progress: &Progress) -> Result<PathBuf, ImageError> {
    host::ensure("Prometheus", &[host::FETCHING], cache, progress)?;
    let apt = Apt::open(cache, progress)?;
    let version = apt.candidate(PACKAGE)?;
    let key = Key::new().with_recipe(include_str!("prometheus.rs")).with("version", version.as_bytes());
    let wanted = Wanted { name: PACKAGE, what: "preparing Prometheus", key };
    let root = cache.entry(&wanted, progress, |workshop| {
        apt.fetch(&[PACKAGE], Reach::Alone, &workshop.scratch)?;
        apt::unpack_all(&workshop.scratch, &workshop.out, |command| workshop.run(command))
    })?;
    Ok(root.join("usr/bin/prometheus"))
}
