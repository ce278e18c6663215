//! Self-test of the whole path: the sled takes an SSD, makes volumes and serves one to a VM that it
//! starts; the VM makes a file system on it, writes files and reads them back.
//!
//! There are two independent checks: the output of the VM, and the SSD's content as read from outside.

use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use crate::sled::SledMachine;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// Size of each volume. The guest gets the second one, because an offset error would not show at 0.
const VOLUME_MIB: u64 = 64;

/// Length of the part of the volume that both checks hash.
const HASHED_MIB: u64 = 8;

/// Time limit for the VM's work, which may run on an emulated machine inside an emulated machine.
const WORK_SECONDS: u32 = 900;

/// Bytes of the SSD that are the guest's volume.
#[must_use]
pub const fn volume_bytes() -> Range<u64> {
    VOLUME_MIB << 20..VOLUME_MIB << 21
}

fn call(method: &str, params: Value) -> Value {
    json!({ "method": method, "params": params })
}

/// Directory of the listener of the VM's NVMe controller.
const NVME: &str = "/run/luge/vhost/vm0.nvme";

/// SCSI controller of the VM.
const HBA: &str = "vm0.scsi";

/// Configuration of the sled, for the SSD at a PCI address. The VM has a virtio disk.
#[must_use]
pub fn configuration(address: &str) -> Value {
    configured(address, Further::default())
}

/// Configuration of the sled, for the SSD at a PCI address. The VM has a virtio disk, the first volume by NVMe, and a
/// SCSI adapter whose LUN is in memory.
#[must_use]
pub fn configuration_of_all_kinds(address: &str) -> Value {
    let nqn = "nqn.2016-06.io.luge:vm0";
    let listener = json!({ "trtype": "VFIOUSER", "traddr": NVME });
    let memory = json!({ "name": "Malloc0", "num_blocks": 4096, "block_size": 512 });
    let lun = json!({ "ctrlr": HBA, "scsi_target_num": 0, "bdev_name": "Malloc0" });
    configured(
        address,
        Further {
            bdev: vec![call("bdev_malloc_create", memory)],
            scsi: vec![
                call("vhost_create_scsi_controller", json!({ "ctrlr": HBA, "delay": true })),
                call("vhost_scsi_controller_add_target", lun),
                call("vhost_start_scsi_controller", json!({ "ctrlr": HBA })),
            ],
            nvmf: vec![
                call("nvmf_create_transport", json!({ "trtype": "VFIOUSER" })),
                call(
                    "nvmf_create_subsystem",
                    json!({ "nqn": nqn, "serial_number": "LUGE0", "allow_any_host": true }),
                ),
                call(
                    "nvmf_subsystem_add_ns",
                    json!({ "nqn": nqn, "namespace": { "bdev_name": "Nvme0n1p0" } }),
                ),
                call("nvmf_subsystem_add_listener", json!({ "nqn": nqn, "listen_address": listener })),
            ],
            disks: vec![NVME, HBA],
        },
    )
}

/// Calls and disks of a VM beside its virtio disk.
#[derive(Default)]
struct Further {
    bdev: Vec<Value>,
    scsi: Vec<Value>,
    nvmf: Vec<Value>,
    disks: Vec<&'static str>,
}

fn configured(address: &str, further: Further) -> Value {
    let mut bdev = vec![
        call("bdev_nvme_attach_controller", json!({ "name": "Nvme0", "trtype": "PCIe", "traddr": address })),
        call(
            "bdev_split_create",
            json!({ "base_bdev": "Nvme0n1", "split_count": 2, "split_size_mb": VOLUME_MIB }),
        ),
    ];
    bdev.extend(further.bdev);
    let vhost =
        vec![call("vhost_create_blk_controller", json!({ "ctrlr": "vm0.0", "dev_name": "Nvme0n1p1" }))];
    let mut disks = vec!["vm0.0"];
    disks.extend(further.disks);
    let vm = vec![call("vm_create", virtual_machine(&disks)), call("vm_start", json!({ "name": "vm0" }))];
    let subsystems = [
        ("bdev", bdev),
        ("vhost_scsi", further.scsi),
        ("vhost_blk", vhost),
        ("nvmf", further.nvmf),
        ("vm", vm),
    ];
    let subsystem = |(name, calls): (&str, Vec<Value>)| json!({ "subsystem": name, "config": calls });
    json!({ "subsystems": subsystems.map(subsystem) })
}

