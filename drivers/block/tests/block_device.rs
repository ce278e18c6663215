//! The file device on block devices: loop devices, which root makes with `losetup`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::doubles::check_device;
use luge_block::{Access, Caching, Device, FileDevice, FileError};
use luge_memory::DmaSpace;
use luge_skip::skip;
use std::path::PathBuf;
use std::process::Command;
use tempfile::NamedTempFile;

/// Loop device; dropping it detaches it.
struct Loop {
    path: PathBuf,
    _file: NamedTempFile,
}

impl Loop {
    /// Loop device with such sectors; `None`, with the test reported as skipped, if there can be none.
    #[track_caller]
    fn new(sector_bytes: u32) -> Option<Self> {
        let file = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        file.as_file().set_len(4 << 20).unwrap();
        let sector = sector_bytes.to_string();
        let made = Command::new("losetup")
            .args(["--find", "--show", "--direct-io=on", "--sector-size", &sector])
            .arg(file.path())
            .output()
            .ok()
            .filter(|made| made.status.success());
        match made {
            Some(made) => {
                let path = PathBuf::from(String::from_utf8(made.stdout).unwrap().trim());
                Some(Self { path, _file: file })
            }
            None => {
                skip("no loop device can be made: run as root, with losetup and loop devices in the kernel");
                None
            }
        }
    }

    fn open(&self, block_bytes: Option<u32>) -> Result<FileDevice, FileError> {
        FileDevice::open(&self.path, block_bytes, Access::ReadWrite)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).status();
    }
}

#[test]
fn a_block_device_does_what_requests_mean() {
    let Some(disk) = Loop::new(512) else { return };
    let device = disk.open(None).unwrap();
    assert_eq!(device.geometry().block_bytes, 512);
    assert_eq!(device.geometry().bytes(), 4 << 20);
    assert!(device.geometry().discard_blocks_max > 0, "loop devices can zero by themselves");
    assert_ne!(device.caching(), Caching::Memory, "its name is in memory, and it is not");
    check_device(1, &device, &DmaSpace::new());
}

#[test]
fn blocks_smaller_than_the_block_device_s_own_are_refused_and_larger_ones_are_not() {
    let Some(disk) = Loop::new(4096) else { return };
    assert!(matches!(disk.open(Some(512)), Err(FileError::BlockBytes { least: 4096, .. })));
    assert_eq!(disk.open(None).unwrap().geometry().block_bytes, 4096);
    check_device(2, &disk.open(Some(8192)).unwrap(), &DmaSpace::new());
}

#[test]
fn a_block_device_that_is_claimed_is_in_use() {
    let Some(disk) = Loop::new(512) else { return };
    let device = disk.open(None).unwrap();
    assert!(matches!(disk.open(None), Err(FileError::InUse { .. })));
    drop(device);
    assert!(disk.open(None).is_ok());
}
