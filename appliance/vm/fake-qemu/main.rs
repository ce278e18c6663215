//! Fake QEMU for the tests of the runner: implements a few QMP commands, and misbehaves as the name of
//! its VM says.

#![expect(unsafe_code, reason = "file descriptors by their numbers")]

mod attempts;

use serde_json::{Value, json};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::exit;
use std::thread;

fn main() {
    let words: Vec<String> = env::args().collect();
    if words.iter().any(|word| word == "-version") {
        println!("QEMU emulator version 11.1.3 (fake)");
        return;
    }
    let behaviour = after(&words, "guest=").unwrap_or_default();
    if behaviour == "refuses" {
        fail("fake QEMU: there is no such machine", 1);
    }
    let (Some(qmp), Some(serial)) = (socket(&words, "id=qmp,fd="), socket(&words, "id=serial,fd=")) else {
        fail("fake QEMU: no sockets", 2)
    };
    match behaviour.as_str() {
        "mute" => sleep_for_ever(),
        "hangs-up" => drop(qmp),
        "rude" => send(&qmp, &json!("how do you do")),
        _ => serve(&qmp, serial, &words),
    }
    sleep_for_ever();
}

/// Text after `mark` in the first word that contains it, up to a comma.
fn after(words: &[String], mark: &str) -> Option<String> {
    let rest = words.iter().find_map(|word| word.split_once(mark))?.1;
    rest.split(',').next().map(str::to_owned)
}

/// File descriptor whose number follows `mark`.
fn descriptor(words: &[String], mark: &str) -> Option<OwnedFd> {
    let number = after(words, mark)?.parse().ok()?;
    // SAFETY: the parent gives this descriptor for this purpose, and each one is asked for once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

fn socket(words: &[String], mark: &str) -> Option<UnixStream> {
    descriptor(words, mark).map(UnixStream::from)
}

fn send(mut stream: &UnixStream, value: &Value) {
    if stream.write_all(format!("{value}\r\n").as_bytes()).is_err() {
        exit(9);
    }
}

fn serve(qmp: &UnixStream, serial: UnixStream, words: &[String]) {
    let behaviour = after(words, "guest=").unwrap_or_default();
    send(qmp, &json!({ "QMP": { "version": {}, "capabilities": [] } }));
    let mut serial = Some(serial);
    for line in BufReader::new(qmp).lines() {
        let Ok(line) = line else { exit(9) };
        let command: Value = serde_json::from_str(&line).unwrap_or_default();
        match (command["execute"].as_str().unwrap_or_default(), behaviour.as_str()) {
            ("cont", _) => {
                send(qmp, &json!({ "event": "RESUME" }));
                send(qmp, &json!({ "return": {} }));
                if let Some(serial) = serial.take() {
                    run(qmp, serial, words);
                }
            }
            ("system_powerdown", "good" | "other") => {
                send(qmp, &json!({ "return": {} }));
                power_off(qmp);
            }
            ("quit", "stubborn") => {}
            ("quit", _) => {
                send(qmp, &json!({ "return": {} }));
                exit(0);
            }
            _ => send(qmp, &json!({ "return": {} })),
        }
    }
}

/// Runs the guest.
fn run(qmp: &UnixStream, serial: UnixStream, words: &[String]) {
    match after(words, "guest=").unwrap_or_default().as_str() {
        "glutton" => attempts::take_memory(),
        name if name.starts_with("captive") => attempts::report(&serial, words),
        "crashes" => {
            (0..5000).for_each(|number| eprintln!("fake QEMU: error {number}"));
            fail("fake QEMU: the last error", 3);
        }
        "powers-off" => power_off(qmp),
        "loses-control" => {
            let _ = qmp.shutdown(std::net::Shutdown::Both);
            sleep_for_ever();
        }
        _ => drop(thread::spawn(move || echo(&serial))),
    }
}

fn power_off(qmp: &UnixStream) {
    send(qmp, &json!({ "event": "POWERDOWN" }));
    send(qmp, &json!({ "event": "SHUTDOWN", "data": { "guest": true, "reason": "guest-shutdown" } }));
    exit(0);
}

/// Runs a guest that prints a prompt and then repeats each line that is typed.
fn echo(serial: &UnixStream) {
    let mut out = serial;
    let _ = writeln!(out, "login:");
    for line in BufReader::new(serial).lines().map_while(Result::ok) {
        let _ = writeln!(out, "you said {line}");
    }
}

fn fail(text: &str, code: i32) -> ! {
    eprintln!("{text}");
    exit(code)
}

fn sleep_for_ever() -> ! {
    loop {
        thread::park();
    }
}
