//! File trees of an initramfs, and their compression.
//!
//! An initramfs is a sequence of archives, which the kernel unpacks one over another. The large part
//! that seldom changes (the VM pack) is compressed once, and the small part (luge) is put before it.

use crate::cpio::{Cpio, DeviceNumber};
use crate::error::{Doing, ImageError};
use crate::tool::tool;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

/// Empty folders, for mounts and for files.
const FOLDERS: [&str; 8] = ["proc", "sys", "dev", "run", "tmp", "etc", "hugepages", "var"];

/// Archive of the appliance: luge, and the configuration if there is one.
pub(crate) fn appliance(luge: &Path, config: Option<&Path>) -> Result<Vec<u8>, ImageError> {
    let mut cpio = Cpio::new();
    for folder in FOLDERS {
        cpio.folder(folder)?;
    }
    devices(&mut cpio)?;
    cpio.copy("/init", luge)?;
    cpio.link("/bin/luge", "/init")?;
    if let Some(config) = config {
        cpio.copy("/etc/luge.json", config)?;
    }
    cpio.finish()
}

/// Adds the devices that the first process needs before it mounts anything.
pub(crate) fn devices(cpio: &mut Cpio) -> Result<(), ImageError> {
    cpio.device("/dev/console", DeviceNumber { major: 5, minor: 1 })?;
    cpio.device("/dev/null", DeviceNumber { major: 1, minor: 3 })
}

/// Compresses `archive` into the file `to`.
pub(crate) fn compress(
    archive: &[u8],
    to: &Path,
    mut run: impl FnMut(&mut Command) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let plain = to.with_extension("cpio");
    fs::write(&plain, archive).doing(|| format!("writing {}", plain.display()))?;
    run(tool("zstd").args(["-q", "-f", "-T0", "-10", "--rm"]).arg(&plain).arg("-o").arg(to))
}

/// Concatenates the parts into the file `to`.
pub(crate) fn join(parts: &[&Path], to: &Path) -> Result<(), ImageError> {
    let mut file = File::create(to).doing(|| format!("making {}", to.display()))?;
    for part in parts {
        let mut source = File::open(part).doing(|| format!("opening {}", part.display()))?;
        io::copy(&mut source, &mut file).doing(|| format!("writing {}", to.display()))?;
    }
    Ok(())
}

/// Appends an uncompressed archive to the initramfs `file`.
///
/// The kernel recognises one only at a multiple of four bytes, so zeros go before it.
pub(crate) fn append_plain(archive: &[u8], file: &Path) -> Result<(), ImageError> {
    let writing = || format!("writing {}", file.display());
    let mut file = File::options().append(true).open(file).doing(writing)?;
    let length = file.metadata().doing(writing)?.len();
    let padding = length.next_multiple_of(4) - length;
    for _ in 0..padding {
        file.write_all(&[0]).doing(writing)?;
    }
    file.write_all(archive).doing(writing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn the_appliances_tree_has_init_its_devices_and_the_configuration_if_given() {
        let folder = tempfile::tempdir().unwrap();
        let (luge, config) = (folder.path().join("luge"), folder.path().join("config"));
        fs::write(&luge, "program").unwrap();
        fs::write(&config, "{ \"it\": 1 }").unwrap();
        let without = appliance(&luge, None).unwrap();
        let with = appliance(&luge, Some(&config)).unwrap();
        for name in ["init\0", "bin/luge\0", "dev/console\0", "hugepages\0"] {
            assert!(contains(&without, name), "{name}");
        }
        assert!(!contains(&without, "luge.json"));
        assert!(contains(&with, "etc/luge.json\0") && contains(&with, "{ \"it\": 1 }"));
    }

    #[test]
    fn a_plain_archive_is_appended_at_a_multiple_of_four() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("initramfs");
        fs::write(&file, [1; 7]).unwrap();
        append_plain(b"070701", &file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), [&[1; 7][..], &[0], b"070701"].concat());
    }
}
