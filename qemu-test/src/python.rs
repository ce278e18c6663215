//! Programs written in Python, from PyPI, in a virtual environment of their own: independent witnesses.

use crate::error::{Doing, TestError};
use luge_image::Cache;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

/// A virtual environment in the cache.
pub struct Python {
    folder: PathBuf,
}

impl Python {
    /// The environment `name` with these packages, in one line as pip takes them, and nothing that they depend on;
    /// made on first use and kept.
    ///
    /// # Errors
    /// If the packages cannot be installed.
    pub fn with(name: &str, packages: &str) -> Result<Self, TestError> {
        let root = Cache::open()?.folder("")?;
        let lock = root.join(format!("{name}-venv.lock"));
        let lock = File::create(&lock).doing(|| format!("making {}", lock.display()))?;
        lock.lock().doing(|| format!("locking the environment {name}"))?;
        let python = Self { folder: root.join(format!("{name}-venv")) };
        if fs::read_to_string(python.folder.join("package")).unwrap_or_default() != packages {
            python.install(packages)?;
        }
        Ok(python)
    }

    /// Command for a program of the environment.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        Command::new(self.folder.join("bin").join(program))
    }

    fn install(&self, packages: &str) -> Result<(), TestError> {
        let _ = fs::remove_dir_all(&self.folder);
        run(Command::new("python3").args(["-m", "venv"]).arg(&self.folder))?;
        let mut pip = self.command("pip");
        run(pip.args(["install", "--quiet", "--no-deps"]).args(packages.split(' ')))?;
        fs::write(self.folder.join("package"), packages).doing(|| "noting the packages".to_owned())
    }
}

/// Runs a command to its end; returns its output.
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
