//! A program that poses as QEMU: it speaks just enough QMP, and misbehaves as its VM's name
//! says. It is started by the tests of the runner and by nothing else.

use serde_json::{Value, json};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::exit;
use std::thread;

fn main() {
    let words: Vec<String> = env::args().collect();
    if words.iter().any(|word| word == "-version") {
        println!("QEMU emulator version 11.1.3 (an impostor)");
        return;
    }
    let manner = after(&words, "guest=").unwrap_or_default();
    match manner.as_str() {
        "refuses" => fail("impostor: there is no such machine", 1),
        "absent" => sleep_for_ever(),
        _ => {}
    }
    let (Some(qmp), Some(serial)) = (connect(&words, "id=qmp,path="), connect(&words, "id=serial,path="))
    else {
        fail("impostor: no sockets", 2)
    };
    match manner.as_str() {
        "mute" => sleep_for_ever(),
        "hangs-up" => drop(qmp),
        "rude" => say(&qmp, &json!("how do you do")),
        _ => speak(&qmp, serial, &manner),
    }
    sleep_for_ever();
}

/// The rest of the first word that has `mark` in it, up to a comma.
fn after(words: &[String], mark: &str) -> Option<String> {
    let rest = words.iter().find_map(|word| word.split_once(mark))?.1;
    rest.split(',').next().map(str::to_owned)
}

fn connect(words: &[String], mark: &str) -> Option<UnixStream> {
    UnixStream::connect(after(words, mark)?).ok()
}

fn say(mut stream: &UnixStream, value: &Value) {
    if stream.write_all(format!("{value}\r\n").as_bytes()).is_err() {
        exit(9);
    }
}

fn speak(qmp: &UnixStream, serial: UnixStream, manner: &str) {
    say(qmp, &json!({ "QMP": { "version": {}, "capabilities": [] } }));
    let mut serial = Some(serial);
    for line in BufReader::new(qmp).lines() {
        let Ok(line) = line else { exit(9) };
        let command: Value = serde_json::from_str(&line).unwrap_or_default();
        match (command["execute"].as_str().unwrap_or_default(), manner) {
            ("cont", _) => {
                say(qmp, &json!({ "event": "RESUME" }));
                say(qmp, &json!({ "return": {} }));
                if let Some(serial) = serial.take() {
                    run(qmp, serial, manner);
                }
            }
            ("system_powerdown", "good" | "other") => {
                say(qmp, &json!({ "return": {} }));
                power_off(qmp);
            }
            ("quit", "stubborn") => {}
            ("quit", _) => {
                say(qmp, &json!({ "return": {} }));
                exit(0);
            }
            _ => say(qmp, &json!({ "return": {} })),
        }
    }
}

/// What the guest does once its CPUs run.
fn run(qmp: &UnixStream, serial: UnixStream, manner: &str) {
    match manner {
        "crashes" => {
            (0..5000).for_each(|number| eprintln!("impostor: trouble {number}"));
            fail("impostor: the last straw", 3);
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
    say(qmp, &json!({ "event": "POWERDOWN" }));
    say(qmp, &json!({ "event": "SHUTDOWN", "data": { "guest": true, "reason": "guest-shutdown" } }));
    exit(0);
}

/// A guest that greets and then repeats each line that is typed.
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
