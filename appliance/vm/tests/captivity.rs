//! Reach of a guest that has taken over its QEMU: a program in place of QEMU, in the sandbox of a VM,
//! makes attempts and reports the results on its serial console.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_init::Reaper;
use luge_vm::{
    Accelerator, Boot, DiskKind, FIRST_USER, MemoryPages, SandboxConfig, Timeouts, VmConfig, VmDisk, VmName,
    VmRunner, VmSpec, VmStatus, sandbox_refusal,
};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Time limit for a report.
const LIMIT: Duration = Duration::from_secs(20);

struct Rig {
    runner: VmRunner,
    folder: TempDir,
    /// Sockets of Luge's RPC and of the disks.
    _sockets: Vec<UnixListener>,
}

/// A runner, unless this machine allows no sandbox.
#[track_caller]
fn rig() -> Option<Rig> {
    if let Some(refusal) = sandbox_refusal() {
        luge_skip::skip(&refusal);
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = |name| UnixListener::bind(folder.path().join(name)).unwrap();
    let sockets = ["rpc.sock", "captive1.disk", "captive2.disk"].map(socket).into();
    std::fs::write(folder.path().join("kernel"), "no kernel").unwrap();
    let config = VmConfig {
        folder: folder.path().join("vm"),
        qemu: Some(env!("CARGO_BIN_EXE_luge-vm-fake-qemu").into()),
        firmware_folder: None,
        trial_kernel: None,
        sandbox: SandboxConfig::default(),
        timeouts: Timeouts::default(),
    };
    Some(Rig { runner: VmRunner::new(config, Reaper::of_own_children()), folder, _sockets: sockets })
}

impl Rig {
    fn path(&self, inside: &str) -> String {
        self.folder.path().join(inside).display().to_string()
    }

    /// Starts a VM that tries to reach what the words of `outside` name.
    fn start(&self, name: &str, outside: &str) -> VmStatus {
        let disk = self.path(&format!("{name}.disk")).into();
        let spec = VmSpec {
            name: VmName::new(name).unwrap(),
            cpus: 1,
            memory_mib: 16,
            memory: MemoryPages::Base,
            disks: vec![VmDisk {
                kind: DiskKind::VirtioBlk,
                controller: name.into(),
                socket: disk,
                queues: 1,
            }],
            boot: Boot::Kernel {
                kernel: self.path("kernel").into(),
                initrd: None,
                command_line: outside.into(),
            },
            accelerator: Accelerator::Tcg,
        };
        let name = spec.name.clone();
        self.runner.create(spec).unwrap();
        self.runner.start(&name).unwrap();
        self.runner.get(&name).unwrap()
    }

    /// Results by attempt.
    fn report(&self, name: &str) -> BTreeMap<String, String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let text = self.runner.console_text(&VmName::new(name).unwrap()).unwrap();
            let text = String::from_utf8(text).unwrap();
            if text.contains("end: of the report") {
                let lines = text.lines().filter_map(|line| line.split_once(": "));
                return lines.map(|(attempt, result)| (attempt.into(), result.trim().into())).collect();
            }
            assert!(Instant::now() < deadline, "no report: {text}");
            std::thread::yield_now();
        }
    }

    fn stop(&self) {
        self.runner.stop_all(Some(Duration::ZERO)).unwrap();
    }
}

#[track_caller]
fn assert_result(report: &BTreeMap<String, String>, attempt: &str, expected: &str) {
    let result = report.get(attempt).unwrap_or_else(|| panic!("no attempt '{attempt}' in {report:#?}"));
    assert!(result.starts_with(expected), "{attempt}: {result}");
}

#[test]
fn a_captive_has_no_powers() {
    let Some(rig) = rig() else { return };
    rig.start("captive1", "");
    let report = rig.report("captive1");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_result(&report, set, "0000000000000000");
    }
    assert_result(&report, "NoNewPrivs", "1");
    assert_result(&report, "make a user namespace", "No space left on device");
    assert_result(&report, "become root", "Invalid argument");
    for attempt in ["change the root folder", "mount", "remount"] {
        assert_result(&report, attempt, "Operation not permitted");
    }
    assert_ne!(report["run a set-uid program"], "ok");
    rig.stop();
}

