//! The guide's commands for a host, in a machine with an SSD behind an IOMMU: as they are there, and without
//! `--dry-run`. The package is installed, and the daemon takes the SSD under its hardened unit.

use crate::blocks::{self, Block};
use crate::{Outcome, guide};
use luge_image::{Cache, DebianMachine, DebianPackage, Progress};
use luge_qemu_test::{Bench, Boot, Deadline, Iommu, Lab, Machine, Ssd, TestError, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Time limit for the machine's boot and all commands.
const RUN_SECONDS: u32 = 300;

/// Kernel command line: the IOMMU as the guide says, and systemd with nothing but the commands.
const ARGUMENTS: &str = "rdinit=/usr/lib/systemd/systemd systemd.unit=commands.service systemd.show_status=no loglevel=4 \
     intel_iommu=on iommu=pt";

/// The SSD of the guide, and that of the machine.
const ADDRESS: (&str, &str) = ("0000:3b:00.0", "0000:00:10.0");

/// Unit that runs the commands.
const UNIT: &str = "[Unit]\nDefaultDependencies=no\n\
    [Service]\nType=oneshot\nExecStart=/bin/bash /root/commands\nEnvironment=PATH=/usr/sbin:/usr/bin\n";

/// Changes of the daemon's unit: it waits for nothing that this machine does not need, and its log is seen.
const DROP_IN: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nStandardOutput=file:/dev/ttyS0\n";

/// Disks of the daemon: the first half of the SSD.
const CONFIGURATION: &str = r#"{"subsystems": [{"subsystem": "bdev", "config": [
    {"method": "bdev_nvme_attach_controller", "params": {"name": "Nvme0", "trtype": "PCIe", "traddr": "0000:00:10.0"}},
    {"method": "bdev_split_create", "params": {"base_bdev": "Nvme0n1", "split_count": 2}}]},
  {"subsystem": "vhost_blk", "config": [
    {"method": "vhost_create_blk_controller", "params": {"ctrlr": "vm1.disk", "dev_name": "Nvme0n1p0"}}]}]}"#;

/// Beginning of the commands.
const BEFORE: &str = r#"
exec > /dev/ttyS0 2>&1
set -euo pipefail
trap 'echo "LUGE-HOST done status=$?"' EXIT
is() { if [ "$1" != "$2" ]; then echo "$2, which should be $1"; exit 1; fi; }
driver() { basename "$(readlink /sys/bus/pci/devices/0000:00:10.0/driver)"; }
pages() { cat /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages; }
depmod 2> /dev/null
modprobe vfio-pci
"#;

/// Commands after those that are as in the guide. In the place of `BIND` and `HUGEPAGES` are those of the guide without
/// `--dry-run`. The SSD is bound and reset; then the daemon binds it by itself.
const AFTER: &str = r#"
BIND
is vfio-pci "$(driver)"
luge host reset
is nvme "$(driver)"
HUGEPAGES
is 256 "$(pages)"
systemctl start luge
is vfio-pci "$(driver)"
luge rpc bdev_nvme_get_controller_health_info '{"name": "Nvme0"}'
luge bench /run/luge/vm1.disk --rw randwrite --iodepth 8 --runtime 0.05 --verify crc32c
systemctl stop luge
luge host release 0000:00:10.0
is nvme "$(driver)"
luge host reset
is 0 "$(pages)"
"#;

/// The guide's blocks with commands for a host, with the address of the machine's SSD.
fn commands() -> String {
    let guide = guide();
    let blocks = blocks::of(&guide).into_iter();
    let blocks = blocks.filter(|block| block.language == "sh" && block.text.contains("luge host"));
    blocks.map(|Block { text, .. }| text.replace(ADDRESS.0, ADDRESS.1)).collect()
}

/// The script of the machine.
fn script() -> String {
    let commands = commands();
    let without_dry_run = |action: &str| {
        let lines = commands.lines().filter_map(|line| line.strip_suffix(" --dry-run"));
        let found: Vec<&str> = lines.filter(|line| line.contains(action)).collect();
        assert_eq!(found.len(), 1, "commands of the guide for {action}: {found:?}");
        found.concat()
    };
    let after = AFTER.replace("BIND", &without_dry_run(" bind "));
    format!("{BEFORE}{commands}{}", after.replace("HUGEPAGES", &without_dry_run(" hugepages ")))
}

/// Folder with the files of the package, and the test's own.
fn files(bench: &Bench<'_>) -> Result<PathBuf, TestError> {
    let (luge, version, folder) = (bench.lab().luge()?, "1.0".to_owned(), bench.path("packages"));
    let package = DebianPackage { luge, version, folder }.build(&Cache::open()?, &Progress::quiet())?;
    let root = bench.path("files");
    run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root))?;
    let script = script();
    for (path, text) in [
        ("root/commands", script.as_str()),
        ("usr/lib/systemd/system/commands.service", UNIT),
        ("usr/lib/systemd/system/luge.service.d/test.conf", DROP_IN),
        ("etc/luge/luge.json", CONFIGURATION),
    ] {
        write(&root.join(path), text).map_err(|error| TestError::Host(format!("{path}: {error}")))?;
    }
    Ok(root)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, text)
}

#[test]
fn every_command_of_the_guide_for_a_host_works_and_the_packaged_daemon_serves_its_ssd() -> Outcome {
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("guide-host")?);
    let debian = DebianMachine::prepare(&Cache::open()?, &Progress::quiet())?;
    let DebianMachine { kernel, initramfs } = debian.with(&files(&bench)?, &bench.path("initramfs"))?;
    let machine = Machine {
        cpus: 2,
        // The kernel finds hugepages quickly where much is free.
        memory_mib: 2560,
        iommu: Iommu::Intel,
        ssds: vec![Ssd::create(bench.path("ssd.img"), 256)?],
        ..Machine::new("host", Boot::Kernel { kernel, initramfs, arguments: ARGUMENTS.to_owned() })
    };
    let host = machine.start(&bench)?;
    let status = host.process.output.wait_line("LUGE-HOST done status=", Deadline::within(RUN_SECONDS))?;
    assert_eq!(status, "0", "{}", host.process.output.tail());
    let address = ADDRESS.1;
    for line in [format!("would bind {address} to vfio-pci"), format!("{address} back to nvme")] {
        assert!(host.process.output.has(&line), "{line} in {}", host.process.output.text());
    }
    Ok(())
}
