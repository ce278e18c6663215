//! QEMU's command line for a VM.
//!
//! Invariants
//! - A VM has no devices except those that are named here.
//! - A comma in a path is escaped.
//!
//! Not here: whether the files exist (`spec`), features of a QEMU version (`qemu`).

use crate::qemu::{Executor, Qemu, Reconnect, SANDBOX};
use crate::spec::{Boot, MemoryPages, VmDisk, VmSpec};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Paths of the sockets that a VM's QEMU connects to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sockets {
    pub(crate) qmp: PathBuf,
    pub(crate) serial: PathBuf,
}

impl Sockets {
    pub(crate) fn of(folder: &Path) -> Self {
        Self { qmp: folder.join("qmp.sock"), serial: folder.join("serial.sock") }
    }
}

/// Arguments of `qemu` for the VM `spec`. Its CPUs are halted until the QMP command `cont`.
pub(crate) fn arguments(spec: &VmSpec, sockets: &Sockets, qemu: &Qemu, executor: Executor) -> Vec<OsString> {
    let mut line = CommandLine::default();
    line.flags(&["-nodefaults", "-no-user-config", "-S"]);
    line.option("-display", "none");
    line.option("-name", &format!("guest={}", spec.name));
    if qemu.sandbox {
        line.option("-sandbox", SANDBOX);
    }
    if let Some(folder) = &qemu.data_folder {
        line.words.extend(["-L".into(), folder.into()]);
    }
    line.machine(spec, executor);
    line.socket("-chardev", "socket,id=qmp,path=", &sockets.qmp, "");
    line.option("-qmp", "chardev:qmp");
    line.socket("-chardev", "socket,id=serial,path=", &sockets.serial, "");
    line.option("-serial", "chardev:serial");
    for (index, disk) in spec.disks.iter().enumerate() {
        line.disk(index, disk, qemu.reconnect);
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

    fn path(&mut self, name: &str, path: &Path) {
        self.words.extend([name.into(), path.into()]);
    }

    /// Adds an option with a path in the middle of its value.
    fn socket(&mut self, name: &str, before: &str, path: &Path, after: &str) {
        let value = [before.as_bytes(), &escaped(path.as_os_str()), after.as_bytes()].concat();
        self.words.extend([name.into(), OsString::from_vec(value)]);
    }

    fn machine(&mut self, spec: &VmSpec, executor: Executor) {
        let (accelerator, cpu) = match executor {
            Executor::Kvm => ("kvm", "host"),
            Executor::Tcg => ("tcg", "max"),
        };
        let pages = match spec.memory {
            MemoryPages::Huge => ",hugetlb=on,hugetlbsize=2M",
            MemoryPages::Base => "",
        };
        let mib = spec.memory_mib;
        self.option("-machine", "q35,memory-backend=memory");
        self.option("-accel", accelerator);
        self.option("-cpu", cpu);
        self.option("-smp", &spec.cpus.to_string());
        self.option("-m", &format!("size={mib}M"));
        // Memory is allocated at the start, so that too little of it is an error and not a guest that is
        // killed later.
        let object = format!("memory-backend-memfd,id=memory,size={mib}M,share=on,prealloc=on{pages}");
        self.option("-object", &object);
    }

    fn disk(&mut self, index: usize, disk: &VmDisk, reconnect: Reconnect) {
        let reconnect = match reconnect {
            Reconnect::Seconds => ",reconnect=1",
            Reconnect::Milliseconds => ",reconnect-ms=500",
        };
        self.socket("-chardev", &format!("socket,id=disk{index},path="), &disk.socket, reconnect);
        let queues = disk.queues;
        // Boot index 0 is the kernel's, if there is one.
        let boot = index + 1;
        let device = format!(
            "vhost-user-blk-pci,id=disk{index}-function,chardev=disk{index},num-queues={queues},bootindex={boot}"
        );
        self.option("-device", &device);
    }

    fn boot(&mut self, boot: &Boot) {
        match boot {
            Boot::Kernel { kernel, initrd, command_line } => {
                self.path("-kernel", kernel);
                if let Some(initrd) = initrd {
                    self.path("-initrd", initrd);
                }
                self.option("-append", command_line);
            }
            Boot::Firmware(Some(firmware)) => self.path("-bios", firmware),
            Boot::Firmware(None) => {}
        }
    }
}

/// Text for the value of an option, in which a comma is written twice.
fn escaped(text: &OsStr) -> Vec<u8> {
    text.as_bytes()
        .iter()
        .flat_map(|&byte| std::iter::repeat_n(byte, 1 + usize::from(byte == b',')))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Accelerator, VmName};

    fn spec() -> VmSpec {
        VmSpec {
            name: VmName::new("one").unwrap(),
            cpus: 2,
            memory_mib: 256,
            memory: MemoryPages::Huge,
            disks: vec![VmDisk { controller: "c0".into(), socket: "/run/luge/a,b".into(), queues: 2 }],
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
            sandbox: true,
            reconnect: Reconnect::Milliseconds,
            data_folder: Some("/usr/share/qemu".into()),
        }
    }

    fn joined(spec: &VmSpec, qemu: &Qemu, executor: Executor) -> String {
        let words = arguments(spec, &Sockets::of(Path::new("/run/vm/one")), qemu, executor);
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_command_line_of_a_vm_with_everything() {
        let expected = "-nodefaults -no-user-config -S -display none -name guest=one \
            -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
            -L /usr/share/qemu -machine q35,memory-backend=memory -accel tcg -cpu max -smp 2 -m size=256M \
            -object memory-backend-memfd,id=memory,size=256M,share=on,prealloc=on,hugetlb=on,hugetlbsize=2M \
            -chardev socket,id=qmp,path=/run/vm/one/qmp.sock -qmp chardev:qmp \
            -chardev socket,id=serial,path=/run/vm/one/serial.sock -serial chardev:serial \
            -chardev socket,id=disk0,path=/run/luge/a,,b,reconnect-ms=500 \
            -device vhost-user-blk-pci,id=disk0-function,chardev=disk0,num-queues=2,bootindex=1 \
            -kernel /k -initrd /i -append a b,c";
        assert_eq!(joined(&spec(), &qemu(), Executor::Tcg), expected);
    }

    #[test]
    fn the_command_line_of_a_small_vm_with_an_old_qemu() {
        let boot = Boot::Firmware(Some("/ovmf.fd".into()));
        let spec = VmSpec { disks: Vec::new(), memory: MemoryPages::Base, boot, ..spec() };
        let qemu = Qemu { sandbox: false, reconnect: Reconnect::Seconds, data_folder: None, ..qemu() };
        let expected = "-nodefaults -no-user-config -S -display none -name guest=one \
            -machine q35,memory-backend=memory -accel kvm -cpu host -smp 2 -m size=256M \
            -object memory-backend-memfd,id=memory,size=256M,share=on,prealloc=on \
            -chardev socket,id=qmp,path=/run/vm/one/qmp.sock -qmp chardev:qmp \
            -chardev socket,id=serial,path=/run/vm/one/serial.sock -serial chardev:serial -bios /ovmf.fd";
        assert_eq!(joined(&spec, &qemu, Executor::Kvm), expected);
    }
}
