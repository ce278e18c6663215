//! Tests of the console at a pseudo terminal and with a pipe as its input.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_init::{
    Commands, Console, Ending, MethodError, MethodHelp, ParameterHelp, PowerRequest, PowerSwitch, Screen,
    Terminal,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A few methods.
struct Methods;

fn parameter(name: &str, kind: &str, required: bool) -> ParameterHelp {
    ParameterHelp { name: name.into(), kind: kind.into(), required, help: format!("The {name}") }
}

impl Commands for Methods {
    fn methods(&self) -> Vec<MethodHelp> {
        let method = |name: &str, parameters| MethodHelp {
            name: name.into(),
            help: format!("Does {name}"),
            parameters,
        };
        vec![
            method("bdev_get_bdevs", vec![parameter("name", "string", false)]),
            method(
                "bdev_null_create",
                vec![parameter("name", "string", true), parameter("num_blocks", "number", true)],
            ),
            method("vm_get_vms", vec![parameter("name", "string", false)]),
        ]
    }

    fn call(&self, method: &str, params: Value) -> Result<Value, MethodError> {
        match method {
            "bdev_get_bdevs" if params.is_null() => Ok(json!([
                { "name": "nvme0n1", "block_size": 4096, "num_blocks": 262_144 },
                { "name": "m0", "block_size": 512, "num_blocks": 1_048_576 }
            ])),
            "bdev_null_create" => Ok(params),
            "vm_get_vms" => {
                Ok(json!([{ "name": "vm", "console": std::env::temp_dir().join("luge-no-such-socket") }]))
            }
            _ => Err(MethodError {
                code: -19,
                message: "there is no bdev \u{1b}[2Jx: bdev_get_bdevs lists them".into(),
            }),
        }
    }

    fn top(&self, terminal: &Terminal) -> Result<(), String> {
        rustix::io::write(terminal.output(), b"a full screen\n").unwrap();
        let mut key = [0];
        rustix::io::read(terminal.input(), &mut key).unwrap();
        Ok(())
    }
}

/// A user at a pseudo terminal.
struct User {
    terminal: File,
    seen: String,
    screen: Screen,
    requests: Receiver<PowerRequest>,
    console: Option<JoinHandle<()>>,
}

fn user() -> User {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let (power, requests) = PowerSwitch::new();
    let device = Terminal::open(Path::new(name.to_str().unwrap())).unwrap();
    let console = Console::new(device, Arc::new(Methods), power).unwrap();
    let screen = console.screen();
    let console = Some(std::thread::spawn(move || console.run()));
    User { terminal: File::from(terminal), seen: String::new(), screen, requests, console }
}

impl User {
    fn types(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` has been shown; returns the output since the last call, up to its end.
    fn sees(&mut self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(at) = self.seen.find(text) {
                return self.seen.drain(..at + text.len()).collect();
            }
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
            let ready = poll(&mut [PollFd::new(&self.terminal, PollFlags::IN)], Some(&left)).unwrap();
            assert!(ready > 0, "{text:?} was never shown, but {:?}", self.seen);
            let mut buffer = [0; 1024];
            let count = self.terminal.read(&mut buffer).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // Cancel the line, then end the input.
        let _ = self.terminal.write_all(b"\x03\x04");
        let ended = self.console.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the console ended badly");
    }
}

#[test]
fn the_log_waits_while_a_full_screen_view_is_shown() {
    let mut user = user();
    user.sees("luge> ");
    user.types("top\r");
    user.sees("a full screen");
    user.screen.print("an entry of the log\n");
    user.types("q");
    let shown = user.sees("luge> ");
    assert!(shown.contains("an entry of the log\r\n"), "{shown:?}");
}

#[test]
fn a_command_is_echoed_and_its_result_is_a_table() {
    let mut user = user();
    user.sees("luge> ");
    user.types("bdev_get_bdevs\r");
    let shown = user.sees("\rluge> ");
    assert!(shown.contains("bdev_get_bdevs\r\n"), "{shown:?}");
    assert!(shown.contains("nvme0n1     1 GiB  4.00 KiB  no    -     -   -\r\n"), "{shown:?}");
}

#[test]
fn tab_completes_commands_and_parameters_and_lists_choices() {
    let mut user = user();
    user.sees("luge> ");
    user.types("b\t");
    user.sees("bdev_");
    user.types("\t");
    user.sees("bdev_get_bdevs    bdev_null_create\r\n");
    user.types("n\tna\tx nu\t5 --json\r");
    let shown = user.sees("}");
    assert!(shown.contains("\"name\": \"x\""), "{shown:?}");
    assert!(shown.contains("\"num_blocks\": 5"), "{shown:?}");
}

#[test]
fn a_command_that_fails_prints_its_error_and_the_next_one_works() {
    let mut user = user();
    user.types("bdev_get_bdevs name=x\r");
    let shown = user.sees("(code -19)");
    assert!(shown.contains("error: there is no bdev ?[2Jx: bdev_get_bdevs lists them"), "{shown:?}");
    user.types("nonsense a=1\r");
    user.sees("there is no command 'nonsense': help lists those there are");
    user.types("vm_console vm\r");
    user.sees("error: ");
    user.types("\x1b[A\x1b[A\x15bdev_null_create {\"name\": \"y\"}\r");
    user.sees("y\r\n");
}

#[test]
fn help_lists_everything_and_describes_one_method() {
    let mut user = user();
    user.types("help\r");
    let shown = user.sees("--json at its end shows JSON.");
    for name in ["bdev_get_bdevs", "vm_get_vms", "poweroff", "dmesg", "vm_console"] {
        assert!(shown.contains(name), "{name} {shown:?}");
    }
    user.types("help bdev_null_create\r");
    user.sees("  name=STRING        The name\r\n  num_blocks=NUMBER  The num_blocks\r\n");
}

#[test]
fn ctrl_c_cancels_the_line_and_other_output_appears_above_it() {
    let mut user = user();
    user.sees("luge> ");
    user.types("bdev_");
    user.sees("bdev_");
    user.screen.print("something happened\n");
    user.sees("something happened\r\n");
    user.sees("luge> bdev_");
    user.types("\x03");
    user.sees("^C\r\n");
    user.sees("luge> ");
}

#[test]
fn poweroff_is_requested_in_the_name_of_the_console() {
    let mut user = user();
    user.types("poweroff\r");
    let request = user.requests.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(request, PowerRequest { ending: Ending::PowerOff, from: "the console".into() });
    user.sees("luge> ");
}

#[test]
fn a_batch_gets_results_without_prompt_echo_or_colour() {
    let (input, mut typed) = std::io::pipe().unwrap();
    let (mut shown, output) = std::io::pipe().unwrap();
    let terminal = Terminal::new(input.into(), output.into()).unwrap();
    typed.write_all(b"bdev_get_bdevs\n\nbdev_null_create name=z\nnonsense\nvm_console vm\n").unwrap();
    drop(typed);
    Console::new(terminal, Arc::new(Methods), PowerSwitch::new().0).unwrap().run();
    let mut text = String::new();
    shown.read_to_string(&mut text).unwrap();
    let expected = "\
NAME         SIZE     BLOCK  USED  KIND  ON  UUID
nvme0n1     1 GiB  4.00 KiB  no    -     -   -
m0       0.50 GiB     512 B  no    -     -   -
name  z
error: there is no command 'nonsense': help lists those there are
error: this needs a terminal: connect to the socket that vm_get_vms shows
";
    assert_eq!(text, expected);
}
