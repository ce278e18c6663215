//! Test of whether a machine allows sandboxes.

use crate::sandbox::{Program, Sandbox, User, start};
use luge_init::Reaper;
use std::os::fd::AsFd;
use std::path::Path;

/// Reason why this machine allows no sandbox for VMs, if it does not.
#[must_use]
pub fn sandbox_refusal() -> Option<String> {
    let (_, output) = std::io::pipe().ok()?;
    // The root folder is no program: the process ends in its sandbox, if it gets that far.
    let program = Program { path: Path::new("/"), arguments: Vec::new(), descriptors: Vec::new() };
    let sandbox = Sandbox::new(User::number(crate::FIRST_USER, 0)).ok()?;
    let started = start(&program, &sandbox, output.as_fd(), &Reaper::of_own_children());
    started.err().filter(|error| error.is_refusal()).map(|error| error.to_string())
}
