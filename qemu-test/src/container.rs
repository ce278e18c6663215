//! A copy of a root folder in namespaces of its own, booted by systemd: packages are installed and services run there
//! without a change to the machine.
//!
//! The copy is an overlay over the folder, `/` for one of this machine, whose changes are in memory. It shares devices
//! and the network with the machine, and one folder, which is read-only there.
//!
//! Invariants
//! - All of its processes end with the handle, and its cgroup is removed.

use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use crate::lab::Bench;
use crate::process::Process;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Time limit until systemd has booted.
const BOOT_SECONDS: u32 = 60;
/// Time limit of a command.
const RUN_SECONDS: &str = "120";

/// Beginning of the names of containers' cgroups; the id of the test process follows.
const CGROUP: &str = "luge-test-";

/// Number of containers that this process has booted.
static BOOTED: AtomicU32 = AtomicU32::new(0);

/// Programs that a container needs, beside systemd.
const TOOLS: [&str; 5] = ["unshare", "nsenter", "mount", "pivot_root", "timeout"];

/// Makes an overlay of `$3` in `$1`, which becomes a file system in memory, with the folder `$4` at `$5`, and boots systemd
/// there, in the cgroup `$2`.
const BOOT: &str = r#"
set -e
echo $$ > "$2/cgroup.procs"
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$3,upperdir=$1/upper,workdir=$1/work" "$1/root"
mkdir -p "$1/root$5"
mount --bind -o ro "$4" "$1/root$5"
cd "$1/root"
mount --rbind /dev dev
mount -t sysfs sysfs sys
for folder in run tmp; do mount -t tmpfs tmpfs $folder; done
printf '[Unit]\nDescription=A target without other units\n' > etc/systemd/system/bare.target
: > run/machine-id
exec unshare --cgroup --pid --uts --fork --kill-child sh -c '
    mount -t proc proc proc
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mkdir .host
    # A process in a chroot may make no user namespaces.
    pivot_root . .host
    exec env -i container=luge PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -c "
        umount -l /.host
        rmdir /.host
        exec /lib/systemd/systemd --unit=bare.target"'
"#;

/// Folder in which a container has the folder that it shares with this machine.
pub const SHARED: &str = "/opt/shared";

/// A running container.
pub struct Container {
    process: Process,
    cgroup: PathBuf,
    /// Process id of its systemd.
    init: u32,
}

impl Container {
    /// Reason why this machine can run no container, if there is one.
    #[must_use]
    pub fn obstacle() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("namespaces and mounts need root".to_owned());
        }
        if !Path::new("/lib/systemd/systemd").exists() {
            return Some("there is no systemd: apt-get install systemd".to_owned());
        }
        if cgroups().is_none() {
            return Some("cgroup v2 is not mounted".to_owned());
        }
        let found = |tool: &&str| {
            ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
                .map(Path::new)
                .iter()
                .any(|folder| folder.join(tool).exists())
        };
        TOOLS.iter().find(|tool| !found(tool)).map(|tool| format!("there is no {tool}"))
    }

    /// Boots a copy of `root`, which has the folder `shared` as [`SHARED`].
    ///
    /// # Errors
    /// If systemd does not boot in time.
    pub fn boot(bench: &Bench<'_>, root: &Path, shared: &Path) -> Result<Self, TestError> {
        let site = bench.path("container");
        let cgroups = cgroups().ok_or_else(|| TestError::Host("cgroup v2 is not mounted".to_owned()))?;
        remove_abandoned(&cgroups);
        let cgroup = cgroups.join(format!(
            "{CGROUP}{}-{}",
            std::process::id(),
            BOOTED.fetch_add(1, Ordering::Relaxed)
        ));
        for folder in [&site, &cgroup] {
            fs::create_dir_all(folder).doing(|| format!("making {}", folder.display()))?;
        }
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--fork", "--kill-child", "sh", "-c", BOOT, "sh"])
            .arg(&site)
            .arg(&cgroup)
            .args([root, shared, Path::new(SHARED)]);
        let process = Process::start("systemd", command, &bench.log("systemd"))?;
        let mut container = Self { process, cgroup, init: 0 };
        let booted = Deadline::within(BOOT_SECONDS).poll(|| {
            container.init = init_below(container.process.id())?;
            container.run("systemctl is-system-running").is_ok().then_some(())
        });
        let tail = container.process.output.tail();
        booted.map(|()| container).ok_or_else(|| TestError::Host(format!("systemd does not boot: {tail}")))
    }

    /// Path of a file of the container, as seen from outside.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }

    /// Runs a line of shell to its end; returns its output, errors included.
    ///
    /// # Errors
    /// If it fails; the error contains its output.
    pub fn run(&self, line: &str) -> Result<String, TestError> {
        let output = self.output(line)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        Err(TestError::Program { program: line.to_owned(), status: output.status.to_string(), said })
    }

    fn output(&self, line: &str) -> Result<Output, TestError> {
        let mut command = Command::new("timeout");
        command.args([RUN_SECONDS, "nsenter", "--mount", "--pid", "--uts", "--cgroup"]);
        command.arg(format!("--root=/proc/{}/root", self.init)).arg(format!("--target={}", self.init));
        command.args([
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL=C",
            "DEBIAN_FRONTEND=noninteractive",
        ]);
        command.args(["sh", "-c", &format!("exec 2>&1; cd /; {line}")]).stdin(Stdio::null());
        command.output().doing(|| format!("running {line}"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.process.kill();
        // The kernel ends the processes of the namespace in its own time.
        Deadline::within(10).poll(|| remove_cgroup(&self.cgroup).then_some(()));
    }
}

/// Mount point of the hierarchy of cgroup v2.
fn cgroups() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let line = lines.find(|words| words.get(2) == Some(&"cgroup2"))?;
    line.get(1).map(PathBuf::from)
}

/// Removes the cgroups of test processes that were killed.
fn remove_abandoned(cgroups: &Path) {
    for entry in fs::read_dir(cgroups).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process =
            name.strip_prefix(CGROUP).and_then(|rest| rest.split_once('-')).map(|(process, _)| process);
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            remove_cgroup(&entry.path());
        }
    }
}

/// Removes a cgroup with those beneath it; false while one has processes.
fn remove_cgroup(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for below in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_cgroup(&below.path());
    }
    // Its removal removes its files.
    fs::remove_dir(folder).is_ok() || !folder.exists()
}

/// Process id of the systemd that descends from a process.
fn init_below(process: u32) -> Option<u32> {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    if name.trim() == "systemd" {
        return Some(process);
    }
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().filter_map(|child| child.parse().ok()).find_map(init_below)
}
