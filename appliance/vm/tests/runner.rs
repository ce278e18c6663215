//! Tests of the runner with a fake QEMU: all ways in which a VM starts and ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_init::Reaper;
use luge_vm::{
    Accelerator, Boot, DiskKind, MemoryPages, SandboxConfig, Timeouts, VmConfig, VmDisk, VmError, VmName,
    VmRunner, VmSpec, VmState, VmStatus, sandbox_refusal,
};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

struct Rig {
    runner: VmRunner,
    folder: TempDir,
    /// Socket of all disks.
    _disk: UnixListener,
}

fn rig() -> Option<Rig> {
    rig_with(Timeouts {
        start: Duration::from_secs(20),
        powerdown: Duration::from_secs(20),
        quit: Duration::from_secs(20),
    })
}

/// A runner, unless this machine allows no sandbox.
#[track_caller]
fn rig_with(timeouts: Timeouts) -> Option<Rig> {
    if let Some(refusal) = sandbox_refusal() {
        luge_skip::skip(&refusal);
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = UnixListener::bind(folder.path().join("disk.sock")).unwrap();
    let config = config(folder.path(), timeouts);
    Some(Rig { runner: VmRunner::new(config, Reaper::of_own_children()), folder, _disk: disk })
}

fn config(folder: &Path, timeouts: Timeouts) -> VmConfig {
    VmConfig {
        folder: folder.to_owned(),
        qemu: Some(env!("CARGO_BIN_EXE_luge-vm-fake-qemu").into()),
        firmware_folder: None,
        trial_kernel: None,
        sandbox: SandboxConfig::default(),
        timeouts,
    }
}

fn name(behaviour: &str) -> VmName {
    VmName::new(behaviour).unwrap()
}

fn spec(behaviour: &str) -> VmSpec {
    VmSpec {
        name: name(behaviour),
        cpus: 1,
        memory_mib: 64,
        memory: MemoryPages::Base,
        disks: Vec::new(),
        boot: Boot::Firmware(None),
        accelerator: Accelerator::Tcg,
    }
}

impl Rig {
    fn spec(&self, behaviour: &str, disks: &[&str]) -> VmSpec {
        let socket = self.folder.path().join("disk.sock");
        let disk = |controller: &&str| VmDisk {
            kind: DiskKind::VirtioBlk,
            controller: (*controller).into(),
            socket: socket.clone(),
            queues: 1,
        };
        VmSpec { disks: disks.iter().map(disk).collect(), ..spec(behaviour) }
    }

    fn start(&self, behaviour: &str) -> Result<VmStatus, VmError> {
        self.runner.create(self.spec(behaviour, &["disk"])).unwrap();
        self.runner.start(&name(behaviour))?;
        self.runner.get(&name(behaviour))
    }

    fn refused(&self, behaviour: &str) -> String {
        let error = self.start(behaviour).unwrap_err();
        assert_eq!(self.runner.get(&name(behaviour)).unwrap().state, VmState::Crashed);
        self.assert_nothing_left(behaviour);
        error.to_string()
    }

    fn stopped(&self, behaviour: &str, powerdown: Option<Duration>) -> String {
        self.start(behaviour).unwrap();
        self.runner.stop(&name(behaviour), powerdown).unwrap();
        let status = self.runner.get(&name(behaviour)).unwrap();
        assert_eq!(status.state, VmState::Stopped);
        self.assert_nothing_left(behaviour);
        status.ending.unwrap().reason
    }

    /// Status of a VM that has ended by itself.
    fn ended(&self, behaviour: &str) -> VmStatus {
        let _ = self.start(behaviour);
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut status = self.runner.get(&name(behaviour)).unwrap();
        while status.state.is_alive() {
            assert!(Instant::now() < deadline, "{behaviour} never ended");
            std::thread::sleep(Duration::from_millis(5));
            status = self.runner.get(&name(behaviour)).unwrap();
        }
        self.assert_nothing_left(behaviour);
        status
    }

    fn assert_nothing_left(&self, behaviour: &str) {
        assert_eq!(self.runner.user_of("disk"), None);
        assert!(!self.folder.path().join(behaviour).exists());
    }
}

fn process_exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_vm_is_created_started_stopped_started_again_and_deleted() {
    let Some(rig) = rig() else { return };
    let runner = &rig.runner;
    runner.create(rig.spec("good", &["disk"])).unwrap();
    assert_eq!(runner.get(&name("good")).unwrap().state, VmState::Created);
    for _ in 0..2 {
        runner.start(&name("good")).unwrap();
        let status = runner.get(&name("good")).unwrap();
        assert_eq!(status.state, VmState::Running);
        assert_eq!(runner.user_of("disk"), Some(name("good")));
        assert!(process_exists(status.pid.unwrap()));
        assert!(matches!(runner.delete(&name("good")), Err(VmError::State { .. })));
        assert!(matches!(runner.start(&name("good")), Err(VmError::State { .. })));
        runner.stop(&name("good"), None).unwrap();
        assert!(!process_exists(status.pid.unwrap()));
        assert!(matches!(runner.stop(&name("good"), None), Err(VmError::State { .. })));
    }
    let ending = runner.get(&name("good")).unwrap().ending.unwrap();
    assert_eq!(ending.reason, "the guest powered off when it was asked to (exit status: 0)");
    runner.delete(&name("good")).unwrap();
    assert_eq!(runner.list(), Vec::new());
    assert_eq!(runner.start(&name("good")), Err(VmError::Unknown("good".into())));
}

#[test]
fn the_text_of_the_console_is_kept_after_the_end() {
    let Some(rig) = rig() else { return };
    let socket = rig.start("good").unwrap().console.unwrap();
    let mut console = UnixStream::connect(socket).unwrap();
    console.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    console.write_all(b"hello\n").unwrap();
    let lines: Vec<String> = BufReader::new(&console).lines().take(2).map(Result::unwrap).collect();
    assert_eq!(lines, ["login:", "you said hello"]);
    rig.runner.stop(&name("good"), None).unwrap();
    assert_eq!(rig.runner.console_text(&name("good")).unwrap(), b"login:\nyou said hello\n");
}

#[test]
fn other_files_in_the_folder_of_a_vm_stay() {
    let Some(rig) = rig() else { return };
    let folder = rig.folder.path().join("good");
    std::fs::create_dir_all(folder.join("images")).unwrap();
    std::fs::write(folder.join("images/disk.img"), "precious").unwrap();
    rig.start("good").unwrap();
    rig.runner.stop(&name("good"), None).unwrap();
    assert_eq!(std::fs::read_to_string(folder.join("images/disk.img")).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "sockets were left behind");
}

#[test]
fn a_stale_socket_is_replaced() {
    let Some(rig) = rig() else { return };
    let folder = rig.folder.path().join("good");
    std::fs::create_dir(&folder).unwrap();
    drop(UnixListener::bind(folder.join("console.sock")).unwrap());
    rig.start("good").unwrap();
    rig.runner.stop(&name("good"), None).unwrap();
    rig.assert_nothing_left("good");
}

#[test]
fn a_file_in_place_of_the_folder_or_a_socket_is_named_in_the_error() {
    let Some(rig) = rig() else { return };
    let file = rig.folder.path().join("good");
    std::fs::write(&file, "precious").unwrap();
    let error = rig.start("good").unwrap_err().to_string();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let socket = rig.folder.path().join("other/console.sock");
    std::fs::create_dir(socket.parent().unwrap()).unwrap();
    std::fs::write(&socket, "precious").unwrap();
    let error = rig.start("other").unwrap_err().to_string();
    assert!(error.contains(socket.to_str().unwrap()), "{error}");
    assert!(error.contains("not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn a_name_that_is_too_long_for_its_sockets_is_refused_at_creation() {
    let Some(rig) = rig() else { return };
    let room = 107 - rig.folder.path().as_os_str().len() - "//console.sock".len();
    let deep = rig.folder.path().join("d".repeat(room - 5));
    let config = config(&deep, Timeouts::default());
    let runner = VmRunner::new(config, Reaper::of_own_children());
    runner.create(spec("good")).unwrap();
    runner.start(&name("good")).unwrap();
    runner.stop(&name("good"), None).unwrap();
    let error = runner.create(spec("other")).unwrap_err();
    assert!(matches!(error, VmError::Path(_)), "{error}");
    assert!(error.to_string().contains("-S"), "{error}");
}

#[test]
fn a_disk_is_used_by_one_running_vm_at_a_time() {
    let Some(rig) = rig() else { return };
    rig.start("good").unwrap();
    rig.runner.create(rig.spec("other", &["another", "disk"])).unwrap();
    let taken = VmError::DiskInUse { disk: "disk".into(), user: "good".into() };
    assert_eq!(rig.runner.start(&name("other")), Err(taken));
    rig.runner.stop(&name("good"), None).unwrap();
    rig.runner.start(&name("other")).unwrap();
    rig.runner.stop_all(None).unwrap();
    assert!(rig.runner.list().iter().all(|vm| vm.state == VmState::Stopped));
}

#[test]
fn a_qemu_whose_guest_ignores_the_power_button_is_told_to_quit_and_then_killed() {
    let timeouts = Timeouts { quit: Duration::from_secs(1), ..Timeouts::default() };
    let Some(rig) = rig_with(timeouts) else { return };
    let soon = Some(Duration::from_millis(20));
    assert!(rig.stopped("deaf", soon).contains("QEMU quit"));
    assert!(rig.stopped("stubborn", soon).contains("QEMU was killed"));
}

#[test]
fn a_crash_is_reported_with_status_last_lines_and_an_event() {
    let Some(rig) = rig() else { return };
    let events = rig.runner.events();
    let status = rig.ended("crashes");
    assert_eq!(status.state, VmState::Crashed);
    let ending = status.ending.unwrap();
    assert_eq!(ending.reason, "QEMU ended with exit status: 3");
    assert_eq!(ending.messages[8..], ["fake QEMU: error 4999", "fake QEMU: the last error"]);
    let states: Vec<VmState> = events.try_iter().map(|status| status.state).collect();
    assert_eq!(states, [VmState::Starting, VmState::Running, VmState::Crashed]);
}

#[test]
fn a_killed_vm_has_crashed_and_can_be_started_again() {
    let Some(rig) = rig() else { return };
    let pid = rig.start("good").unwrap().pid.unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while rig.runner.get(&name("good")).unwrap().state != VmState::Crashed {
        assert!(Instant::now() < deadline, "the death went unnoticed");
        std::thread::sleep(Duration::from_millis(5));
    }
    let ending = rig.runner.get(&name("good")).unwrap().ending.unwrap();
    assert_eq!(ending.reason, "QEMU ended with signal: 9 (SIGKILL)");
    rig.assert_nothing_left("good");
    rig.runner.start(&name("good")).unwrap();
    rig.runner.stop_all(None).unwrap();
}

#[test]
fn a_guest_that_powers_off_by_itself_has_stopped() {
    let Some(rig) = rig() else { return };
    let status = rig.ended("powers-off");
    assert_eq!(status.state, VmState::Stopped);
    assert_eq!(status.ending.unwrap().reason, "the guest powered off");
}

#[test]
fn a_qemu_that_does_not_come_up_is_an_error_that_says_why() {
    let Some(rig) = rig_with(Timeouts { start: Duration::from_millis(300), ..Timeouts::default() }) else {
        return;
    };
    assert!(
        rig.refused("refuses")
            .ends_with("exit status: 1 before it was up; fake QEMU: there is no such machine")
    );
    assert!(rig.refused("mute").contains("did not answer 'greeting' in time"));
    assert!(rig.refused("hangs-up").contains("closed its control socket"));
    assert!(rig.refused("rude").contains("how do you do"));
}

#[test]
fn a_vm_can_be_stopped_while_it_is_starting() {
    let Some(rig) = rig() else { return };
    rig.runner.create(rig.spec("mute", &["disk"])).unwrap();
    let runner = rig.runner.clone();
    let starting = std::thread::spawn(move || runner.start(&name("mute")));
    let deadline = Instant::now() + Duration::from_secs(20);
    while rig.runner.get(&name("mute")).unwrap().pid.is_none() {
        assert!(Instant::now() < deadline, "it never started");
        std::thread::sleep(Duration::from_millis(5));
    }
    let before = Instant::now();
    rig.runner.stop(&name("mute"), None).unwrap();
    assert!(before.elapsed() < Duration::from_secs(10), "the stop waited for the start");
    assert!(starting.join().unwrap().is_err());
    rig.assert_nothing_left("mute");
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let Some(rig) = rig() else { return };
    rig.runner.create(spec("good")).unwrap();
    assert_eq!(rig.runner.create(spec("good")), Err(VmError::Exists("good".into())));
}

#[test]
fn missing_hugepages_are_an_error_before_the_start() {
    let Some(rig) = rig() else { return };
    let huge = VmSpec { memory: MemoryPages::Huge, memory_mib: 8 << 20, ..spec("good") };
    rig.runner.create(huge).unwrap();
    assert!(matches!(rig.runner.start(&name("good")), Err(VmError::Hugepages { .. })));
    assert_eq!(rig.runner.get(&name("good")).unwrap().state, VmState::Created);
}
