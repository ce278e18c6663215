//! QEMU's command line for a VM.
//!
//! Invariants
//! - A VM has no devices except those that are named here. In particular it has no balloon and reports
//!   no free pages: memory that an SSD may write to stays in place.
//! - Files and sockets are named by their paths in the sandbox.
//!
//! Not here: whether the files exist (`spec`), features of a QEMU version (`qemu`).

use crate::qemu::{Executor, FILTER, Qemu, Reconnect};
use crate::sandbox::OWN_FILES;
use crate::spec::{Boot, DiskKind, VmSpec};
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// File descriptors that a VM's QEMU gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors<'a> {
    /// Socket of the control protocol.
    pub(crate) qmp: BorrowedFd<'a>,
    /// Socket of the serial console.
    pub(crate) serial: BorrowedFd<'a>,
    /// File of the guest's memory.
    pub(crate) memory: BorrowedFd<'a>,
}

/// File of the host that a VM has in its sandbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OwnFile<'a> {
    pub(crate) source: &'a Path,
    pub(crate) target: PathBuf,
}

/// Files of a VM.
pub(crate) fn own_files(spec: &VmSpec) -> Vec<OwnFile<'_>> {
    let own = |source, name: &str| OwnFile { source, target: own_file(name) };
    let mut files = Vec::new();
    match &spec.boot {
        Boot::Kernel { kernel, initrd, .. } => {
            files.push(own(kernel.as_path(), KERNEL));
            files.extend(initrd.iter().map(|initrd| own(initrd, INITRD)));
        }
        Boot::Firmware(firmware) => files.extend(firmware.iter().map(|file| own(file, FIRMWARE))),
    }
    files.extend(spec.disks.iter().enumerate().map(|(index, disk)| own(&disk.socket, &disk_name(index))));
    files
}

const KERNEL: &str = "kernel";
const INITRD: &str = "initrd";
const FIRMWARE: &str = "firmware";

fn disk_name(index: usize) -> String {
    format!("disk{index}")
}

fn own_file(name: &str) -> PathBuf {
    Path::new(OWN_FILES).join(name)
}

/// Arguments of `qemu` for the VM `spec`. Its CPUs are halted until the QMP command `cont`.
pub(crate) fn arguments(
    spec: &VmSpec,
    descriptors: Descriptors<'_>,
    qemu: &Qemu,
    executor: Executor,
) -> Vec<OsString> {
    let number = |descriptor: BorrowedFd<'_>| descriptor.as_fd().as_raw_fd();
    let mut line = CommandLine::default();
    line.flags(&["-nodefaults", "-no-user-config", "-S"]);
    line.option("-display", "none");
    line.option("-name", &format!("guest={}", spec.name));
    if qemu.filter {
        line.option("-sandbox", FILTER);
    }
    if let Some(folder) = &qemu.data_folder {
        line.words.extend(["-L".into(), folder.into()]);
    }
    line.machine(spec, executor);
    line.memory(spec, number(descriptors.memory));
    line.option("-chardev", &format!("socket,id=qmp,fd={}", number(descriptors.qmp)));
    line.option("-qmp", "chardev:qmp");
    line.option("-chardev", &format!("socket,id=serial,fd={}", number(descriptors.serial)));
    line.option("-serial", "chardev:serial");
    for (index, disk) in spec.disks.iter().enumerate() {
        match disk.kind {
            DiskKind::VirtioBlk => {
                line.vhost_socket(index, qemu.reconnect);
                line.virtio_disk(index, disk.queues);
            }
            DiskKind::VirtioScsi => {
                line.vhost_socket(index, qemu.reconnect);
                line.virtio_hba(index, disk.queues);
            }
            DiskKind::Nvme => line.nvme_disk(index),
        }
    }
    line.boot(&spec.boot);
    line.words
}

#[derive(Default)]
struct CommandLine {
    words: Vec<OsString>,
}

impl CommandLine {
    fn flags(&mut self, flags: &[&str]) {
        self.words.extend(flags.iter().map(OsString::from));
    }

    fn option(&mut self, name: &str, value: &str) {
        self.flags(&[name, value]);
    }

    fn file(&mut self, name: &str, file: &str) {
        self.words.extend([name.into(), own_file(file).into()]);
    }

