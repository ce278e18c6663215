//! The loop of a console: reads lines, runs commands, prints results.

use super::attach::{Detached, attach};
use super::command::{Format, Line};
use super::complete::{Completion, complete};
use super::editor::{Editor, Outcome};
use super::kernel_log;
use super::keys::Decoder;
use super::last_words;
use super::methods::{Commands, MethodHelp, ParameterHelp};
use super::screen::{Screen, VisibleLine};
use super::table::{Style, clean, render, table};
use super::terminal::{Kind, Terminal};
use super::views::{Asked, Earlier, View, view};
use crate::power::{Ending, PowerSwitch};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

const PROMPT: &str = "luge> ";

/// The console's own commands: name and help.
const OWN: [(&str, &str); 9] = [
    ("help", "List the commands, or describe one: help METHOD"),
    ("top", "Watch volumes, SSDs, endpoints, VMs and cores; q leaves"),
    ("vm_console", "Connect this terminal to a virtual machine's console: vm_console NAME; Ctrl-] leaves"),
    ("host", "Show the SSDs, the hugepages, and what costs latency"),
    ("dmesg", "Show the last lines of the kernel's log: dmesg [LINES]"),
    (
        "last_words",
        "Show what a crash of this machine has left: last_words [NAME]; without a name the newest",
    ),
    ("crash", "End the machine by a panic, to try what it leaves: crash now; all disks are cut off"),
    ("reboot", "Stop all disks and virtual machines, and reboot"),
    ("poweroff", "Stop all disks and virtual machines, and switch the machine off"),
];

/// Console at a terminal.
pub struct Console {
    commands: Arc<dyn Commands>,
    power: PowerSwitch,
    terminal: Terminal,
    screen: Screen,
    style: Style,
    editor: Editor,
    /// Counters of the last look, for rates.
    earlier: Earlier,
}

/// Continuation of the loop after a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    More,
    End,
}

impl Console {
    /// Console that has not printed anything yet.
    ///
    /// # Errors
    /// The terminal's file descriptor cannot be duplicated.
    pub fn new(terminal: Terminal, commands: Arc<dyn Commands>, power: PowerSwitch) -> io::Result<Self> {
        let screen = Screen::new(terminal.output.try_clone()?, terminal.columns);
        let style = if terminal.kind == Kind::Interactive { Style::Colour } else { Style::Plain };
        Ok(Self {
            commands,
            power,
            terminal,
            screen,
            style,
            editor: Editor::default(),
            earlier: Earlier::default(),
        })
    }

    /// Screen of the console, for other output such as the log.
    #[must_use]
    pub fn screen(&self) -> Screen {
        self.screen.clone()
    }

    /// Runs commands until the input ends.
    pub fn run(mut self) {
        match self.terminal.kind {
            Kind::Interactive => {
                self.screen.print("Type help for the commands; Tab completes them.\n");
                self.run_interactive();
            }
            Kind::Batch => self.run_batch(),
        }
    }

    fn run_interactive(&mut self) {
        let mut decoder = Decoder::default();
        let mut buffer = [0; 256];
        self.draw();
        while let Some(count) = self.read(&mut buffer) {
            for byte in &buffer[..count] {
                let Some(key) = decoder.feed(*byte) else { continue };
                let outcome = self.editor.press(key);
                if self.react(outcome) == Next::End {
                    return;
                }
            }
        }
    }

    /// Runs lines without prompt or echo.
    fn run_batch(&mut self) {
        let Ok(input) = self.terminal.input.try_clone() else { return };
        for line in io::BufRead::lines(io::BufReader::new(File::from(input))).map_while(Result::ok) {
            self.run_line(&line);
        }
    }

