//! Tests of the loop at a pseudo terminal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_init::Terminal;
use luge_observe::{Observer, Source, SourceError};
use luge_top::{Top, run};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Source that reports each call, and does not answer before the test has ended.
struct Silent {
    called: Sender<()>,
    end: Receiver<()>,
}

impl Source for Silent {
    fn call(&mut self, _: &str, _: Value) -> Result<Value, SourceError> {
        let _ = self.called.send(());
        let _ = self.end.recv();
        Err(SourceError::Away("the test has ended".into()))
    }
}

/// A pseudo terminal: the user's side, and the program's.
fn terminal() -> (File, Terminal) {
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&user).unwrap();
    unlockpt(&user).unwrap();
    let name = ptsname(&user, Vec::new()).unwrap();
    let terminal = Terminal::open(Path::new(name.to_str().unwrap())).unwrap();
    (user.into(), terminal)
}

/// Source without an answer.
struct Away;

impl Source for Away {
    fn call(&mut self, _: &str, _: Value) -> Result<Value, SourceError> {
        Err(SourceError::Away("there is none".into()))
    }
}

fn top(terminal: &Terminal, source: Silent) -> Top<'_> {
    let observer = Observer::start(Box::new(source), Box::new(Away)).unwrap();
    Top { observer, title: "x".into(), terminal, stop: None }
}

#[test]
fn a_luge_that_does_not_answer_keeps_no_key_waiting() {
    let (mut user, terminal) = terminal();
    let ((called, calls), (_end, end)) = (channel(), channel());
    std::thread::scope(|scope| {
        let view = scope.spawn(|| run(top(&terminal, Silent { called, end })));
        calls.recv().unwrap();
        user.write_all(b"q").unwrap();
        view.join().unwrap().unwrap();
    });
}

#[test]
fn a_terminal_that_is_closed_ends_the_view() {
    let (user, terminal) = terminal();
    let ((called, calls), (_end, end)) = (channel(), channel());
    std::thread::scope(|scope| {
        let view = scope.spawn(|| run(top(&terminal, Silent { called, end })));
        calls.recv().unwrap();
        drop(user);
        view.join().unwrap().unwrap();
    });
}