    fn machine(&mut self, spec: &VmSpec, executor: Executor) {
        // The cache of translated code is within the bounds of the cgroup.
        let (accelerator, cpu) = match executor {
            Executor::Kvm => ("kvm", "host"),
            Executor::Tcg => ("tcg,tb-size=256", "max"),
        };
        self.option("-machine", "q35,memory-backend=memory");
        self.option("-accel", accelerator);
        self.option("-cpu", cpu);
        self.option("-smp", &spec.cpus.to_string());
        self.option("-m", &format!("size={}M", spec.memory_mib));
    }

    /// Adds the memory, by a path to its file descriptor: `/dev/fdset` does not work for memory.
    fn memory(&mut self, spec: &VmSpec, descriptor: i32) {
        let (mib, path) = (spec.memory_mib, format!("/proc/self/fd/{descriptor}"));
        self.option(
            "-object",
            &format!("memory-backend-file,id=memory,size={mib}M,mem-path={path},share=on"),
        );
    }

    /// Adds the connection to a vhost-user socket.
    fn vhost_socket(&mut self, index: usize, reconnect: Reconnect) {
        let reconnect = match reconnect {
            Reconnect::Seconds => ",reconnect=1",
            Reconnect::Milliseconds => ",reconnect-ms=500",
        };
        let path = own_file(&disk_name(index));
        self.option("-chardev", &format!("socket,id=disk{index},path={}{reconnect}", path.display()));
    }

    fn virtio_disk(&mut self, index: usize, queues: u16) {
        let device = format!("vhost-user-blk-pci,num-queues={queues}");
        self.virtio_function(index, &device);
    }

    fn virtio_hba(&mut self, index: usize, queues: u16) {
        let device = format!("vhost-user-scsi-pci,num_queues={queues}");
        self.virtio_function(index, &device);
    }

    /// Adds a PCI function on a vhost-user socket.
    fn virtio_function(&mut self, index: usize, device: &str) {
        // Boot index 0 is the kernel's, if there is one.
        let boot = index + 1;
        let device = format!("{device},id=disk{index}-function,chardev=disk{index},bootindex={boot}");
        self.option("-device", &device);
    }

