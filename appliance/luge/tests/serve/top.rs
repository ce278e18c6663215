//! `luge top` at a pseudo terminal.

use crate::daemon::{Daemon, LUGE, TIMEOUT, command, failure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Child;
use std::time::Instant;

/// A user of `luge top`.
struct User {
    terminal: File,
    top: Child,
    written: Vec<u8>,
    /// Number of characters that were waited for.
    seen: usize,
}

impl User {
    /// Starts `luge top` at a terminal of a size.
    fn at(socket: &Path, columns: u16, rows: u16) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let device = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let mut top = command(LUGE);
        top.args(["top", "-s"]).arg(socket);
        top.stdin(device.try_clone().unwrap()).stdout(device);
        Self { terminal: terminal.into(), top: top.spawn().unwrap(), written: Vec::new(), seen: 0 }
    }

    fn types(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` has been written after what was seen before.
    fn sees(&mut self, text: &str) {
        let deadline = Instant::now() + TIMEOUT;
        let found = |user: &Self| plain(&user.written).get(user.seen..).and_then(|new| new.find(text));
        while found(self).is_none() {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
            let ready = poll(&mut [PollFd::new(&self.terminal, PollFlags::IN)], Some(&left)).unwrap();
            assert!(ready > 0, "{text:?} was never shown, but {:?}", plain(&self.written));
            let mut buffer = [0; 4096];
            let count = self.terminal.read(&mut buffer).unwrap();
            self.written.extend(&buffer[..count]);
        }
        self.seen += found(self).unwrap() + text.len();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.top.kill();
        let _ = self.top.wait();
    }
}

/// End of the alternate screen, as [`plain`] shows it.
const LEFT: &str = "?1049l";

/// Text on a terminal: a space for a movement of the cursor, and the parameters of changes of its mode.
fn plain(written: &[u8]) -> String {
    let mut parts = written.split(|byte| *byte == 0x1b);
    let mut text = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    for part in parts {
        let Some(end) = part.iter().position(u8::is_ascii_alphabetic) else { break };
        match part[end] {
            b'm' => {}
            b'h' | b'l' => text.push_str(&String::from_utf8_lossy(&part[1..=end])),
            _ => text.push(' '),
        }
        text.push_str(&String::from_utf8_lossy(&part[end + 1..]));
    }
    text
}

#[test]
fn top_shows_volumes_and_leaves_the_terminal_as_it_was() {
    let luge = Daemon::start();
    luge.call("bdev_malloc_create", json!({"name": "m0", "num_blocks": 2048, "block_size": 512}));
    let mut user = User::at(&luge.socket(), 80, 24);
    user.sees("VOLUME");
    user.sees("m0");
    user.types("3");
    user.sees("ENDPOINT");
    user.types("q");
    user.sees(LEFT);
    assert!(user.top.wait().unwrap().success());
}

#[test]
fn top_outlives_a_luge_that_goes_away_and_comes_back() {
    let mut luge = Daemon::start();
    let folder = luge.folder.path().to_owned();
    let socket = luge.socket();
    let mut user = User::at(&socket, 80, 24);
    user.types("-");
    user.sees("CPU");
    luge.signal(Signal::TERM);
    luge.exit_code();
    user.sees("no Luge answers at");
    let again = Daemon::within(tempfile::tempdir().unwrap(), &[]);
    std::os::unix::fs::symlink(again.socket(), folder.join("rpc.sock")).unwrap();
    again.call("bdev_malloc_create", json!({"name": "back", "num_blocks": 2048, "block_size": 512}));
    user.sees("back");
}

#[test]
fn a_signal_restores_the_terminal() {
    let luge = Daemon::start();
    let mut user = User::at(&luge.socket(), 20, 10);
    user.sees("luge top needs");
    kill_process(Pid::from_child(&user.top), Signal::TERM).unwrap();
    user.sees(LEFT);
    assert!(user.top.wait().unwrap().success());
}

#[test]
fn without_a_terminal_top_says_what_to_use() {
    let said = failure(&["top"]);
    assert!(said.contains("needs a terminal") && said.contains("luge rpc"), "{said}");
}
