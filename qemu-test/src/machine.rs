//! Virtual machines: their description, and QEMU's command line for it.
//!
//! The command line is a pure function of the description, so that it can be tested without the
//! hardware that it names.

use crate::accelerator::Accelerator;
use crate::error::{Doing, TestError};
use crate::lab::{Bench, KERNEL_ARGUMENTS};
use luge_image::{GuestKit, QemuRoot};
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// First PCI slot of SSDs: `0000:00:10.0`, `0000:00:11.0`, ...
const FIRST_SSD_SLOT: usize = 0x10;

/// First PCI slot of SCSI host bus adapters.
const FIRST_HBA_SLOT: usize = 0x18;

/// First PCI slot of the ports of vfio-user controllers.
const FIRST_PORT_SLOT: usize = 0x8;

/// Number of I/O queue pairs of an SSD unless a test wants others.
const QUEUE_PAIRS: u16 = 64;

/// A machine to be started.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Name in logs and errors.
    pub name: String,
    /// Number of CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Kernel or image that it boots.
    pub boot: Boot,
    /// IOMMU.
    pub iommu: Iommu,
    /// Emulated NVMe SSDs.
    pub ssds: Vec<Ssd>,
    /// Disks that a vhost-user-blk server serves.
    pub disks: Vec<Disk>,
    /// SCSI host bus adapters that a vhost-user-scsi server serves: `0000:00:18.0`, `0000:00:19.0`, ...
    pub hbas: Vec<Hba>,
    /// Sockets of NVMe controllers that a vfio-user server serves: `0000:01:00.0`, `0000:02:00.0`, ...
    pub controllers: Vec<PathBuf>,
    /// Memory in a file, in addition to the rest.
    pub nvdimm: Option<Nvdimm>,
    /// Address of a PCI device of the host that the machine gets.
    pub host_device: Option<String>,
    /// Files that the machine can read by name through QEMU's firmware configuration device.
    pub firmware_files: Vec<(String, PathBuf)>,
    /// Effect of a reset.
    pub reset: Reset,
    /// Trace events of QEMU that are logged.
    pub traces: Vec<&'static str>,
}

/// Kernel or image that a machine boots.
#[derive(Clone, Debug)]
pub enum Boot {
    /// Kernel that QEMU loads.
    Kernel {
        /// The kernel (bzImage).
        kernel: PathBuf,
        /// Initramfs.
        initramfs: PathBuf,
        /// Command line, in addition to that of all kernels.
        arguments: String,
    },
    /// Disk image on a USB stick, booted by UEFI. The image is not changed.
    UsbStick(PathBuf),
    /// Whatever UEFI finds on the machine's disks.
    Firmware,
    /// Whatever the BIOS finds on the machine's disks.
    Bios,
}

impl Boot {
    /// Makes a disk in the bench's folder from which UEFI, or the BIOS for [`Self::Bios`], boots a guest with these
    /// arguments.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn disk(&self, bench: &Bench<'_>, guest: &GuestKit, arguments: &str) -> Result<PathBuf, TestError> {
        let image = match self {
            Self::Bios => bench.lab().guest_bios_disk(guest, arguments)?,
            _ => bench.lab().guest_disk(guest, arguments)?,
        };
        let disk = bench.path("disk");
        fs::copy(image, &disk).doing(|| "copying the disk".to_owned())?;
        Ok(disk)
    }
}

/// IOMMU between a machine's devices and its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Iommu {
    /// No IOMMU.
    None,
    /// Intel's IOMMU, with interrupt remapping.
    Intel,
}

/// Effect of a reset of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// QEMU ends, for machines in which a reset is a failure.
    Ends,
    /// The machine boots again.
    Boots,
}

