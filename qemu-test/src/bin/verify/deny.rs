//! The dependencies: licences, sources, versions and, where its database can be had, advisories.

use crate::log::{Failure, Log};
use crate::steps::cargo;
use crate::tally::Tally;
use luge_image::Cache;
use std::path::PathBuf;
use std::process::Command;

/// The version that is installed where `cargo deny` is missing.
const VERSION: &str = "0.20.2";

/// Checks the dependencies; says in the log what could not be checked.
pub(crate) fn check(log: &mut Log) -> Result<Tally, Failure> {
    let deny = installed(log)?;
    log.run(Command::new(&deny).args(["check", "bans", "licenses", "sources"]))?;
    // The database of advisories lives on a server that a build machine may not reach.
    if log.run(Command::new(&deny).args(["fetch", "db"])).is_ok() {
        log.run(Command::new(&deny).args(["check", "--disable-fetch", "advisories"]))?;
    } else {
        println!("dependencies: advisories not checked, their database cannot be had");
    }
    Ok(Tally::PASSED)
}

/// The program: the machine's own, or ours in the cache.
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

/// Unoptimised: it builds in a quarter of the time, and checks in two seconds.
fn install(log: &mut Log, tools: &std::path::Path) -> Result<(), Failure> {
    let mut install = cargo(&["install", "--debug", "--locked", "--version", VERSION, "cargo-deny"]);
    install.arg("--root").arg(tools).env("CARGO_PROFILE_DEV_DEBUG", "0");
    // Its own target folder: the workspace's settings are not its settings.
    install.env("CARGO_TARGET_DIR", tools.join("build"));
    log.run(&mut install)
}
