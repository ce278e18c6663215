//! `cargo image`: builds the bootable image and says where it is and how to flash it.

use clap::Parser;
use luge_image::{Artifacts, Cache, ImageBuilder, ImageError, Progress};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Builds the bootable disk image of the Luge appliance.
#[derive(Debug, Parser)]
#[command(name = "cargo image", version)]
struct Options {
    /// Include QEMU and a small Linux guest, so that the sled runs virtual machines by itself
    #[arg(long)]
    vm_pack: bool,
    /// Include this configuration file as /etc/luge.json
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the disk image here [default: luge.img in the build folder, target/]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Read Debian's package lists anew first, and use the newest versions
    #[arg(long)]
    refresh: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), ImageError> {
    let (cache, progress) = (Cache::open()?, Progress::to_stderr());
    if options.refresh {
        luge_image::refresh_packages(&cache, &progress)?;
    }
    let builder = ImageBuilder { vm_pack: options.vm_pack, config: options.config.clone() };
    let artifacts = builder.build(&cache, &progress)?;
    let output = options.output.clone().unwrap_or_else(luge_image::default_output);
    artifacts.save_disk_image(&output)?;
    report(&artifacts, &output);
    Ok(())
}

fn report(artifacts: &Artifacts, output: &Path) {
    let image = output.display();
    let size = std::fs::metadata(output).map_or(0, |data| data.len());
    println!("image      {image} ({} MiB)", size >> 20);
    println!("kernel     {}", artifacts.kernel.display());
    println!("initramfs  {}", artifacts.initramfs.display());
    println!();
    println!("To flash it onto a USB stick or disk, all of whose content is lost:");
    println!("  lsblk                   # find the right device, and look twice");
    println!("  dd if={image} of=/dev/DEVICE bs=4M oflag=direct conv=fsync status=progress");
}