/// An emulated NVMe SSD.
#[derive(Clone, Debug)]
pub struct Ssd {
    /// File with the blocks of namespace 1.
    pub file: PathBuf,
    /// Files with the blocks of further namespaces.
    pub more_namespaces: Vec<PathBuf>,
    /// Number of I/O queue pairs that it grants.
    pub queue_pairs: u16,
    /// Size of a logical block in bytes.
    pub block_bytes: u32,
    /// Serial number.
    pub serial: String,
    /// Location on the machine's PCI bus.
    pub location: SsdLocation,
    /// File for the log of all writes and flushes, in the format of Linux's dm-log-writes.
    pub write_log: Option<PathBuf>,
}

/// Location of an SSD on a machine's PCI bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SsdLocation {
    /// On the root bus, without hot-plug: `0000:00:10.0`, `0000:00:11.0`, ...
    OnBoard,
    /// In a hot-plug slot behind a bridge of its own; QEMU's `device_del` presses the slot's button.
    InSlot,
    /// Function of one device without ACS, so that all such SSDs share an IOMMU group: `0000:00:10.0`,
    /// `0000:00:10.1`, ...
    InGroup,
}

impl Ssd {
    /// Creates the file `file` of `size_mib`, all zeroes, for an SSD with 512-byte blocks.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create(file: PathBuf, size_mib: u64) -> Result<Self, TestError> {
        let made = fs::File::create_new(&file).and_then(|made| made.set_len(size_mib << 20));
        made.doing(|| format!("making {}", file.display()))?;
        let name = file.file_stem().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        let serial = format!("LUGE-{name}");
        Ok(Self {
            file,
            more_namespaces: Vec::new(),
            queue_pairs: QUEUE_PAIRS,
            block_bytes: 512,
            serial,
            location: SsdLocation::OnBoard,
            write_log: None,
        })
    }
}

/// A SCSI host bus adapter that a vhost-user-scsi server serves.
#[derive(Clone, Debug)]
pub struct Hba {
    /// Socket of the server.
    pub socket: PathBuf,
    /// Number of request queues.
    pub queues: u32,
}

/// Memory whose content is a file, on any file system.
#[derive(Clone, Debug)]
pub struct Nvdimm {
    /// The file.
    pub file: PathBuf,
    /// Size in MiB.
    pub size_mib: u32,
}

/// A disk that a vhost-user-blk server serves.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Socket of the server.
    pub socket: PathBuf,
    /// Number of queues.
    pub queues: u32,
}

impl Machine {
    /// A small machine without devices.
    #[must_use]
    pub fn new(name: &str, boot: Boot) -> Self {
        Self {
            name: name.to_owned(),
            cpus: 1,
            memory_mib: 256,
            boot,
            iommu: Iommu::None,
            ssds: Vec::new(),
            disks: Vec::new(),
            hbas: Vec::new(),
            controllers: Vec::new(),
            nvdimm: None,
            host_device: None,
            firmware_files: Vec::new(),
            reset: Reset::Ends,
            traces: Vec::new(),
        }
    }