    /// Reads input; returns the number of bytes, or `None` at its end.
    fn read(&self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            match rustix::io::read(&self.terminal.input, &mut *buffer) {
                Err(Errno::INTR) => {}
                Err(_) | Ok(0) => return None,
                Ok(count) => return Some(count),
            }
        }
    }

    fn react(&mut self, outcome: Outcome) -> Next {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Appended(character) => self.screen.append(character, self.shown()),
            Outcome::Changed => self.draw(),
            Outcome::Line(line) => {
                self.screen.finish("");
                self.run_line(&line);
                self.draw();
            }
            Outcome::Cancelled => {
                self.screen.finish("^C");
                self.draw();
            }
            Outcome::End => return Next::End,
            Outcome::Complete => self.complete(),
            Outcome::ClearScreen => {
                self.screen.finish("");
                self.screen.print("\x1b[H\x1b[2J");
                self.draw();
            }
        }
        Next::More
    }

    fn shown(&self) -> VisibleLine {
        VisibleLine::of(PROMPT, self.editor.line(), self.editor.cursor(), self.screen.columns())
    }

    fn draw(&self) {
        self.screen.show(self.shown());
    }

    fn complete(&mut self) {
        let own: Vec<&str> = OWN.iter().map(|(name, _)| *name).collect();
        match complete(&self.editor.before_cursor(), &self.commands.methods(), &own) {
            Completion::None => self.screen.ring(),
            Completion::Text(text) => {
                self.editor.insert(&text);
                self.draw();
            }
            Completion::Choices(choices) => self.screen.print(&in_columns(&choices, self.screen.columns())),
        }
    }

    fn run_line(&mut self, text: &str) {
        let Some(line) = Line::parse(text) else { return };
        let result = match line.command.as_str() {
            "help" => self.help(&line.rest),
            "top" => self.top(),
            "vm_console" => self.vm_console(&line.rest),
            "dmesg" => dmesg(&line.rest),
            "last_words" => self.last_words(&line.rest),
            "crash" => crash(&line.rest),
            "reboot" => Ok(self.end(Ending::Reboot)),
            "poweroff" => Ok(self.end(Ending::PowerOff)),
            "host" => self.call(&Line { command: "luge_get_host".to_owned(), ..line }),
            _ => self.call(&line),
        };
        match result {
            Ok(text) if text.is_empty() => {}
            Ok(text) => self.screen.print(&format!("{text}\n")),
            Err(reason) => {
                self.screen.print(&format!("{}\n", self.style.failure(&format!("error: {reason}"))))
            }
        }
    }

    fn call(&mut self, line: &Line) -> Result<String, String> {
        let method = self.method(&line.command)?;
        let params = line.params(&method)?;
        let result = self.commands.call(&method.name, params);
        let value = result.map_err(|error| format!("{} (code {})", clean(&error.message), error.code))?;
        match line.format {
            Format::Json => serde_json::to_string_pretty(&value).map_err(|error| error.to_string()),
            Format::Table => Ok(self.show(line, &value)),
        }
    }

    /// Text of a result: in its view, if it has one.
    fn show(&mut self, line: &Line, result: &Value) -> String {
        let asked = if line.rest.is_empty() { Asked::All } else { Asked::Some };
        match view(&line.command, asked, result, &mut self.earlier) {
            Some(view) => self.text_of(&view),
            None => render(result, self.style, self.screen.columns()),
        }
    }

    fn text_of(&self, view: &View) -> String {
        let (style, columns) = (self.style, self.screen.columns());
        let rows: Vec<_> = view.rows.iter().collect();
        let mut parts = Vec::new();
        if !view.pairs.is_empty() {
            parts.push(render(&view.pairs.clone().into(), style, columns));
        }
        parts.push(if rows.is_empty() { "(none)".to_owned() } else { table(&rows, style, columns) });
        parts.extend(view.note.clone());
        parts.join("\n")
    }

    fn method(&self, name: &str) -> Result<MethodHelp, String> {
        let found = self.commands.methods().into_iter().find(|method| method.name == name);
        found.ok_or_else(|| format!("there is no command '{}': help lists those there are", clean(name)))
    }

    fn help(&self, name: &str) -> Result<String, String> {
        if let Some((_, help)) = OWN.iter().find(|(own, _)| *own == name) {
            return Ok((*help).to_owned());
        }
        if !name.is_empty() {
            return self.method(name).map(|method| describe(&method, self.style));
        }
        let methods = self.commands.methods();
        let lines = methods.iter().map(|method| (method.name.as_str(), method.help.as_str())).chain(OWN);
        let width = lines.clone().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text: Vec<String> = lines
            .map(|(name, help)| {
                format!("{}{}  {help}", self.style.strong(name), " ".repeat(width - name.len()))
            })
            .collect();
        text.push(
            "A command is METHOD name=value ..., or METHOD {JSON}; --json at its end shows JSON.".into(),
        );
        Ok(text.join("\n"))
    }

    fn end(&self, ending: Ending) -> String {
        self.power.ask(ending, "the console");
        String::new()
    }

    fn top(&self) -> Result<String, String> {
        if self.terminal.kind == Kind::Batch {
            return Err("this needs a terminal: bdev_get_iostat shows the numbers as text".into());
        }
        let held = self.screen.hold();
        let shown = self.commands.top(&self.terminal);
        drop(held);
        shown.map(|()| String::new())
    }

    fn last_words(&self, name: &str) -> Result<String, String> {
        let kept = self.commands.call(last_words::METHOD, Value::Null);
        last_words::text(&kept.map_err(|error| clean(&error.message))?, name)
    }

    fn vm_console(&self, name: &str) -> Result<String, String> {
        if self.terminal.kind == Kind::Batch {
            return Err("this needs a terminal: connect to the socket that vm_get_vms shows".into());
        }
        if name.is_empty() {
            return Err("name a virtual machine: vm_console NAME; vm_get_vms lists them".into());
        }
        let vms = self.commands.call("vm_get_vms", json!({ "name": name }));
        let vms = vms.map_err(|error| clean(&error.message))?;
        let socket = console_of(&vms, name)
            .ok_or_else(|| format!("VM '{}' has no console now: start it first (vm_start)", clean(name)))?;
        self.screen.print(&format!("The console of {}. Ctrl-] leaves it.\n", clean(name)));
        let failed = |error: io::Error| format!("{}: {error}", socket.display());
        let mut output = self.screen.clone();
        let detached = attach(self.terminal.input.as_fd(), &mut output, &socket).map_err(failed)?;
        Ok(match detached {
            Detached::EscapeKey | Detached::TerminalClosed => "\nBack on the sled.".into(),
            Detached::VmClosed => "\nThe virtual machine is gone. Back on the sled.".into(),
        })
    }
}

