//! Build of `luge`, the image's program, linked statically.

use crate::cache::Cache;
use crate::error::{Doing, ImageError};
use crate::journal::Journal;
use crate::progress::Progress;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Target whose programs are static.
const MUSL: &str = "x86_64-unknown-linux-musl";
/// Second choice: a target whose programs are static on request.
const GLIBC: &str = "x86_64-unknown-linux-gnu";

/// Builds `luge` in release mode and returns the path of the static program.
///
/// Not kept in the cache: cargo knows by itself whether there is work.
pub fn build_luge(cache: &Cache, progress: &Progress) -> Result<PathBuf, ImageError> {
    let step = progress.step("building luge");
    let journal = Journal::create(cache.log("luge"), &step)?;
    let target = if has_musl(&journal)? {
        MUSL
    } else {
        step.say("the musl target cannot be installed: luge is linked statically with glibc instead");
        GLIBC
    };
    let folder = target_folder(target);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["build", "--release", "--package", "luge", "--target", target]);
    cargo.arg("--target-dir").arg(&folder);
    if target == GLIBC {
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    }
    journal.run(&mut cargo)?;
    let program = folder.join(target).join("release/luge");
    program.canonicalize().doing(|| format!("finding {}", program.display()))
}

/// Folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    let image = Path::new(env!("CARGO_MANIFEST_DIR"));
    image.parent().unwrap_or(image)
}

/// Folder of build results. For glibc another one, because other flags for a target that is built
/// already would build everything anew each time.
fn target_folder(target: &str) -> PathBuf {
    let shared =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    if target == GLIBC { shared.join("static") } else { shared }
}

fn has_musl(journal: &Journal<'_>) -> Result<bool, ImageError> {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(workspace()).args(["--print", "target-libdir", "--target", MUSL]);
    let libraries = journal.output(&mut rustc)?;
    if Path::new(libraries.trim()).exists() {
        return Ok(true);
    }
    let mut rustup = Command::new("rustup");
    Ok(journal.run(rustup.current_dir(workspace()).args(["target", "add", MUSL])).is_ok())
}
