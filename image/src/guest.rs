//! A small Linux guest: a kernel, busybox, and ext4's tools.
//!
//! The guest checks the disks that Luge serves with software that is not ours; only its scripts are.
//! There are two variants. Tests of `luge serve` use Debian's kernel. The VM pack has a kernel with few
//! options, and nothing in it is compressed, because it also boots inside an emulated appliance, where
//! each instruction costs about a hundred.

use crate::apt::{self, Apt, Reach};
use crate::cache::{Cache, Key, Wanted, Workshop};
use crate::cpio::Cpio;
use crate::error::{Doing, ImageError};
use crate::host;
use crate::progress::Progress;
use crate::qemu_root::QemuRoot;
use crate::tool::tool;
use crate::{initramfs, kernel};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Debian's metapackage for the newest kernel of the release that is built for virtual machines.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
/// Modules of that kernel which the guest needs, in the order of loading.
const MODULES: [&str; 14] = [
    "kernel/drivers/block/virtio_blk.ko.xz",
    "kernel/drivers/input/evdev.ko.xz",
    "kernel/drivers/acpi/button.ko.xz",
    "kernel/drivers/scsi/scsi_common.ko.xz",
    "kernel/drivers/scsi/scsi_mod.ko.xz",
    "kernel/drivers/scsi/sd_mod.ko.xz",
    "kernel/drivers/scsi/sg.ko.xz",
    "kernel/drivers/scsi/virtio_scsi.ko.xz",
    "kernel/drivers/md/dm-mod.ko.xz",
    "kernel/drivers/md/dm-multipath.ko.xz",
    "kernel/drivers/md/dm-round-robin.ko.xz",
    "kernel/drivers/md/dm-service-time.ko.xz",
    "kernel/drivers/uio/uio.ko.xz",
    "kernel/drivers/uio/uio_pci_generic.ko.xz",
];
/// Programs of both variants besides busybox.
const PROGRAMS: [&str; 2] = ["/sbin/mke2fs", "/sbin/e2fsck"];
/// Further programs of the guest with Debian's kernel.
const DEBIAN_PROGRAMS: [&str; 29] = [
    "/sbin/nvme",
    "/sbin/smartctl",
    "/sbin/dmsetup",
    "/sbin/multipath",
    "/sbin/multipathd",
    "/bin/iscsi-test-cu",
    "/bin/sg_compare_and_write",
    "/bin/sg_dd",
    "/bin/sg_get_lba_status",
    "/bin/sg_inq",
    "/bin/sg_logs",
    "/bin/sg_luns",
    "/bin/sg_modes",
    "/bin/sg_opcodes",
    "/bin/sg_persist",
    "/bin/sg_prevent",
    "/bin/sg_raw",
    "/bin/sg_readcap",
    "/bin/sg_requests",
    "/bin/sg_reset",
    "/bin/sg_rtpg",
    "/bin/sg_senddiag",
    "/bin/sg_start",
    "/bin/sg_sync",
    "/bin/sg_turs",
    "/bin/sg_unmap",
    "/bin/sg_verify",
    "/bin/sg_vpd",
    "/bin/sg_write_same",
];
/// Plugins of the multipath tools, which these load by path.
const MULTIPATH_PLUGINS: [&str; 6] = [
    "/usr/lib/multipath/libchecktur.so",
    "/usr/lib/multipath/libcheckdirectio.so",
    "/usr/lib/multipath/libcheckreadsector0.so",
    "/usr/lib/multipath/libprioconst.so",
    "/usr/lib/multipath/libprioalua.so",
    "/usr/lib/multipath/libpriosysfs.so",
];

const INIT: &str = include_str!("../guest/init");
const SCRIPTS: [(&str, &str); 3] = [
    ("disks", include_str!("../guest/scripts/disks")),
    ("selftest", include_str!("../guest/scripts/selftest")),
    ("shell", include_str!("../guest/scripts/shell")),
];

/// Kernel and initramfs of the guest.
///
/// The kernel's command line needs `console=ttyS0` and selects one of the scripts by `luge.guest=NAME`;
/// `guest/init` lists the other parameters.
#[derive(Debug, Clone)]
pub struct GuestKit {
    /// Kernel: Debian's bzImage, or an ELF file in the VM pack. QEMU's `-kernel` takes both.
    pub kernel: PathBuf,
    /// Initramfs.
    pub initramfs: PathBuf,
}