/// Kernel parameter that lets the guest write its marks beside the file system while that is mounted.
const MARKS: &str = "bdev_allow_write_mounted=1";

fn virtual_machine(disks: &[&str]) -> Value {
    let command_line = format!(
        "console=ttyS0 quiet no_timer_check panic=-1 {MARKS} luge.guest=selftest luge.mib=1 luge.device_mib={HASHED_MIB}"
    );
    json!({
        "name": "vm0",
        "cpus": 1,
        "memory_mb": 256,
        "disks": disks,
        "kernel": "/usr/share/luge/guest/kernel",
        "initrd": "/usr/share/luge/guest/initramfs",
        "command_line": command_line,
        "console": "log",
    })
}

/// Result that the VM printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SelfTestResult {
    /// Hash of the files as they were written.
    pub written: String,
    /// Hash of the files as they were read back.
    pub read: String,
    /// Hash of the start of the disk.
    pub device: String,
    /// Number of hashed bytes of the disk.
    pub device_bytes: u64,
    /// Result of the NVMe disk, if the VM has one.
    pub nvme: Option<DiskResult>,
    /// Result of the LUN, if the VM has one.
    pub lun: Option<DiskResult>,
}

/// Result of another disk of the VM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskResult {
    /// Hash of the bytes as they were written to the start of the disk.
    pub written: String,
    /// Hash of the bytes as they were read back.
    pub read: String,
    /// Their number.
    pub bytes: u64,
}

impl DiskResult {
    fn parse(text: &str, kind: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.split_once(&format!("LUGE-GUEST {kind} ")))?.1;
        let bytes = word(line, "bytes=")?.parse().ok()?;
        Some(Self { written: word(line, "written=")?, read: word(line, "read=")?, bytes })
    }

    /// Hashes the start of the first volume in the file with the SSD's blocks.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn hash_outside(&self, ssd: &Path) -> Result<String, TestError> {
        hash_of(ssd, 0, self.bytes)
    }
}

impl SelfTestResult {
    /// Waits for the end of the VM's work and returns its result.
    ///
    /// # Errors
    /// If the work does not end in time, or fails.
    pub fn wait(sled: &SledMachine) -> Result<Self, TestError> {
        let console = &sled.running.process.output;
        let failed = || TestError::Confused { who: "the VM's self-test".to_owned(), said: console.tail() };
        sled.ready()?;
        let ends = ["LUGE-GUEST done status=", "VM vm0 is crashed"];
        match console.wait_any(&ends, Deadline::within(WORK_SECONDS))? {
            (0, status) if status == "0" => Self::parse(&console.text()).ok_or_else(failed),
            _ => Err(failed()),
        }
    }

    /// Parses the VM's output.
    fn parse(text: &str) -> Option<Self> {
        let checksum = text.lines().find_map(|line| line.split_once("LUGE-GUEST checksum "))?.1;
        let device = text.lines().find_map(|line| line.split_once("LUGE-GUEST device "))?.1;
        Some(Self {
            written: word(checksum, "before=")?,
            read: word(checksum, "after=")?,
            device: word(device, "sha256=")?,
            device_bytes: word(device, "bytes=")?.parse().ok()?,
            nvme: DiskResult::parse(text, "nvme"),
            lun: DiskResult::parse(text, "scsi"),
        })
    }

    /// Whether the VM read back the files that it wrote.
    #[must_use]
    pub fn files_match(&self) -> bool {
        self.written == self.read && self.written.len() == 64
    }

