//! Test of reaping orphans, in a process that the kernel gives orphans to. Alone in its process, because
//! it reaps all children.

use luge_init::Reaper;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, set_child_subreaper, waitid};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn orphans_are_reaped_and_each_child_has_its_own_exit_status() {
    set_child_subreaper(Some(Pid::INIT)).unwrap();
    let reaper = Reaper::of_everybody().unwrap();
    let start = |script: &str| {
        let mut command = Command::new("/bin/sh");
        reaper.spawn(command.args(["-c", script]).stdin(Stdio::null())).unwrap()
    };
    let children: Vec<_> = (1..5).map(|code| start(&format!("sleep 0.05 & sleep 0 & exit {code}"))).collect();
    for (child, code) in children.iter().zip(1..) {
        assert_eq!(child.wait().code(), Some(code));
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::All, peek).err() != Some(Errno::CHILD) {
        assert!(Instant::now() < deadline, "an orphan was never reaped");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(start("exit 9").wait().code(), Some(9));
}
