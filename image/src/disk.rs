//! The disk image: a GPT with one EFI system partition (FAT32). Firmware boots it by the fallback
//! path, so it works from any USB stick or disk.
//!
//! The tools mkfs.fat, mtools and sgdisk work on regular files: root, loop devices and mounts are not
//! needed. Identifiers are derived from the content, so that equal content gives equal images.

use crate::error::{Doing, ImageError};
use crate::tool::tool;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;
/// Space before the partition, and behind it for the second GPT.
const MARGIN: u64 = MIB;
/// Free space in the partition, beside two copies of its content.
const SPARE: u64 = 64 * MIB;
/// Time of the partition's files: 1 January 1980, the earliest that FAT can express.
const FILE_TIME: &str = "315532800";
/// Path that UEFI boots from a disk without a boot entry (UEFI 2.10, section 3.5.1.1).
const BOOT_PATH: &str = "::/EFI/BOOT/BOOTX64.EFI";

/// A disk image to be written.
pub(crate) struct Disk<'a> {
    /// UEFI program that the disk boots.
    pub(crate) program: &'a Path,
    /// Hash of the content, at least 20 hex digits.
    pub(crate) identity: &'a str,
    /// Folder for intermediate files.
    pub(crate) scratch: &'a Path,
}

impl Disk<'_> {
    /// Writes the image to `to`; `run` starts the programs.
    pub(crate) fn write(
        &self,
        to: &Path,
        mut run: impl FnMut(&mut Command) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let program = fs::metadata(self.program).doing(|| format!("reading {}", self.program.display()))?;
        let size = (2 * program.len() + SPARE).next_multiple_of(MIB);
        let partition = self.scratch.join("esp");
        make_sparse(&partition, size)?;
        self.fill(&partition, &mut run)?;
        make_sparse(to, size + 2 * MARGIN)?;
        copy_sparse(&partition, to, MARGIN)?;
        self.partition(to, size, &mut run)?;
        run(tool("sgdisk").arg("--verify").arg(to))
    }

    fn fill(
        &self,
        partition: &Path,
        run: &mut impl FnMut(&mut Command) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let mut mkfs = tool("mkfs.fat");
        run(mkfs.args(["-F", "32", "-n", "LUGE", "--invariant", "-i", self.digits(0, 8)]).arg(partition))?;
        let on_partition = |program: &str| {
            let mut command = tool(program);
            command.arg("-i").arg(partition).env("SOURCE_DATE_EPOCH", FILE_TIME);
            command
        };
        run(on_partition("mmd").args(["::/EFI", "::/EFI/BOOT"]))?;
        run(on_partition("mcopy").arg(self.program).arg(BOOT_PATH))
    }

    fn partition(
        &self,
        disk: &Path,
        size: u64,
        run: &mut impl FnMut(&mut Command) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let (first, last) = (MARGIN / SECTOR, (MARGIN + size) / SECTOR - 1);
        let mut sgdisk = tool("sgdisk");
        sgdisk.arg("--clear").arg(format!("--new=1:{first}:{last}"));
        sgdisk.args(["--typecode=1:ef00", "--change-name=1:luge-esp"]);
        sgdisk.arg(format!("--disk-guid={}", self.guid('1')));
        sgdisk.arg(format!("--partition-guid=1:{}", self.guid('2')));
        run(sgdisk.arg(disk))
    }

    fn digits(&self, from: usize, to: usize) -> &str {
        self.identity.get(from..to).unwrap_or("00000000")
    }

    /// A UUID of version 8 (RFC 9562, section 5.8), one per `kind`.
    fn guid(&self, kind: char) -> String {
        let (a, b, c) = (self.digits(0, 8), self.digits(8, 12), self.digits(12, 15));
        format!("{a}-{b}-8{c}-8000-{}0000000{kind}", self.digits(15, 19))
    }
}

fn make_sparse(path: &Path, size: u64) -> Result<(), ImageError> {
    let making = || format!("making {}", path.display());
    File::create(path).and_then(|file| file.set_len(size)).doing(making)
}

/// Copies a disk image; blocks of zeros become holes.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), ImageError> {
    let size = fs::metadata(from).doing(|| format!("reading {}", from.display()))?.len();
    make_sparse(to, size)?;
    copy_sparse(from, to, 0)
}

/// Copies a file into another at an offset; blocks of zeros stay holes.
fn copy_sparse(from: &Path, to: &Path, offset: u64) -> Result<(), ImageError> {
    let copying = || format!("copying {} to {}", from.display(), to.display());
    let mut source = File::open(from).doing(copying)?;
    let mut target = File::options().write(true).open(to).doing(copying)?;
    let mut position = offset;
    let mut block = vec![0; 1 << 20];
    loop {
        let length = source.read(&mut block).doing(copying)?;
        let Some(part) = block.get(..length).filter(|part| !part.is_empty()) else { return Ok(()) };
        if part.iter().any(|byte| *byte != 0) {
            target.seek(SeekFrom::Start(position)).doing(copying)?;
            target.write_all(part).doing(copying)?;
        }
        position += part.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn run(command: &mut Command) -> Result<(), ImageError> {
        let output = command.output().doing(|| format!("starting {command:?}"))?;
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn small_disk(folder: &Path) -> PathBuf {
        let cache = crate::Cache::at(folder).unwrap();
        crate::host::ensure("this test", &[crate::host::IMAGE], &cache, &crate::Progress::quiet()).unwrap();
        let (program, image) = (folder.join("program.efi"), folder.join("disk.img"));
        fs::write(&program, vec![0x5a; 3_000_000]).unwrap();
        let disk = Disk { program: &program, identity: "0123456789abcdef0123", scratch: folder };
        disk.write(&image, run).unwrap();
        image
    }

    #[test]
    fn fsck_and_sgdisk_find_nothing_wrong_and_the_program_is_where_firmware_looks() {
        let folder = tempfile::tempdir().unwrap();
        let image = small_disk(folder.path());
        run(tool("sgdisk").arg("--verify").arg(&image)).unwrap();
        run(tool("fsck.fat").arg("-n").arg(folder.path().join("esp"))).unwrap();
        let back = folder.path().join("back.efi");
        let at = format!("{}@@1M", image.display());
        run(tool("mcopy").arg("-i").arg(at).arg(BOOT_PATH).arg(&back)).unwrap();
        assert_eq!(fs::read(back).unwrap(), vec![0x5a; 3_000_000]);
    }

    #[test]
    fn the_same_content_makes_the_same_image() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let read = |folder: &Path| fs::read(small_disk(folder)).unwrap();
        assert!(read(one.path()) == read(two.path()), "two images of one content differ");
    }
}
