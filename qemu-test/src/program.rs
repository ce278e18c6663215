//! Programs that run to their end.

use crate::error::{Doing, TestError};
use std::process::Command;

/// Runs a command to its end; returns its output, errors included.
///
/// # Errors
/// If it fails; the error contains its output.
pub fn run(command: &mut Command) -> Result<String, TestError> {
    let program = format!("{command:?}");
    let output = command.output().doing(|| format!("starting {program}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(TestError::Program { program, status: output.status.to_string(), said })
}
