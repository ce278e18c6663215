//! `cargo package-deb`: builds the Debian package of the daemon and prints its path and the command that installs it.

use clap::Parser;
use luge_image::{Cache, DebianPackage, ImageError, Progress, build_luge};
use std::path::PathBuf;
use std::process::ExitCode;

/// Builds the Debian package of `luge serve`, for Debian 12 and 13.
#[derive(Debug, Parser)]
#[command(name = "cargo package-deb", version)]
struct Options {
    /// Version of the package
    #[arg(long, value_name = "VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    package_version: String,
    /// Folder of the package file [default: target/debian]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(package) => {
            println!("package    {}\n\nTo install it, as root:\n  apt install {0}", package.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<PathBuf, ImageError> {
    let (cache, progress) = (Cache::open()?, Progress::to_stderr());
    let luge = build_luge(&cache, &progress)?;
    let folder = options.output.unwrap_or_else(luge_image::default_package_folder);
    DebianPackage { luge, version: options.package_version, folder }.build(&cache, &progress)
}