#[test]
fn a_captive_sees_its_own_files_and_processes_only() {
    let Some(rig) = rig() else { return };
    rig.start("captive1", "");
    let report = rig.report("captive1");
    let program = Path::new(env!("CARGO_BIN_EXE_luge-vm-fake-qemu")).components().nth(1).unwrap();
    let program = program.as_os_str().to_str().unwrap();
    let known = ["bin", "dev", "lib", "lib64", "proc", "usr", "vm", program];
    let unknown: Vec<&str> = report["/"].split(' ').filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert_result(&report, "/dev", "null urandom");
    assert_result(&report, "/vm", "disk0 kernel");
    assert_result(&report, "/proc", "1 self thread-self");
    assert_result(&report, "interfaces", "lo");
    assert_result(&report, "environment", "PATH");
    assert_eq!(report["interfaces"], "lo");
    // Input, output, errors, control, console, memory, and the folder that it reads.
    assert_eq!(report["descriptors"], "7");
    rig.stop();
}

#[test]
fn a_captive_can_write_nowhere_and_keeps_its_memory() {
    let Some(rig) = rig() else { return };
    rig.start("captive1", "");
    let report = rig.report("captive1");
    let writes = report.iter().filter(|(attempt, _)| attempt.starts_with("write "));
    let done: Vec<_> = writes.clone().filter(|(_, result)| *result == "ok").collect();
    assert_eq!(writes.count(), 8);
    assert!(done.is_empty(), "{done:?}");
    for attempt in ["shorten memory", "lengthen memory", "punch a hole"] {
        assert_result(&report, attempt, "Operation not permitted");
    }
    rig.stop();
}

#[test]
fn two_captives_have_different_users_and_reach_neither_each_other_nor_luge() {
    let Some(rig) = rig() else { return };
    let first = rig.start("captive1", "");
    let outside = [
        rig.path("rpc.sock"),
        rig.path("vm/captive1"),
        rig.path("vm/captive1/console.sock"),
        rig.path("captive1.disk"),
        "/etc/passwd".into(),
        "/proc/2".into(),
        format!("/proc/{}/environ", first.pid.unwrap()),
        std::process::id().to_string(),
        first.pid.unwrap().to_string(),
    ];
    let second = rig.start("captive2", &outside.join(" "));
    let report = rig.report("captive2");
    for word in outside {
        let attempt = if word.starts_with('/') { format!("open {word}") } else { format!("signal {word}") };
        assert_result(&report, &attempt, "No such");
    }
    assert_result(&report, "connect /vm/disk0", "ok");
    if rustix::process::geteuid().is_root() {
        assert_eq!(first.user, Some(FIRST_USER + 1));
        assert_eq!(second.user, Some(FIRST_USER + 2));
        // Real, effective, saved, and for files.
        let all_four = [FIRST_USER + 2; 4].map(|user| user.to_string()).join(" ");
        assert_eq!(report["Uid"], all_four);
        assert_eq!(report["Gid"], all_four);
        assert_eq!(report["Groups"], "");
    }
    rig.stop();
}

#[test]
fn a_disk_belongs_to_its_vm_while_that_runs() {
    let Some(rig) = rig() else { return };
    let owner = || std::fs::metadata(rig.path("captive1.disk")).unwrap().uid();
    let ours = owner();
    let user = rig.start("captive1", "").user.unwrap();
    assert_eq!(owner(), user);
    rig.stop();
    assert_eq!(owner(), ours);
}

#[test]
fn a_vm_that_takes_too_much_memory_is_killed_alone() {
    let Some(rig) = rig() else { return };
    let other = rig.start("captive1", "");
    if other.cgroup.is_none() {
        rig.stop();
        return luge_skip::skip("no cgroup v2 with the controllers cpu, memory and pids: mount it, as root");
    }
    std::fs::rename(rig.path("captive2.disk"), rig.path("glutton.disk")).unwrap();
    rig.start("glutton", "");
    let name = VmName::new("glutton").unwrap();
    // An emulated machine takes its time for half a gigabyte.
    let deadline = Instant::now() + LIMIT * 6;
    while rig.runner.get(&name).unwrap().state.is_alive() {
        assert!(Instant::now() < deadline, "it has more memory than its cgroup allows");
        std::thread::yield_now();
    }
    assert!(rig.runner.get(&name).unwrap().ending.unwrap().reason.contains("SIGKILL"));
    assert!(rig.runner.get(&VmName::new("captive1").unwrap()).unwrap().state.is_alive());
    rig.stop();
}
