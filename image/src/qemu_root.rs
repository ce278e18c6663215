//! QEMU 11, firmware and tools for any host.
//!
//! Debian 13's packages (QEMU from backports) are unpacked into a folder, and their programs start
//! through the dynamic loader in that folder. Neither chroot, mounts nor root are needed: paths,
//! signals and parent processes are those of ordinary programs of the host.

use crate::apt::{self, Apt, Reach};
use crate::cache::{Cache, Key, Wanted, Workshop};
use crate::error::{Doing, ImageError};
use crate::host;
use crate::progress::Progress;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages in the folder, besides those that they depend on.
const PACKAGES: [&str; 15] = [
    "qemu-system-x86",
    "qemu-utils",
    // The block driver virtio-blk-vhost-user: a vhost-user-blk client without a VM.
    "qemu-block-extra",
    "seabios",
    "ovmf",
    "busybox-static",
    "e2fsprogs",
    "nvme-cli",
    "sg3-utils",
    "libiscsi-bin",
    "smartmontools",
    "multipath-tools",
    // GRUB for machines with a BIOS, and the program that composes it.
    "grub-pc-bin",
    "grub-common",
    "systemd-boot-efi",
];

/// Large folders that no program of ours needs.
const UNUSED: [&str; 6] =
    ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/icons", "usr/share/bug", "var"];

/// A folder with Debian 13's QEMU.
#[derive(Debug, Clone)]
pub struct QemuRoot {
    root: PathBuf,
}

impl QemuRoot {
    /// Returns the folder, from the cache or made now.
    pub fn prepare(cache: &Cache, progress: &Progress) -> Result<Self, ImageError> {
        host::ensure("QEMU", &[host::FETCHING], cache, progress)?;
        let apt = Apt::open(cache, progress)?;
        let versions = apt.candidates(&PACKAGES)?.join("\n");
        let key = Key::new().with_recipe(include_str!("qemu_root.rs")).with("packages", versions.as_bytes());
        let wanted = Wanted { name: "qemu-root", what: "preparing QEMU", key };
        let root = cache.entry(&wanted, progress, |workshop| build(&apt, workshop))?;
        Ok(Self { root })
    }

    /// Command for a program of the folder: `qemu-system-x86_64`, `qemu-img`, `qemu-io`,
    /// `qemu-storage-daemon`. The system emulators find their firmware and option ROMs.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.root.join(LOADER));
        command.arg("--library-path").arg(self.library_path()).arg(self.program(program));
        command.env("QEMU_MODULE_DIR", self.path("usr/lib/x86_64-linux-gnu/qemu"));
        if program.starts_with("qemu-system-") {
            for data in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(self.path(data));
            }
        }
        command
    }

    /// Path of a file in the folder; `inside` has no leading slash.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// Code of the UEFI firmware, for the first flash, read-only.
    #[must_use]
    pub fn uefi_code(&self) -> PathBuf {
        self.path("usr/share/OVMF/OVMF_CODE_4M.fd")
    }

    /// Initial variables of the UEFI firmware; each machine needs a copy as its second flash.
    #[must_use]
    pub fn uefi_variables(&self) -> PathBuf {
        self.path("usr/share/OVMF/OVMF_VARS_4M.fd")
    }

    /// UEFI program to which a kernel is added as sections.
    pub(crate) fn boot_stub(&self) -> PathBuf {
        self.path("usr/lib/systemd/boot/efi/linuxx64.efi.stub")
    }

    /// Absolute paths of a program's loader and shared libraries.
    pub(crate) fn libraries_of(
        &self,
        program: &Path,
        workshop: &Workshop<'_>,
    ) -> Result<Vec<PathBuf>, ImageError> {
        let mut list = Command::new(self.root.join(LOADER));
        list.arg("--library-path").arg(self.library_path()).arg("--list").arg(program);
        let text = workshop.output(&mut list)?;
        let mut libraries = vec![self.root.join(LOADER)];
        libraries.extend(text.lines().filter_map(|line| library_in(line, &self.root)));
        Ok(libraries)
    }

    /// Folders of shared libraries, as the loader's option has them.
    fn library_path(&self) -> String {
        LIBRARIES.map(|folder| self.path(folder).to_string_lossy().into_owned()).join(":")
    }

    fn program(&self, name: &str) -> PathBuf {
        let folders = ["usr/bin", "usr/sbin"];
        let found = folders.iter().map(|folder| self.root.join(folder).join(name)).find(|path| path.exists());
        found.unwrap_or_else(|| self.root.join("usr/bin").join(name))
    }
}

const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "usr/lib"];

/// Path in a line such as `libc.so.6 => /root/usr/lib/libc.so.6 (0x...)`, if it is in `root`.
fn library_in(line: &str, root: &Path) -> Option<PathBuf> {
    let path = Path::new(line.split_once("=>")?.1.split_whitespace().next()?);
    path.starts_with(root).then(|| path.to_owned())
}

fn build(apt: &Apt<'_>, workshop: &Workshop<'_>) -> Result<(), ImageError> {
    apt.fetch(&PACKAGES, Reach::WithDependencies, &workshop.scratch)?;
    merge_usr(&workshop.out)?;
    apt::unpack_all(&workshop.scratch, &workshop.out, |command| workshop.run(command))?;
    for folder in UNUSED.map(|folder| workshop.out.join(folder)) {
        std::fs::remove_dir_all(&folder).doing(|| format!("removing {}", folder.display()))?;
    }
    Ok(())
}

/// Makes the top-level links that Debian's packages expect.
pub(crate) fn merge_usr(root: &Path) -> Result<(), ImageError> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        let (folder, link) = (root.join("usr").join(name), root.join(name));
        std::fs::create_dir_all(&folder).doing(|| format!("making {}", folder.display()))?;
        std::os::unix::fs::symlink(format!("usr/{name}"), &link)
            .doing(|| format!("linking {}", link.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libraries_of_the_root_are_taken_from_the_loaders_list() {
        let root = Path::new("/r");
        let library = |line| library_in(line, root);
        assert_eq!(
            library("\tlibc.so.6 => /r/usr/lib/libc.so.6 (0x7f)"),
            Some("/r/usr/lib/libc.so.6".into())
        );
        assert_eq!(library("\tlibz.so.1 => /usr/lib/libz.so.1 (0x7f)"), None);
        assert_eq!(library("\tlinux-vdso.so.1 (0x7f)"), None);
        assert_eq!(library("\tlibx.so => not found"), None);
    }
}