    /// QEMU's command line, except for the boot options.
    pub(crate) fn arguments(&self, accelerator: Accelerator, qmp: &Path) -> Vec<String> {
        let mut line = CommandLine::default();
        line.words(["-nodefaults", "-no-user-config", "-display", "none"]);
        line.pair("-name", &self.name);
        line.pair("-cpu", accelerator.cpu());
        line.pair("-accel", accelerator.name());
        line.pair("-smp", &self.cpus.to_string());
        line.pair("-m", &self.memory());
        line.pair("-machine", &self.machine(accelerator));
        line.words(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
        line.pair("-qmp", &format!("unix:{}", quoted(qmp)));
        if self.reset == Reset::Ends {
            line.words(["-no-reboot"]);
        }
        if self.iommu == Iommu::Intel {
            line.pair("-device", "intel-iommu,intremap=on,caching-mode=on");
        }
        self.devices(&mut line);
        for (name, file) in &self.firmware_files {
            line.pair("-fw_cfg", &format!("name={name},file={}", quoted(file)));
        }
        for event in &self.traces {
            line.pair("-trace", event);
        }
        line.words
    }

    fn memory(&self) -> String {
        let own = self.memory_mib;
        match &self.nvdimm {
            Some(nvdimm) => format!("{own}M,slots=1,maxmem={}M", own + nvdimm.size_mib),
            None => format!("{own}M"),
        }
    }

    fn machine(&self, accelerator: Accelerator) -> String {
        let mut machine = "q35".to_owned();
        if self.iommu == Iommu::Intel {
            // Interrupt remapping needs QEMU's interrupt controllers, or half of them.
            let _ = write!(machine, ",kernel-irqchip={}", accelerator.irqchip_beside_iommu());
        }
        if self.shares_memory() {
            machine += ",memory-backend=memory";
        }
        if self.nvdimm.is_some() {
            machine += ",nvdimm=on";
        }
        machine
    }

    /// Whether other processes need the machine's memory.
    fn shares_memory(&self) -> bool {
        !self.disks.is_empty() || !self.hbas.is_empty() || !self.controllers.is_empty()
    }

    fn devices(&self, line: &mut CommandLine) {
        if self.ssds.iter().any(|ssd| ssd.location == SsdLocation::InSlot) {
            // Hot-plug is PCI Express's own, as in servers, not ACPI's.
            line.pair("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off");
        }
        for (n, ssd) in self.ssds.iter().enumerate() {
            line.ssd(n, ssd);
        }
        if self.shares_memory() {
            let memory = format!("memory-backend-memfd,id=memory,size={}M,share=on", self.memory_mib);
            line.pair("-object", &memory);
        }
        if let Some(Nvdimm { file, size_mib }) = &self.nvdimm {
            let (kind, file) = ("memory-backend-file,id=nvdimm,share=on", quoted(file));
            line.pair("-object", &format!("{kind},size={size_mib}M,mem-path={file}"));
            line.pair("-device", "nvdimm,memdev=nvdimm");
        }
        for (n, disk) in self.disks.iter().enumerate() {
            let socket = quoted(&disk.socket);
            line.pair("-chardev", &format!("socket,id=disk{n},path={socket},reconnect-ms=200"));
            // QEMU offers packed rings only if the server supports them.
            line.pair(
                "-device",
                &format!("vhost-user-blk-pci,chardev=disk{n},num-queues={},packed=on", disk.queues),
            );
        }
        for (n, hba) in self.hbas.iter().enumerate() {
            line.hba(n, hba);
        }
        for (n, socket) in self.controllers.iter().enumerate() {
            line.controller(n, socket);
        }
        if let Some(address) = &self.host_device {
            line.pair("-device", &format!("vfio-pci,host={address},bus=pcie.0,addr={FIRST_SSD_SLOT:#x}"));
        }
    }

    /// QEMU's boot options.
    pub(crate) fn boot_arguments(&self, qemu: &QemuRoot, bench: &Bench) -> Result<Vec<String>, TestError> {
        let mut line = CommandLine::default();
        match &self.boot {
            Boot::Kernel { kernel, initramfs, arguments } => {
                line.pair("-kernel", &kernel.to_string_lossy());
                line.pair("-initrd", &initramfs.to_string_lossy());
                line.pair("-append", format!("{KERNEL_ARGUMENTS} {arguments}").trim_end());
            }
            Boot::UsbStick(image) => {
                self.firmware(&mut line, qemu, bench)?;
                line.usb_stick(image);
            }
            Boot::Firmware => self.firmware(&mut line, qemu, bench)?,
            // QEMU's default.
            Boot::Bios => {}
        }
        Ok(line.words)
    }

    /// Adds UEFI, with variables of the machine's own.
    fn firmware(&self, line: &mut CommandLine, qemu: &QemuRoot, bench: &Bench) -> Result<(), TestError> {
        let variables = bench.path(&format!("{}.uefi", self.name));
        fs::copy(qemu.uefi_variables(), &variables)
            .doing(|| format!("copying UEFI's variables to {}", variables.display()))?;
        let flash = |unit: u8, file: &Path| format!("if=pflash,format=raw,unit={unit},file={}", quoted(file));
        line.pair("-drive", &format!("{},readonly=on", flash(0, &qemu.uefi_code())));
        line.pair("-drive", &flash(1, &variables));
        Ok(())
    }
}

/// Words of a command line.
#[derive(Default)]
struct CommandLine {
    words: Vec<String>,
}

impl CommandLine {
    fn words<const N: usize>(&mut self, words: [&str; N]) {
        self.words.extend(words.map(str::to_owned));
    }