impl GuestKit {
    /// Returns the guest with Debian's kernel, from the cache or built now.
    pub fn prepare(cache: &Cache, progress: &Progress) -> Result<Self, ImageError> {
        host::ensure("the guest", &[host::FETCHING, host::IMAGE], cache, progress)?;
        let root = QemuRoot::prepare(cache, progress)?;
        let apt = Apt::open(cache, progress)?;
        let package = kernel_package(&apt)?;
        let key = recipe(&root).with("kernel", apt.candidate(&package)?.as_bytes());
        let wanted = Wanted { name: "guest", what: "preparing the Linux guest", key };
        let entry = cache.entry(&wanted, progress, |workshop| {
            let modules = debian_kernel(&apt, &package, &MODULES, workshop)?;
            let more =
                Additions { programs: &DEBIAN_PROGRAMS, plugins: &MULTIPATH_PLUGINS, modules: &modules };
            let archive = tree(&root, &more, workshop)?;
            initramfs::compress(&archive, &workshop.out.join("initramfs.zst"), |command| {
                workshop.run(command)
            })
        })?;
        Ok(Self { kernel: entry.join("vmlinuz"), initramfs: entry.join("initramfs.zst") })
    }

    /// Returns the guest for the VM pack, from the cache or built now.
    pub(crate) fn for_pack(cache: &Cache, progress: &Progress) -> Result<Self, ImageError> {
        let root = QemuRoot::prepare(cache, progress)?;
        let kernel = kernel::GUEST.build(cache, progress)?;
        let wanted = Wanted { name: "guest-tree", what: "preparing the VM pack's guest", key: recipe(&root) };
        let entry = cache.entry(&wanted, progress, |workshop| {
            let file = workshop.out.join("initramfs");
            fs::write(&file, tree(&root, &Additions::default(), workshop)?)
                .doing(|| format!("writing {}", file.display()))
        })?;
        Ok(Self { kernel, initramfs: entry.join("initramfs") })
    }

    /// Copies the initramfs to `to` and adds a script, which `luge.guest=NAME` selects.
    pub fn with_script(&self, name: &str, text: &str, to: &Path) -> Result<Self, ImageError> {
        fs::copy(&self.initramfs, to).doing(|| format!("writing {}", to.display()))?;
        let mut cpio = Cpio::new();
        cpio.file(&format!("/scripts/{name}"), 0o755, text.as_bytes())?;
        initramfs::append_plain(&cpio.finish()?, to)?;
        Ok(Self { kernel: self.kernel.clone(), initramfs: to.to_owned() })
    }
}

/// Inputs of both variants.
fn recipe(root: &QemuRoot) -> Key {
    let key = Key::new()
        .with_recipe(include_str!("guest.rs"))
        .with_recipe(include_str!("cpio.rs"))
        .with("root", root.path("").as_os_str().as_bytes())
        .with("init", INIT.as_bytes());
    SCRIPTS.iter().fold(key, |key, (name, text)| key.with(name, text.as_bytes()))
}

/// Package of Debian's newest kernel for virtual machines.
pub(crate) fn kernel_package(apt: &Apt<'_>) -> Result<String, ImageError> {
    apt.first_dependency(KERNEL_PACKAGE)
}

/// Release of the kernel of a package, as `uname -r` tells it.
pub(crate) fn kernel_release(package: &str) -> &str {
    package.trim_start_matches("linux-image-")
}

/// Puts Debian's kernel into the entry as `vmlinuz`; returns the modules, unpacked, in their order.
pub(crate) fn debian_kernel(
    apt: &Apt<'_>,
    package: &str,
    modules: &[&str],
    workshop: &Workshop<'_>,
) -> Result<Vec<PathBuf>, ImageError> {
    apt.fetch(&[package], Reach::Alone, &workshop.scratch)?;
    let debian = workshop.scratch.join("debian");
    apt::unpack_all(&workshop.scratch, &debian, |command| workshop.run(command))?;
    let release = kernel_release(package);
    let vmlinuz = debian.join("boot").join(format!("vmlinuz-{release}"));
    fs::copy(&vmlinuz, workshop.out.join("vmlinuz")).doing(|| format!("reading {}", vmlinuz.display()))?;
    let folder = debian.join("usr/lib/modules").join(release);
    let packed: Vec<PathBuf> = modules.iter().map(|module| folder.join(module)).collect();
    workshop.run(tool("xz").args(["--decompress", "--keep"]).args(&packed))?;
    Ok(packed.iter().map(|path| path.with_extension("")).collect())
}

