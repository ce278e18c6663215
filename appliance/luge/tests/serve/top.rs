//! `luge top` at a pseudo terminal.

use crate::daemon::{Daemon, LUGE, TIMEOUT, command, failure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::json;
use std::collections::BTreeMap;
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
        Self { terminal: terminal.into(), top: top.spawn().unwrap(), written: Vec::new() }
    }

    fn types(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until a row of the screen has `text`.
    fn sees(&mut self, text: &str) {
        self.reads_until(text, |written| Screen::after(written).rows().iter().any(|row| row.contains(text)));
    }

    /// Waits until the terminal was left as it had been.
    fn sees_the_end(&mut self) {
        self.reads_until("the end", |written| written.contains(LEFT));
        assert!(self.top.wait().unwrap().success());
    }

    fn reads_until(&mut self, what: &str, done: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !done(&String::from_utf8_lossy(&self.written)) {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
            let ready = poll(&mut [PollFd::new(&self.terminal, PollFlags::IN)], Some(&left)).unwrap();
            let written = String::from_utf8_lossy(&self.written);
            assert!(ready > 0, "{what:?} was never shown, but {:#?}", Screen::after(&written).rows());
            let mut buffer = [0; 4096];
            let count = self.terminal.read(&mut buffer).unwrap();
            self.written.extend(&buffer[..count]);
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.top.kill();
        let _ = self.top.wait();
    }
}

/// Sequence that leaves the alternate screen.
const LEFT: &str = "\x1b[?1049l";

/// Screen of a terminal that knows the sequences of `luge top`.
#[derive(Default)]
struct Screen {
    cells: BTreeMap<usize, BTreeMap<usize, char>>,
    row: usize,
    column: usize,
}

impl Screen {
    /// Screen after a text, of which the end may be missing.
    fn after(text: &str) -> Self {
        let mut screen = Self::default();
        let mut parts = text.split("\x1b[");
        screen.print(parts.next().unwrap_or_default());
        for part in parts {
            let Some(end) = part.find(|one: char| one.is_ascii_alphabetic()) else { break };
            screen.apply(&part[..end], &part[end..=end]);
            screen.print(&part[end + 1..]);
        }
        screen
    }

    fn apply(&mut self, parameters: &str, sequence: &str) {
        let mut numbers = parameters.split(';').map(|number| number.parse().unwrap_or(1));
        let mut number = || numbers.next().unwrap_or(1);
        match sequence {
            "H" => (self.row, self.column) = (number(), number()),
            "C" => self.column += number(),
            "J" => self.cells.clear(),
            _ => {}
        }
    }

    fn print(&mut self, text: &str) {
        for character in text.chars() {
            self.cells.entry(self.row).or_default().insert(self.column, character);
            self.column += 1;
        }
    }

    fn rows(&self) -> Vec<String> {
        let text = |row: &BTreeMap<usize, char>| {
            let width = row.keys().max().map_or(0, |last| last + 1);
            (0..width).map(|column| row.get(&column).copied().unwrap_or(' ')).collect()
        };
        self.cells.values().map(text).collect()
    }
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
    user.sees_the_end();
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
    user.sees_the_end();
}

#[test]
fn without_a_terminal_top_says_what_to_use() {
    let said = failure(&["top"]);
    assert!(said.contains("needs a terminal") && said.contains("luge rpc"), "{said}");
}