    fn pair(&mut self, option: &str, value: &str) {
        self.words([option, value]);
    }

    fn ssd(&mut self, n: usize, ssd: &Ssd) {
        let (block, slot) = (ssd.block_bytes, FIRST_SSD_SLOT + n);
        self.blocks_of(n, ssd);
        let blocks = format!("logical_block_size={block},physical_block_size={block}");
        let mut bus = format!("bus=pcie.0,addr={slot:#x}");
        match ssd.location {
            SsdLocation::OnBoard => {}
            SsdLocation::InSlot => {
                self.pair("-device", &format!("pcie-root-port,id=slot{n},chassis=1,slot={n},{bus}"));
                bus = format!("bus=slot{n}");
            }
            SsdLocation::InGroup => {
                bus = format!("bus=pcie.0,addr={FIRST_SSD_SLOT:#x}.{n},multifunction=on");
            }
        }
        let (serial, pairs) = (&ssd.serial, ssd.queue_pairs);
        let device =
            format!("nvme,id=nvme{n},drive=ssd{n},serial={serial},max_ioqpairs={pairs},{blocks},{bus}");
        self.pair("-device", &device);
        for (file, nsid) in ssd.more_namespaces.iter().zip(2..) {
            let drive = format!("ssd{n}-{nsid}");
            self.pair("-drive", &raw_drive(&drive, file));
            self.pair("-device", &format!("nvme-ns,bus=nvme{n},drive={drive},nsid={nsid},{blocks}"));
        }
    }

    /// Adds the blocks of an SSD, which its device calls `ssd{n}`.
    fn blocks_of(&mut self, n: usize, ssd: &Ssd) {
        let Some(log) = &ssd.write_log else {
            return self.pair("-drive", &raw_drive(&format!("ssd{n}"), &ssd.file));
        };
        let (file, log, sector) = (quoted(&ssd.file), quoted(log), ssd.block_bytes);
        let data = format!("file.driver=file,file.filename={file},file.discard=unmap");
        let log = format!("log.driver=file,log.filename={log},log-sector-size={sector}");
        self.pair("-blockdev", &format!("driver=blklogwrites,node-name=ssd{n},discard=unmap,{data},{log}"));
    }

    /// Adds a host bus adapter, which connects again when its server has gone.
    fn hba(&mut self, n: usize, hba: &Hba) {
        let (socket, slot, queues) = (quoted(&hba.socket), FIRST_HBA_SLOT + n, hba.queues);
        self.pair("-chardev", &format!("socket,id=hba{n},path={socket},reconnect-ms=200"));
        let device = format!("vhost-user-scsi-pci,chardev=hba{n},num_queues={queues}");
        self.pair("-device", &format!("{device},bus=pcie.0,addr={slot:#x}"));
    }

    /// Adds a controller behind a port of its own, as a PCI Express device has to be.
    fn controller(&mut self, n: usize, socket: &Path) {
        let (slot, chassis) = (FIRST_PORT_SLOT + n, n + 1);
        self.pair(
            "-device",
            &format!("pcie-root-port,id=port{n},chassis={chassis},slot={chassis},bus=pcie.0,addr={slot:#x}"),
        );
        let socket = json!({ "type": "unix", "path": socket.to_string_lossy() });
        let device = json!({ "driver": "vfio-user-pci", "bus": format!("port{n}"), "socket": socket });
        self.pair("-device", &device.to_string());
    }

