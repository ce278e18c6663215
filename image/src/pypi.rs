//! Programs and modules of PyPI packages, each in a folder of its own.
//!
//! A virtual environment has pip, which installs the package into a plain folder; the environment is not kept. So the
//! folder can be moved into the cache, and python3 of this machine runs what is in it.

use crate::cache::{Cache, Key, Wanted, Workshop};
use crate::error::ImageError;
use crate::host;
use crate::progress::Progress;
use crate::tool::tool;
use std::path::PathBuf;
use std::process::Command;

/// Package of SPDK's RPC client, the program `spdk-rpc`, with the version that has the calls and results of the tests.
pub const SPDK_CLIENT: &str = "spdk==26.9";

/// An installed PyPI package.
#[derive(Debug, Clone)]
pub struct PyPiPackage {
    folder: PathBuf,
}

impl PyPiPackage {
    /// Returns a package, without those that it names as its needs, from the cache or installed now. `package` names its
    /// version, as that of [`SPDK_CLIENT`]. More packages, after blanks, go into the same folder.
    ///
    /// # Errors
    /// [`ImageError`] if Python is missing, or the package cannot be fetched.
    pub fn prepare(package: &str, cache: &Cache, progress: &Progress) -> Result<Self, ImageError> {
        host::ensure("PyPI packages", &[host::TESTS], cache, progress)?;
        let name: String = package.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let key = Key::new().with_recipe(include_str!("pypi.rs")).with("package", package.as_bytes());
        let wanted = Wanted { name: &format!("pypi-{name}"), what: &format!("installing {package}"), key };
        let folder = cache.entry(&wanted, progress, |workshop| install(package, workshop))?;
        Ok(Self { folder })
    }

    /// Command for a program of the package. A program that is no Python script is run as it is.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let path = self.folder.join("bin").join(program);
        let is_script = std::fs::read(&path).is_ok_and(|start| start.starts_with(b"#!"));
        let mut command = if is_script { tool("python3") } else { Command::new(&path) };
        if is_script {
            command.arg(&path);
        }
        command.env("PYTHONPATH", &self.folder);
        command
    }

    /// Command for python3 with the package's modules, to which a script's path or `-c` is added.
    #[must_use]
    pub fn python(&self) -> Command {
        let mut command = tool("python3");
        command.env("PYTHONPATH", &self.folder);
        command
    }
}

fn install(package: &str, workshop: &Workshop<'_>) -> Result<(), ImageError> {
    let environment = workshop.scratch.join("environment");
    workshop.run(tool("python3").args(["-m", "venv"]).arg(&environment))?;
    let mut pip = Command::new(environment.join("bin/python3"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    workshop.run(pip.arg(&workshop.out).args(package.split(' ')))
}
