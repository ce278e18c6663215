//! The end of the machine, in a PID namespace of its own: there `reboot(2)` ends the namespace
//! only, and its parent sees by a signal which way that was.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_init::{PowerSwitch, Settings, catch_panics};
use rustix::process::{Pid, Signal, getpid, kill_process};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What the machine is to go through.
const FATE: &str = "LUGE_TEST_FATE";

/// How `reboot(2)` shows in the parent of a namespace's PID 1.
const REBOOTED: Option<i32> = Some(1);
const POWERED_OFF: Option<i32> = Some(2);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What PID 1 does before it is this program: another command line, and other terminals.
const SCRIPT: &str = "mount --bind \"$0/cmdline\" /proc/cmdline && mount --bind \"$0/dev\" /dev && \
    exec \"$1\" --exact a_machine_of_these_tests";

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
    /// One with that kernel command line.
    fn start(fate: &str, command_line: &str) -> Self {
        let apart_works = apart("true").status().is_ok_and(|status| status.success());
        assert!(apart_works, "these tests need user namespaces: sysctl kernel.unprivileged_userns_clone=1");
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("dev")).unwrap();
        fs::write(path("cmdline"), command_line).unwrap();
        ["dev/console", "dev/kmsg"].iter().for_each(|name| fs::write(path(name), "").unwrap());
        let mut command = apart(SCRIPT);
        command.arg(folder.path()).arg(std::env::current_exe().unwrap()).env(FATE, fate);
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
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What the machines below are. By itself it is no machine.
#[test]
fn a_machine_of_these_tests() {
    let fate = std::env::var(FATE);
    assert_eq!(getpid() == Pid::INIT, fate.is_ok(), "else it were the real machine that ends");
    let Ok(fate) = fate else { return };
    match fate.as_str() {
        "fault" => {
            catch_panics(Settings::of_this_machine().0.panic);
            assert_eq!(fate, "", "a fault of Luge");
        }
        _ => {
            let (switch, requests) = PowerSwitch::new();
            switch.listen_to_signals().unwrap();
            for _ in 0..2 {
                kill_process(getpid(), Signal::TERM).unwrap();
                assert_eq!(requests.recv().unwrap().from, "SIGTERM");
            }
        }
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