    fn usb_stick(&mut self, image: &Path) {
        let stick = format!("if=none,id=stick,file={},format=raw,snapshot=on", quoted(image));
        self.pair("-drive", &stick);
        self.words(["-device", "qemu-xhci", "-device", "usb-storage,drive=stick,bootindex=0"]);
        // The image's own command line is for real machines.
        let extra = format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={KERNEL_ARGUMENTS}");
        self.pair("-smbios", &extra);
    }
}

/// QEMU's option for a drive whose blocks are a file.
fn raw_drive(id: &str, file: &Path) -> String {
    format!("if=none,id={id},file={},format=raw,discard=unmap", quoted(file))
}

/// A path in QEMU's option syntax, with commas doubled.
fn quoted(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        let boot = Boot::Kernel { kernel: "/k".into(), initramfs: "/i".into(), arguments: String::new() };
        Machine::new("sled", boot)
    }

    fn line(machine: &Machine, accelerator: Accelerator) -> String {
        machine.arguments(accelerator, Path::new("/q")).join(" ")
    }

    fn ssd(file: &str, block_bytes: u32) -> Ssd {
        Ssd {
            file: file.into(),
            more_namespaces: Vec::new(),
            queue_pairs: QUEUE_PAIRS,
            block_bytes,
            serial: "S".to_owned(),
            location: SsdLocation::OnBoard,
            write_log: None,
        }
    }

    #[test]
    fn an_iommu_stands_before_the_ssds_and_moves_interrupts_out_of_the_kernel() {
        let machine =
            Machine { iommu: Iommu::Intel, ssds: vec![ssd("/a", 512), ssd("/b", 4096)], ..machine() };
        let tcg = line(&machine, Accelerator::Tcg);
        assert!(tcg.contains("-machine q35,kernel-irqchip=off"), "{tcg}");
        assert!(tcg.find("intel-iommu").unwrap() < tcg.find("nvme,id=nvme0").unwrap(), "{tcg}");
        assert!(
            tcg.contains(
                "drive=ssd1,serial=S,max_ioqpairs=64,logical_block_size=4096,physical_block_size=4096"
            ),
            "{tcg}"
        );
        assert!(tcg.contains("addr=0x10") && tcg.contains("addr=0x11"), "{tcg}");
        assert!(line(&machine, Accelerator::Kvm).contains("kernel-irqchip=split"));
    }

    #[test]
    fn an_ssd_in_a_slot_is_behind_a_bridge_that_can_release_it() {
        let slot = Ssd { location: SsdLocation::InSlot, ..ssd("/b", 512) };
        let line = line(&Machine { ssds: vec![ssd("/a", 512), slot], ..machine() }, Accelerator::Tcg);
        assert!(line.contains("acpi-pci-hotplug-with-bridge-support=off"), "{line}");
        assert!(line.contains("pcie-root-port,id=slot1,chassis=1,slot=1,bus=pcie.0,addr=0x11"), "{line}");
        assert!(line.contains("physical_block_size=512,bus=slot1"), "{line}");
    }

    #[test]
    fn an_ssd_whose_writes_are_logged_has_them_logged_beneath_it() {
        let logged = Ssd { write_log: Some("/log".into()), ..ssd("/b", 4096) };
        let line = line(&Machine { ssds: vec![logged], ..machine() }, Accelerator::Tcg);
        assert!(line.contains("driver=blklogwrites,node-name=ssd0,discard=unmap"), "{line}");
        assert!(line.contains("log.filename=/log,log-sector-size=4096"), "{line}");
        assert!(line.contains("nvme,id=nvme0,drive=ssd0"), "{line}");
    }