    /// Adds a controller, behind a root port of its own, as it is a PCI Express device.
    fn nvme_disk(&mut self, index: usize) {
        let (path, boot) = (own_file(&disk_name(index)), index + 1);
        self.option("-device", &format!("pcie-root-port,id=disk{index}-port,chassis={boot}"));
        let socket = format!(r#"{{"type":"unix","path":"{}"}}"#, path.display());
        let device = format!(
            r#"{{"driver":"vfio-user-pci","id":"disk{index}-function","bus":"disk{index}-port","bootindex":{boot},"socket":{socket}}}"#
        );
        self.option("-device", &device);
    }

    fn boot(&mut self, boot: &Boot) {
        match boot {
            Boot::Kernel { initrd, command_line, .. } => {
                self.file("-kernel", KERNEL);
                if initrd.is_some() {
                    self.file("-initrd", INITRD);
                }
                self.option("-append", command_line);
            }
            Boot::Firmware(Some(_)) => self.file("-bios", FIRMWARE),
            Boot::Firmware(None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::User;
    use crate::spec::{Accelerator, MemoryPages, VmDisk, VmName};

    fn spec() -> VmSpec {
        VmSpec {
            name: VmName::new("one").unwrap(),
            cpus: 2,
            memory_mib: 256,
            memory: MemoryPages::Huge,
            disks: vec![VmDisk {
                kind: DiskKind::VirtioBlk,
                controller: "c0".into(),
                socket: "/run/luge/a,b".into(),
                queues: 2,
            }],
            boot: Boot::Kernel {
                kernel: "/k".into(),
                initrd: Some("/i".into()),
                command_line: "a b,c".into(),
            },
            accelerator: Accelerator::Auto,
        }
    }

    fn qemu() -> Qemu {
        Qemu {
            path: "/usr/bin/qemu-system-x86_64".into(),
            filter: true,
            reconnect: Reconnect::Milliseconds,
            has_vfio_user: true,
            data_folder: Some("/usr/share/qemu".into()),
            files: Vec::new(),
            trial_user: User::Ours,
        }
    }

    /// Command line, with the three standard file descriptors as those of the VM.
    fn joined(spec: &VmSpec, qemu: &Qemu, executor: Executor) -> String {
        let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let descriptors = Descriptors { qmp: input.as_fd(), serial: output.as_fd(), memory: errors.as_fd() };
        let words = arguments(spec, descriptors, qemu, executor);
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_command_line_of_a_vm_with_everything() {
        let expected = "-nodefaults -no-user-config -S -display none -name guest=one \
            -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
            -L /usr/share/qemu -machine q35,memory-backend=memory -accel tcg,tb-size=256 -cpu max -smp 2 \
            -m size=256M -object memory-backend-file,id=memory,size=256M,mem-path=/proc/self/fd/2,share=on \
            -chardev socket,id=qmp,fd=0 -qmp chardev:qmp -chardev socket,id=serial,fd=1 -serial chardev:serial \
            -chardev socket,id=disk0,path=/vm/disk0,reconnect-ms=500 \
            -device vhost-user-blk-pci,num-queues=2,id=disk0-function,chardev=disk0,bootindex=1 \
            -kernel /vm/kernel -initrd /vm/initrd -append a b,c";
        assert_eq!(joined(&spec(), &qemu(), Executor::Tcg), expected);
    }

    #[test]
    fn the_command_line_of_a_small_vm_with_an_old_qemu() {
        let boot = Boot::Firmware(Some("/ovmf.fd".into()));
        let spec = VmSpec { disks: Vec::new(), memory: MemoryPages::Base, boot, ..spec() };
        let qemu = Qemu { filter: false, reconnect: Reconnect::Seconds, data_folder: None, ..qemu() };
        let expected = "-nodefaults -no-user-config -S -display none -name guest=one \
            -machine q35,memory-backend=memory -accel kvm -cpu host -smp 2 -m size=256M \
            -object memory-backend-file,id=memory,size=256M,mem-path=/proc/self/fd/2,share=on \
            -chardev socket,id=qmp,fd=0 -qmp chardev:qmp -chardev socket,id=serial,fd=1 -serial chardev:serial \
            -bios /vm/firmware";
        assert_eq!(joined(&spec, &qemu, Executor::Kvm), expected);
    }

    #[test]
    fn an_nvme_disk_is_behind_a_port_of_its_own() {
        let disk = |kind| VmDisk { kind, controller: "c".into(), socket: "/s".into(), queues: 1 };
        let spec = VmSpec { disks: vec![disk(DiskKind::VirtioBlk), disk(DiskKind::Nvme)], ..spec() };
        let expected = "-device pcie-root-port,id=disk1-port,chassis=2 -device \
            {\"driver\":\"vfio-user-pci\",\"id\":\"disk1-function\",\"bus\":\"disk1-port\",\"bootindex\":2,\
            \"socket\":{\"type\":\"unix\",\"path\":\"/vm/disk1\"}}";
        let text = joined(&spec, &qemu(), Executor::Tcg);
        assert!(text.contains(expected), "{text}");
        assert_eq!(text.matches("vhost-user-blk-pci").count(), 1);
    }

    #[test]
    fn an_hba_is_a_function_with_queues_for_requests() {
        let disk =
            VmDisk { kind: DiskKind::VirtioScsi, controller: "c".into(), socket: "/s".into(), queues: 3 };
        let text = joined(&VmSpec { disks: vec![disk], ..spec() }, &qemu(), Executor::Tcg);
        let expected = "-chardev socket,id=disk0,path=/vm/disk0,reconnect-ms=500 -device \
            vhost-user-scsi-pci,num_queues=3,id=disk0-function,chardev=disk0,bootindex=1";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn each_file_of_the_command_line_is_one_of_the_vm() {
        let spec = spec();
        let text = joined(&spec, &qemu(), Executor::Tcg);
        let sources: Vec<&Path> = own_files(&spec).iter().map(|file| file.source).collect();
        assert_eq!(sources, ["/k", "/i", "/run/luge/a,b"].map(Path::new));
        for file in own_files(&spec) {
            assert!(text.contains(file.target.to_str().unwrap()), "{file:?}");
        }
    }

    #[test]
    fn a_guest_cannot_give_memory_back() {
        let text = joined(&spec(), &qemu(), Executor::Tcg);
        for device in ["balloon", "free-page", "virtio-mem", "discard"] {
            assert!(!text.contains(device), "{text}");
        }
        assert!(text.starts_with("-nodefaults"), "QEMU adds devices of its own");
    }
}
