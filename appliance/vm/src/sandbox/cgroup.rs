//! Cgroup (v2) of a VM's process: bounds on its CPU time, memory and threads.
//!
//! The memory of the guest is not in the bound, because Luge allocates it (`memory`).

use rustix::fs::{Mode, OFlags, open};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Controllers that the bounds need.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
/// Folder of all VMs' cgroups, beneath the root of the hierarchy.
const FOLDER: &str = "luge";
/// Period of the bound on CPU time.
const PERIOD_US: u64 = 100_000;

/// Bounds of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    /// CPU time: that of so many CPUs.
    pub(crate) cpus: u32,
    /// Memory besides that of the guest.
    pub(crate) memory_mib: u64,
    /// Threads.
    pub(crate) threads: u32,
}

impl Bounds {
    /// Bounds of a VM. QEMU needs a CPU for its own threads, about 50 MiB, page tables, and up to
    /// 256 MiB for translated code.
    pub(crate) const fn of_vm(cpus: u32, memory_mib: u64) -> Self {
        Self { cpus: cpus + 1, memory_mib: 512 + memory_mib / 128 + 8 * cpus as u64, threads: 64 + 2 * cpus }
    }
}

/// Folder in which cgroups of VMs are made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cgroups {
    folder: PathBuf,
}

impl Cgroups {
    /// Prepares a folder that was given to Luge, in which there is no process.
    pub(crate) fn given(folder: &Path) -> Result<Self, String> {
        distribute(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Prepares a folder of Luge's own at the root of the hierarchy, which only root may do.
    pub(crate) fn own() -> Result<Self, String> {
        let table = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
        let root = mount_point(&table).ok_or("cgroup v2 is not mounted")?;
        distribute(&root)?;
        let folder = root.join(FOLDER);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Self::given(&folder)
    }

    /// Makes a cgroup. A stale one without processes is replaced.
    pub(crate) fn make(&self, name: &str, bounds: Bounds) -> Result<Cgroup, String> {
        let folder = self.folder.join(name);
        let failed = |error: io::Error| format!("{}: {error}", folder.display());
        let _ = fs::remove_dir(&folder);
        fs::create_dir(&folder).map_err(failed)?;
        // From here on, an error removes it.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = open(&folder, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let cgroup = Cgroup { folder: folder.clone(), handle };
        cgroup.set(bounds).map_err(failed)?;
        Ok(cgroup)
    }
}

/// Gives the controllers to the cgroups in a folder.
fn distribute(folder: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    let available = fs::read_to_string(folder.join("cgroup.controllers")).map_err(failed)?;
    let has = |controller: &str| available.split_whitespace().any(|word| word == controller);
    if let Some(missing) = CONTROLLERS.iter().find(|controller| !has(controller)) {
        return Err(format!("{} has no controller '{missing}'", folder.display()));
    }
    fs::write(folder.join("cgroup.subtree_control"), CONTROLLERS.map(|name| format!("+{name}")).join(" "))
        .map_err(failed)
}

/// Mount point of the first cgroup v2 hierarchy in the kernel's table of mounts, see proc(5).
fn mount_point(table: &str) -> Option<PathBuf> {
    table.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let is_wanted = after.split(' ').next() == Some("cgroup2");
        before.split(' ').nth(4).filter(|_| is_wanted).map(PathBuf::from)
    })
}

/// Cgroup. Dropping it removes it, if its processes have ended.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folder: PathBuf,
    handle: OwnedFd,
}

impl Cgroup {
    /// Path of its folder.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    fn set(&self, bounds: Bounds) -> io::Result<()> {
        let write = |file: &str, text: String| fs::write(self.folder.join(file), text);
        write("cpu.max", format!("{} {PERIOD_US}", u64::from(bounds.cpus) * PERIOD_US))?;
        write("memory.max", (bounds.memory_mib << 20).to_string())?;
        write("memory.oom.group", "1".into())?;
        write("pids.max", bounds.threads.to_string())?;
        // A kernel that does not swap has no such file.
        let _ = write("memory.swap.max", "0".into());
        Ok(())
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // If it stays, the next start of the VM replaces it.
        let _ = fs::remove_dir(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_among_the_mounts() {
        let table = "\
30 28 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
31 28 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw
";
        assert_eq!(mount_point(table), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("30 28 0:26 / /cgroup2 rw - tmpfs cgroup2 rw"), None);
    }

    #[test]
    fn a_folder_without_a_controller_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cgroup.controllers"), "cpuset cpu memory\n").unwrap();
        let error = Cgroups::given(folder.path()).unwrap_err();
        assert!(error.ends_with("has no controller 'pids'"), "{error}");
    }

    #[test]
    fn a_large_vm_has_larger_bounds() {
        let small = Bounds::of_vm(1, 64);
        assert_eq!(small, Bounds { cpus: 2, memory_mib: 520, threads: 66 });
        assert!(Bounds::of_vm(1, 1 << 20).memory_mib > 8192);
    }
}