    #[test]
    fn an_ssd_has_all_its_namespaces_and_grants_as_many_queue_pairs_as_it_should() {
        let more_namespaces = vec!["/b".into(), "/c,1".into()];
        let narrow = Ssd { more_namespaces, queue_pairs: 1, ..ssd("/a", 512) };
        let line = line(&Machine { ssds: vec![narrow], ..machine() }, Accelerator::Tcg);
        for wanted in [
            "nvme,id=nvme0,drive=ssd0,serial=S,max_ioqpairs=1,",
            "id=ssd0-2,file=/b,format=raw",
            "nvme-ns,bus=nvme0,drive=ssd0-2,nsid=2,logical_block_size=512",
            "id=ssd0-3,file=/c,,1,format=raw",
            "nvme-ns,bus=nvme0,drive=ssd0-3,nsid=3,",
        ] {
            assert!(line.contains(wanted), "{wanted} in {line}");
        }
    }

    #[test]
    fn vhost_user_disks_share_the_machines_memory() {
        let disk = Disk { socket: "/run/d,1".into(), queues: 2 };
        let line = line(&Machine { disks: vec![disk], ..machine() }, Accelerator::Tcg);
        for wanted in [
            "-machine q35,memory-backend=memory",
            "memory-backend-memfd,id=memory,size=256M,share=on",
            "socket,id=disk0,path=/run/d,,1",
            "vhost-user-blk-pci,chardev=disk0,num-queues=2",
        ] {
            assert!(line.contains(wanted), "{wanted} in {line}");
        }
    }

    #[test]
    fn host_bus_adapters_share_the_machines_memory_and_have_fixed_slots() {
        let hbas = ["/run/a", "/run/b"].map(|socket| Hba { socket: socket.into(), queues: 2 }).into();
        let line = line(&Machine { hbas, ..machine() }, Accelerator::Tcg);
        for wanted in [
            "-machine q35,memory-backend=memory",
            "socket,id=hba1,path=/run/b,reconnect-ms=200",
            "vhost-user-scsi-pci,chardev=hba1,num_queues=2,bus=pcie.0,addr=0x19",
        ] {
            assert!(line.contains(wanted), "{wanted} in {line}");
        }
    }

    #[test]
    fn controllers_share_the_machines_memory_and_have_ports_of_their_own() {
        let controllers = vec!["/run/a/cntrl".into(), "/run/b/cntrl".into()];
        let line = line(&Machine { controllers, ..machine() }, Accelerator::Tcg);
        for wanted in [
            "-machine q35,memory-backend=memory",
            "memory-backend-memfd,id=memory,size=256M,share=on",
            "pcie-root-port,id=port1,chassis=2,slot=2,bus=pcie.0,addr=0x9",
            r#""driver":"vfio-user-pci""#,
            r#""bus":"port1""#,
            r#""path":"/run/b/cntrl""#,
        ] {
            assert!(line.contains(wanted), "{wanted} in {line}");
        }
    }

    #[test]
    fn an_nvdimm_is_a_shared_file_beside_the_machines_memory() {
        let nvdimm = Some(Nvdimm { file: "/n".into(), size_mib: 64 });
        let line = line(&Machine { nvdimm, ..machine() }, Accelerator::Tcg);
        for wanted in [
            "-m 256M,slots=1,maxmem=320M",
            "-machine q35,nvdimm=on",
            "memory-backend-file,id=nvdimm,share=on,size=64M,mem-path=/n",
            "-device nvdimm,memdev=nvdimm",
        ] {
            assert!(line.contains(wanted), "{wanted} in {line}");
        }
    }

    #[test]
    fn an_ssd_of_the_host_is_passed_through_behind_the_iommu() {
        let machine =
            Machine { iommu: Iommu::Intel, host_device: Some("0000:3b:00.0".to_owned()), ..machine() };
        let line = line(&machine, Accelerator::Kvm);
        assert!(line.contains("-device vfio-pci,host=0000:3b:00.0,bus=pcie.0,addr=0x10"), "{line}");
        assert!(!line.contains("nvme,"), "{line}");
    }

    #[test]
    fn a_reset_ends_qemu_unless_it_is_wanted() {
        assert!(line(&machine(), Accelerator::Tcg).contains("-no-reboot"));
        let again = Machine { reset: Reset::Boots, ..machine() };
        assert!(!line(&again, Accelerator::Tcg).contains("-no-reboot"));
    }
}
