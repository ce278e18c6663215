//! Tests of the machine's end, in a PID namespace: there `reboot(2)` ends the namespace only, and its
//! parent sees by a signal whether it was a reboot or a power off.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Signal by which PID 1 of a namespace ends after a reboot: SIGHUP.
const REBOOTED: Option<i32> = Some(1);
/// Signal by which PID 1 of a namespace ends after a power off: SIGINT.
const POWERED_OFF: Option<i32> = Some(2);

const TIMEOUT: Duration = Duration::from_secs(20);

/// Script that replaces the kernel command line and the devices, and becomes the program.
const SCRIPT: &str = "mount --bind \"$0/cmdline\" /proc/cmdline && mount --bind \"$0/dev\" /dev && \
    exec \"$@\"";

/// Command that runs a script as root and PID 1 of new namespaces.
fn in_namespaces(script: &str) -> Command {
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
    /// Starts a machine with a kernel command line, to end by `cause`.
    fn start(cause: &str, command_line: &str) -> Self {
        let has_namespaces = in_namespaces("true").status().is_ok_and(|status| status.success());
        assert!(
            has_namespaces,
            "these tests need user namespaces: sysctl kernel.unprivileged_userns_clone=1"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("dev")).unwrap();
        fs::write(path("cmdline"), command_line).unwrap();
        ["dev/console", "dev/kmsg"].iter().for_each(|name| fs::write(path(name), "").unwrap());
        let mut command = in_namespaces(SCRIPT);
        command.arg(folder.path()).args([env!("CARGO_BIN_EXE_last-words"), cause, "--in-namespaces"]);
        let pid_1 = command.spawn().unwrap();
        Self { folder, pid_1 }
    }

    /// Last line that was written to the kernel log.
    fn last_words(&self) -> String {
        fs::read_to_string(self.folder.path().join("dev/kmsg")).unwrap()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.pid_1.try_wait().unwrap()
    }

    /// Waits for the end of the machine; returns the signal of PID 1.
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
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn after_a_panic_the_machine_reboots_when_its_command_line_says() {
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
fn after_a_panic_the_machine_stays_when_its_command_line_says() {
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
