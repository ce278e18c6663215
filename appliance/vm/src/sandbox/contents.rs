//! Contents of a sandbox: the namespaces, files, devices and groups of its process.

use super::cgroup::Cgroup;
use super::user::User;
use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Programs, libraries and data of the host.
const SYSTEM: [&str; 4] = ["/usr", "/bin", "/lib", "/lib64"];
/// Folders that a program may have beside its `bin`.
const PROGRAM_FOLDERS: [&str; 4] = ["lib", "lib64", "libexec", "share"];
/// Devices of every process.
const DEVICES: [&str; 2] = ["/dev/null", "/dev/urandom"];
/// Device of KVM.
const KVM: &str = "/dev/kvm";
/// Folder of a VM's own files: its kernel or firmware, and the sockets of its disks.
pub(crate) const OWN_FILES: &str = "/vm";

/// Environment of the process.
pub(super) const ENVIRONMENT: &CStr = c"PATH=/usr/bin:/bin";

/// Namespaces of the process.
pub(super) const NAMESPACES: [Namespace; 7] = [
    Namespace { name: "user", flag: libc::CLONE_NEWUSER, need: Need::Always },
    Namespace { name: "mnt", flag: libc::CLONE_NEWNS, need: Need::Always },
    Namespace { name: "pid", flag: libc::CLONE_NEWPID, need: Need::Always },
    Namespace { name: "net", flag: libc::CLONE_NEWNET, need: Need::Always },
    Namespace { name: "ipc", flag: libc::CLONE_NEWIPC, need: Need::WherePossible },
    Namespace { name: "uts", flag: libc::CLONE_NEWUTS, need: Need::WherePossible },
    Namespace { name: "cgroup", flag: libc::CLONE_NEWCGROUP, need: Need::WherePossible },
];

/// Kind of namespaces.
pub(super) struct Namespace {
    /// Name in `/proc/self/ns`.
    pub(super) name: &'static str,
    /// Flag of clone(2).
    pub(super) flag: i32,
    pub(super) need: Need,
}

/// Need for a kind of namespaces. A kernel that has no IPC has no namespaces for it either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    Always,
    WherePossible,
}

/// Kind of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Empty folder, into which later entries go.
    Folder,
    /// Symbolic link with the text of the source.
    Link,
    /// Folder of the host with all that is beneath it, read-only.
    Tree,
    /// File or socket of the host, read-only.
    File,
    /// File of the host that can be executed, read-only.
    Program,
    /// Device of the host.
    Device,
    /// procfs with the processes of the sandbox and nothing else.
    Processes,
}

/// Entry in the root folder of a sandbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// Path on the host; empty where the kind has none.
    pub(super) source: CString,
    /// Path in the sandbox, without the first slash.
    pub(super) target: CString,
}

/// Contents of a sandbox.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(super) user: User,
    /// Supplementary groups, by which the user may open devices.
    pub(super) groups: Vec<u32>,
    pub(super) entries: Vec<Entry>,
    pub(super) cgroup: Option<Cgroup>,
}

impl Sandbox {
    /// Sandbox with what every program needs.
    pub(crate) fn new(user: User) -> io::Result<Self> {
        let mut sandbox = Self { user, groups: Vec::new(), entries: Vec::new(), cgroup: None };
        SYSTEM.iter().try_for_each(|folder| sandbox.add_system(Path::new(folder)))?;
        sandbox.add_empty_folder(Path::new("/dev"))?;
        DEVICES.iter().try_for_each(|device| sandbox.add(Kind::Device, device, device))?;
        sandbox.add_empty_folder(Path::new("/proc"))?;
        sandbox.add(Kind::Processes, "", "/proc")?;
        sandbox.add_empty_folder(Path::new(OWN_FILES))?;
        Ok(sandbox)
    }

    /// Adds a program at its own path. If its folder is `bin`, the folders of libraries and data beside
    /// that are added, as of `/opt/qemu/bin/qemu-system-x86_64`.
    pub(crate) fn add_program(&mut self, program: &Path) -> io::Result<()> {
        if !self.has(program) {
            self.add_folders_above(program)?;
            self.add(Kind::Program, program, program)?;
        }
        let bin = program.parent().filter(|folder| folder.ends_with("bin"));
        let Some(prefix) = bin.and_then(Path::parent) else { return Ok(()) };
        let beside = PROGRAM_FOLDERS.iter().map(|name| prefix.join(name)).filter(|folder| folder.is_dir());
        beside.into_iter().try_for_each(|folder| self.add_folder(&folder))
    }

    /// Adds a folder of the host at its own path, unless another one contains it.
    pub(crate) fn add_folder(&mut self, folder: &Path) -> io::Result<()> {
        if self.has(folder) {
            return Ok(());
        }
        self.add_folders_above(folder)?;
        self.add_empty_folder(folder)?;
        self.add(Kind::Tree, folder, folder)
    }