/// Content of one variant only.
#[derive(Default)]
struct Additions<'a> {
    programs: &'a [&'a str],
    /// Shared objects that programs load by path.
    plugins: &'a [&'a str],
    /// Unpacked modules in the order of loading.
    modules: &'a [PathBuf],
}

/// Archive of the guest's file tree.
fn tree(root: &QemuRoot, more: &Additions<'_>, workshop: &Workshop<'_>) -> Result<Vec<u8>, ImageError> {
    let mut cpio = Cpio::new();
    for folder in ["proc", "sys", "tmp", "mnt", "run", "etc"] {
        cpio.folder(folder)?;
    }
    initramfs::devices(&mut cpio)?;
    add_busybox(&mut cpio, root, workshop)?;
    for program in PROGRAMS.iter().chain(more.programs) {
        add_program(&mut cpio, program, root, workshop)?;
    }
    for plugin in more.plugins {
        cpio.copy(plugin, &root.path(plugin.trim_start_matches('/')))?;
    }
    for (n, module) in more.modules.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        cpio.copy(&format!("/lib/modules/{n:02}-{name}"), module)?;
    }
    cpio.file("/init", 0o755, INIT.as_bytes())?;
    for (name, text) in SCRIPTS {
        cpio.file(&format!("/scripts/{name}"), 0o755, text.as_bytes())?;
    }
    cpio.finish()
}

fn add_busybox(cpio: &mut Cpio, root: &QemuRoot, workshop: &Workshop<'_>) -> Result<(), ImageError> {
    let busybox = root.path("usr/bin/busybox");
    cpio.copy("/bin/busybox", &busybox)?;
    let applets = workshop.output(tool(&busybox.to_string_lossy()).arg("--list"))?;
    let is_ours = |applet: &str| PROGRAMS.iter().any(|program| program.ends_with(&format!("/{applet}")));
    for applet in applets.lines().filter(|applet| *applet != "busybox" && !is_ours(applet)) {
        cpio.link(&format!("/bin/{applet}"), "busybox")?;
    }
    Ok(())
}

/// Adds a program of the root at `path`, with its loader and libraries where it looks for them.
pub(crate) fn add_program(
    cpio: &mut Cpio,
    path: &str,
    root: &QemuRoot,
    workshop: &Workshop<'_>,
) -> Result<(), ImageError> {
    let program = root.path(path.trim_start_matches('/'));
    cpio.copy(path, &program)?;
    for library in root.libraries_of(&program, workshop)? {
        let Some(name) = library.file_name().map(|name| name.to_string_lossy()) else { continue };
        let folder = if name.starts_with("ld-linux") { "/lib64" } else { "/lib/x86_64-linux-gnu" };
        let inside = format!("{folder}/{name}");
        if !cpio.has(&inside) {
            cpio.copy(&inside, &library)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_guests_scripts_are_whole_shell_programs() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in SCRIPTS.into_iter().chain([("init", INIT)]) {
            let script = folder.path().join(name);
            fs::write(&script, text).unwrap();
            let output = Command::new("sh").arg("-n").arg(&script).output().unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    #[test]
    fn a_script_is_added_behind_the_initramfs_where_the_kernel_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let (initramfs, longer) = (folder.path().join("initramfs"), folder.path().join("longer"));
        fs::write(&initramfs, [9; 6]).unwrap();
        let kit = GuestKit { kernel: folder.path().join("kernel"), initramfs };
        let more = kit.with_script("mine", "echo hello", &longer).unwrap();
        let bytes = fs::read(&more.initramfs).unwrap();
        assert_eq!(bytes[..8], [9, 9, 9, 9, 9, 9, 0, 0]);
        assert_eq!(&bytes[8..14], b"070701");
        assert!(String::from_utf8_lossy(&bytes).contains("scripts/mine\0"));
        assert_eq!(more.kernel, kit.kernel);
    }
}