    /// Hashes that part of the VM's volume in the file with the SSD's blocks.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn hash_outside(&self, ssd: &Path) -> Result<String, TestError> {
        hash_of(ssd, VOLUME_MIB << 20, self.device_bytes)
    }
}

/// Hash of so many bytes of a file from `offset`.
fn hash_of(path: &Path, offset: u64, bytes: u64) -> Result<String, TestError> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).doing(reading)?;
    file.seek(SeekFrom::Start(offset)).doing(reading)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file.take(bytes), &mut hash).doing(reading)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Rest of the word in `line` that begins with `name`.
fn word(line: &str, name: &str) -> Option<String> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn result() -> SelfTestResult {
        let sum = "ab".repeat(32);
        let text = format!(
            "vm0: LUGE-GUEST device sha256={sum} bytes=4096\nvm0: LUGE-GUEST checksum before={sum} after={sum} MATCH\n"
        );
        SelfTestResult::parse(&text).unwrap()
    }

    #[test]
    fn the_output_of_the_guest_is_parsed() {
        assert_eq!(result().device.len(), 64);
        assert_eq!(result().device_bytes, 4096);
        assert!(result().files_match());
        assert!(!SelfTestResult { read: "cd".repeat(32), ..result() }.files_match());
        assert_eq!(SelfTestResult::parse("LUGE-GUEST checksum before=1 after=1 MATCH"), None);
    }

    #[test]
    fn the_result_of_an_nvme_disk_is_parsed_and_its_bytes_are_those_of_the_first_volume() {
        assert_eq!(result().nvme, None);
        let line = "vm0: LUGE-GUEST nvme nvme0n1 written=ab read=cd bytes=4096\n";
        let nvme = DiskResult::parse(line, "nvme").unwrap();
        assert_eq!(nvme, DiskResult { written: "ab".into(), read: "cd".into(), bytes: 4096 });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ssd");
        std::fs::write(&path, [7; 5000]).unwrap();
        let expected: String = Sha256::digest([7; 4096]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(nvme.hash_outside(&path).unwrap(), expected);
    }

    #[test]
    fn the_ssd_is_hashed_where_the_volume_lies_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ssd");
        let mut file = File::create(&path).unwrap();
        file.seek(SeekFrom::Start(VOLUME_MIB << 20)).unwrap();
        file.write_all(&[7; 5000]).unwrap();
        let expected: String = Sha256::digest([7; 4096]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(result().hash_outside(&path).unwrap(), expected);
    }

    #[test]
    fn the_vm_has_a_disk_of_each_kind_after_what_serves_it() {
        let configuration = configuration_of_all_kinds("0000:00:10.0");
        let subsystems = configuration["subsystems"].as_array().unwrap();
        assert_eq!(subsystems[1]["config"][2]["method"], "vhost_start_scsi_controller");
        assert_eq!(subsystems[3]["subsystem"], "nvmf");
        assert_eq!(subsystems[4]["config"][0]["params"]["disks"], json!(["vm0.0", NVME, HBA]));
    }

    #[test]
    fn the_result_of_a_lun_is_parsed() {
        let line = "vm0: LUGE-GUEST scsi sda written=ab read=cd bytes=4096\n";
        assert_eq!(DiskResult::parse(line, "nvme"), None);
        let lun = DiskResult { written: "ab".into(), read: "cd".into(), bytes: 4096 };
        assert_eq!(DiskResult::parse(line, "scsi"), Some(lun));
    }

    #[test]
    fn the_vm_comes_after_its_disk_and_the_disk_after_its_ssd() {
        let configuration = configuration("0000:00:10.0");
        let names: Vec<_> = configuration["subsystems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["subsystem"].clone())
            .collect();
        assert_eq!(names, ["bdev", "vhost_scsi", "vhost_blk", "nvmf", "vm"]);
        assert_eq!(configuration["subsystems"][0]["config"][0]["params"]["traddr"], "0000:00:10.0");
    }
}