    /// Adds a file or socket of the host.
    pub(crate) fn add_file(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        self.add(Kind::File, source, target)
    }

    /// Adds KVM, and the group that may open it if not everybody may.
    pub(crate) fn add_kvm(&mut self) -> io::Result<()> {
        let node = fs::metadata(KVM)?;
        let mode = node.mode();
        if mode & 0o006 != 0o006 && mode & 0o060 == 0o060 {
            self.groups.push(node.gid());
        }
        self.add(Kind::Device, KVM, KVM)
    }

    /// Puts the process into a cgroup.
    pub(crate) fn set_cgroup(&mut self, cgroup: Cgroup) {
        self.cgroup = Some(cgroup);
    }

    /// Adds a folder of the system: a link where it is a link on the host, such as `/lib` to `usr/lib`.
    fn add_system(&mut self, folder: &Path) -> io::Result<()> {
        match fs::read_link(folder) {
            Ok(text) => self.add(Kind::Link, text, folder),
            Err(_) if folder.is_dir() => self.add_folder(folder),
            Err(_) => Ok(()),
        }
    }

    /// Whether a folder of the host that was added contains `path`.
    fn has(&self, path: &Path) -> bool {
        let trees = self.entries.iter().filter(|entry| entry.kind == Kind::Tree);
        trees.map(|entry| as_path(&entry.source)).any(|tree| path.starts_with(tree))
    }

    fn add_folders_above(&mut self, path: &Path) -> io::Result<()> {
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        // The root.
        above.pop();
        above.iter().rev().try_for_each(|folder| self.add_empty_folder(folder))
    }

    fn add_empty_folder(&mut self, target: &Path) -> io::Result<()> {
        let is_there = |entry: &Entry| as_path(&entry.target) == target.strip_prefix("/").unwrap_or(target);
        if self.entries.iter().any(is_there) { Ok(()) } else { self.add(Kind::Folder, "", target) }
    }

    fn add(&mut self, kind: Kind, source: impl AsRef<Path>, target: impl AsRef<Path>) -> io::Result<()> {
        let target = target.as_ref();
        let target = target.strip_prefix("/").unwrap_or(target);
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes());
        self.entries.push(Entry { kind, source: text(source.as_ref())?, target: text(target)? });
        Ok(())
    }
}

fn as_path(text: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox() -> Sandbox {
        Sandbox { user: User::Ours, groups: Vec::new(), entries: Vec::new(), cgroup: None }
    }

    fn targets(sandbox: &Sandbox) -> Vec<String> {
        sandbox
            .entries
            .iter()
            .map(|entry| format!("{:?} {}", entry.kind, as_path(&entry.target).display()))
            .collect()
    }

    #[test]
    fn a_folder_is_added_with_empty_folders_above_it() {
        let mut sandbox = sandbox();
        sandbox.add_folder(Path::new("/opt/qemu")).unwrap();
        sandbox.add_folder(Path::new("/opt/other")).unwrap();
        let expected =
            ["Folder opt", "Folder opt/qemu", "Tree opt/qemu", "Folder opt/other", "Tree opt/other"];
        assert_eq!(targets(&sandbox), expected);
    }

    #[test]
    fn a_folder_within_another_is_there_already() {
        let mut sandbox = sandbox();
        sandbox.add_folder(Path::new("/usr")).unwrap();
        sandbox.add_folder(Path::new("/usr/lib/qemu")).unwrap();
        sandbox.add_program(Path::new("/usr/bin/qemu-system-x86_64")).unwrap();
        assert_eq!(targets(&sandbox), ["Folder usr", "Tree usr"]);
    }

    #[test]
    fn a_program_has_the_folders_beside_its_bin_and_no_other() {
        let prefix = tempfile::tempdir().unwrap();
        for folder in ["bin", "share", "private"] {
            fs::create_dir(prefix.path().join(folder)).unwrap();
        }
        let mut sandbox = sandbox();
        sandbox.add_program(&prefix.path().join("bin/qemu")).unwrap();
        let hosts = sandbox.entries.iter().filter(|entry| entry.kind != Kind::Folder);
        let hosts: Vec<&Path> = hosts.map(|entry| as_path(&entry.source)).collect();
        assert_eq!(hosts, [prefix.path().join("bin/qemu"), prefix.path().join("share")]);
    }

    #[test]
    fn a_program_in_any_other_folder_comes_alone() {
        let mut sandbox = sandbox();
        sandbox.add_program(Path::new("/home/qemu")).unwrap();
        assert_eq!(targets(&sandbox), ["Folder home", "Program home/qemu"]);
    }
}