/// Socket of a VM's console, from the result of `vm_get_vms`.
fn console_of(vms: &Value, name: &str) -> Option<PathBuf> {
    let vm = vms.as_array()?.iter().find(|vm| vm["name"] == name)?;
    vm["console"].as_str().map(PathBuf::from)
}

fn dmesg(lines: &str) -> Result<String, String> {
    let count = match lines {
        "" => 100,
        number => number
            .parse()
            .map_err(|_| format!("'{}' is not a number of lines: dmesg 20, for example", clean(number)))?,
    };
    let lines = kernel_log::last_lines(count).map_err(|error| format!("/dev/kmsg: {error}"))?;
    Ok(lines.join("\n"))
}

/// Panics.
fn crash(when: &str) -> Result<String, String> {
    assert!(when != "now", "the console has asked for a crash");
    Err("this cuts off all disks and reboots: type crash now, if that is what you want".into())
}

fn describe(method: &MethodHelp, style: Style) -> String {
    let title = |parameter: &ParameterHelp| format!("{}={}", parameter.name, parameter.kind.to_uppercase());
    let width = method.parameters.iter().map(|parameter| title(parameter).len()).max().unwrap_or(0);
    let mut lines = vec![format!("{}: {}", style.strong(&method.name), method.help)];
    for parameter in &method.parameters {
        let title = title(parameter);
        let space = " ".repeat(width - title.len());
        let need = if parameter.required { "" } else { " (optional)" };
        lines.push(format!("  {title}{space}  {}{need}", parameter.help));
    }
    lines.join("\n")
}

/// Words side by side, in as many columns as fit.
fn in_columns(words: &[String], columns: usize) -> String {
    let width = words.iter().map(String::len).max().unwrap_or(0) + 2;
    let per_line = (columns / width).max(1);
    let line = |words: &[String]| {
        let cells: String = words.iter().map(|word| format!("{word:width$}")).collect();
        cells.trim_end().to_owned()
    };
    words.chunks(per_line).map(line).collect::<Vec<_>>().join("\n")
}
