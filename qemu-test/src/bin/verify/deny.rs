//! Check of the dependencies: licences, sources, versions and, if their database is reachable,
//! advisories.

use crate::cargo::cargo;
use crate::log::{Failure, Log};
use crate::tally::Tally;
use luge_image::Cache;
use std::path::PathBuf;
use std::process::Command;

/// Version that is installed if `cargo deny` is missing.
const VERSION: &str = "0.20.2";

/// Checks the dependencies; prints it if advisories could not be checked.
pub(crate) fn check(log: &mut Log) -> Result<Tally, Failure> {
    let deny = installed(log)?;
    log.run(Command::new(&deny).args(["check", "bans", "licenses", "sources"]))?;
    // A build machine may not reach the server of the database of advisories.
    if log.run(Command::new(&deny).args(["fetch", "db"])).is_ok() {
        log.run(Command::new(&deny).args(["check", "--disable-fetch", "advisories"]))?;
    } else {
        println!("dependencies: advisories not checked, because their database cannot be fetched");
    }
    Ok(Tally::PASSED)
}

/// Path of the program: the machine's, or ours in the cache.
fn installed(log: &mut Log) -> Result<PathBuf, Failure> {
    if log.run(Command::new("cargo-deny").arg("--version")).is_ok() {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let tools = Cache::open().and_then(|cache| cache.folder("tools"));
    let tools = tools.map_err(|error| Failure::new(error.to_string()))?;
    let tools = tools.join(format!("cargo-deny-{VERSION}"));
    let deny = tools.join("bin/cargo-deny");
    if !deny.exists() {
        println!("dependencies: installing cargo-deny {VERSION} in {} ...", tools.display());
        install(log, &tools)?;
    }
    Ok(deny)
}

/// Builds the program without optimisation, in a quarter of the time; a check takes two seconds.
fn install(log: &mut Log, tools: &std::path::Path) -> Result<(), Failure> {
    let mut install = cargo(&["install", "--debug", "--locked", "--version", VERSION, "cargo-deny"]);
    install.arg("--root").arg(tools).env("CARGO_PROFILE_DEV_DEBUG", "0");
    // A target folder of its own, because the workspace's settings differ.
    install.env("CARGO_TARGET_DIR", tools.join("build"));
    log.run(&mut install)
}
