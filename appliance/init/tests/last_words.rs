//! The end of the machine, in a PID namespace of its own: there `reboot(2)` ends the namespace
//! only, and its parent sees by a signal which way that was.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Signals by which `reboot(2)` shows in the parent of a namespace's PID 1.
const REBOOTED: Option<i32> = Some(1);
const POWERED_OFF: Option<i32> = Some(2);

/// Time limit for each step.
const STEP_TIME: Duration = Duration::from_secs(20);

/// Script of process 1 before it is the program: another command line, and other terminals.
const SCRIPT: &str = "mount --bind \"$0/cmdline\" /proc/cmdline && mount --bind \"$0/dev\" /dev && \
    exec \"$@\"";

/// Runs a script as root and PID 1 of namespaces of its own.
fn apart(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount"]);
    command.args(["sh", "-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

struct Machine {
    folder: TempDir,
    pid_1: Child,
}

impl Machine {
    /// Starts a machine that ends by `end`, with that kernel command line.
    fn start(end: &str, command_line: &str) -> Self {
        let apart_works = apart("true").status().is_ok_and(|status| status.success());
        assert!(apart_works, "these tests need user namespaces: sysctl kernel.unprivileged_userns_clone=1");
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("dev")).unwrap();
        fs::write(path("cmdline"), command_line).unwrap();
        ["dev/console", "dev/kmsg"].iter().for_each(|name| fs::write(path(name), "").unwrap());
        let mut command = apart(SCRIPT);
        command.arg(folder.path()).args([env!("CARGO_BIN_EXE_last-words"), end, "--in-namespaces"]);
        let pid_1 = command.spawn().unwrap();
        Self { folder, pid_1 }
    }

    /// The last line it left in the kernel's log.
    fn last_words(&self) -> String {
        fs::read_to_string(self.folder.path().join("dev/kmsg")).unwrap()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.pid_1.try_wait().unwrap()
    }

    /// Waits for its end; returns which way it was.
    fn end(&mut self) -> Option<i32> {
        until("its end", || self.ended().is_some());
        self.ended().unwrap().signal()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.pid_1.kill();
        let _ = self.pid_1.wait();
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + STEP_TIME;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn after_a_fault_the_machine_reboots_when_its_command_line_says() {
    let mut machine = Machine::start("fault", "quiet luge.panic=-1");
    assert_eq!(machine.end(), REBOOTED);
    assert!(machine.last_words().contains("reboots in 0 s (luge.panic=)"), "{}", machine.last_words());

    let started = Instant::now();
    let mut machine = Machine::start("fault", "quiet luge.panic=1");
    assert_eq!(machine.end(), REBOOTED);
    assert!(machine.last_words().contains("reboots in 1 s"), "{}", machine.last_words());
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn after_a_fault_the_machine_stays_when_its_command_line_says() {
    let mut machine = Machine::start("fault", "luge.panic=0");
    until("its last words", || machine.last_words().contains("stays as it is (luge.panic=0)"));
    assert_eq!(machine.ended(), None);
}

#[test]
fn a_second_signal_ends_the_machine_at_once() {
    let mut machine = Machine::start("signals", "");
    assert_eq!(machine.end(), POWERED_OFF);
    assert!(machine.last_words().contains("SIGTERM asks again: ending at once"), "{}", machine.last_words());
}
