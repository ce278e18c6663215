//! `cargo image`: builds the bootable image and prints its path and the commands that flash it.

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
    /// CPUs to isolate, on which the sled serves, as the kernel's lists: 2-5,8; N is the last CPU, 1-N:1/4 from CPU 1
    /// on the first of each four [default: 1-N:1/4]
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    isolated_cpus: Option<String>,
    /// Write the disk image here [default: luge.img in the build folder, target/]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Update Debian's package lists first, and use the newest versions
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
    let builder = ImageBuilder {
        vm_pack: options.vm_pack,
        config: options.config.clone(),
        isolated_cpus: options.isolated_cpus.clone(),
    };
    let artifacts = builder.build(&cache, &progress)?;
    let output = options.output.clone().unwrap_or_else(luge_image::default_output);
    artifacts.save_disk_image(&output)?;
    print!("{}", report(&artifacts, &output));
    Ok(())
}

/// Checks that a text can be a list of CPUs on a kernel command line.
fn cpu_list(text: &str) -> Result<String, String> {
    let good = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_digit() || c == 'N')
            && part.chars().all(|c| c.is_ascii_digit() || "N-:/".contains(c))
    };
    text.split(',')
        .all(good)
        .then(|| text.to_owned())
        .ok_or_else(|| "write numbers and ranges of CPUs, such as 2-5,8 or 1-N:1/4".to_owned())
}

/// Paths and sizes of the artifacts, and the commands that flash the image.
fn report(artifacts: &Artifacts, output: &Path) -> String {
    let image = output.display();
    let size = std::fs::metadata(output).map_or(0, |data| data.len());
    let (mib, kernel, initramfs) =
        (size.div_ceil(1 << 20), artifacts.kernel.display(), artifacts.initramfs.display());
    format!(
        "image      {image} ({mib} MiB)\n\
         kernel     {kernel}\n\
         initramfs  {initramfs}\n\n\
         To flash it onto a USB stick or disk, all of whose content is lost:\n  \
         lsblk                   # find the right device, and look twice\n  \
         dd if={image} of=/dev/DEVICE bs=4M oflag=direct conv=fsync status=progress\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cpus_has_nothing_that_ends_it_on_a_command_line() {
        for list in ["3", "2-5,8", "1-N:1/4", "N"] {
            assert_eq!(cpu_list(list).as_deref(), Ok(list));
        }
        for text in ["", "2 init=/bin/sh", "2,", "domain,2", "-1", "\"2\""] {
            assert!(cpu_list(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_person_is_told_where_the_image_is_how_large_and_how_to_flash_it() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("luge.img");
        std::fs::File::create(&image).and_then(|file| file.set_len(33 << 20)).unwrap();
        let [kernel, initramfs] = ["/k", "/i"].map(PathBuf::from);
        let artifacts = Artifacts { disk_image: image.clone(), kernel, initramfs };
        let report = report(&artifacts, &image);
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!(lines[0], format!("image      {} (33 MiB)", image.display()));
        assert_eq!(lines[1..3], ["kernel     /k", "initramfs  /i"]);
        assert!(lines[6].starts_with(&format!("  dd if={} of=/dev/DEVICE ", image.display())), "{report}");
    }
}
