//! One thread per live VM: starts its QEMU, watches it, stops it, says how it ended.
//!
//! Invariants
//! - The thread lives exactly as long as the process, which is killed with it.
//! - Every wait has a deadline or ends with the process.
//! - However a life ends, its sockets and its process are gone before its end is told.
//!
//! Not here: which VMs there are (`runner`), QEMU's words (`arguments`, `qmp`).

use crate::arguments::{Executor, Sockets, arguments};
use crate::child::Child;
use crate::console::Console;
use crate::qemu::Qemu;
use crate::qmp::{Qmp, QmpError};
use crate::runner::Timeouts;
use crate::vm::Vm;
use crate::{Ending, VmState};
use luge_init::Reaper;
use luge_socket::{Permissions, Socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{debug, warn};

/// Lines of QEMU's own messages in the report of an end.
const MESSAGES: usize = 10;
/// A QEMU that answers at all answers a command within this.
const COMMAND_LIMIT: Duration = Duration::from_secs(5);

/// One life of a VM.
pub(crate) struct Life {
    pub(crate) vm: Arc<Vm>,
    pub(crate) qemu: Arc<Qemu>,
    pub(crate) executor: Executor,
    pub(crate) folder: PathBuf,
    pub(crate) reaper: Reaper,
    pub(crate) timeouts: Timeouts,
}

impl Life {
    /// From the start of the process to its end. Returns when the VM's state says how it ended.
    pub(crate) fn live(self) {
        let (state, ending) = self.birth_to_death();
        // Somebody else's files in it stay, and so does it.
        let _ = fs::remove_dir(&self.folder);
        if state == VmState::Crashed && !ending.messages.is_empty() {
            warn!("VM {}: the last words of QEMU: {}", self.vm.spec.name, ending.messages.join(" | "));
        }
        self.vm.set_ended(state, ending);
    }

    fn birth_to_death(&self) -> (VmState, Ending) {
        let crashed = |reason: String, messages| (VmState::Crashed, Ending { reason, messages });
        let doors = match self.open_doors() {
            Ok(doors) => doors,
            Err(error) => return crashed(error, Vec::new()),
        };
        let child = match self.give_birth() {
            Ok(child) => child,
            Err(error) => return crashed(format!("QEMU could not be started: {error}"), Vec::new()),
        };
        self.vm.set_process(Arc::clone(&child.ward), &self.folder);
        let (state, reason) = match self.bring_up(&child, doors) {
            Ok((qmp, console)) => {
                self.vm.set_running();
                let end = self.watch(&child, qmp);
                drop(console);
                end
            }
            Err(reason) => self.abandon(&child, reason),
        };
        // Shown only after it has been killed or has ended: the log is complete.
        (state, Ending { reason, messages: child.log.last_lines(MESSAGES) })
    }

    /// Makes the folder and its sockets. Those of an earlier life are replaced; other files stay.
    fn open_doors(&self) -> Result<Doors, String> {
        fs::create_dir_all(&self.folder)
            .map_err(|error| format!("its folder {} cannot be made: {error}", self.folder.display()))?;
        let bind = |path: &Path| Socket::bind(path, &Permissions::OWNER).map_err(|error| error.to_string());
        let sockets = Sockets::of(&self.folder);
        Ok(Doors {
            qmp: bind(&sockets.qmp)?,
            serial: bind(&sockets.serial)?,
            console: bind(&Vm::console_path(&self.folder))?,
        })
    }

    fn give_birth(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.qemu.path);
        command.args(arguments(&self.vm.spec, &Sockets::of(&self.folder), &self.qemu, self.executor));
        Child::start(command, &self.reaper)
    }

    /// QEMU connects to our sockets, is greeted, and its CPUs are let go.
    fn bring_up(&self, child: &Child, doors: Doors) -> Result<(Qmp, Console), String> {
        let deadline = Instant::now() + self.timeouts.start;
        let text = |error: QmpError| error.to_string();
        let qmp = accept(&doors.qmp, child, deadline)?;
        let serial = accept(&doors.serial, child, deadline)?;
        let mut qmp = Qmp::greet(qmp, deadline).map_err(text)?;
        let console = Console::serve(serial, doors.console, self.vm.console_text())
            .map_err(|error| format!("its console cannot be served: {error}"))?;
        qmp.execute("cont", deadline).map_err(text)?;
        Ok((qmp, console))
    }

    /// The process never came up: it is killed, if it has not ended by itself.
    fn abandon(&self, child: &Child, reason: String) -> (VmState, String) {
        let ended = child.ward.wait_until(Instant::now() + Duration::from_millis(500));
        child.ward.signal(rustix::process::Signal::KILL);
        let status = child.ward.wait();
        match (self.vm.stop_asked(), ended) {
            (Some(_), _) => (VmState::Stopped, "stopped while it was starting".into()),
            (None, Some(_)) => (VmState::Crashed, format!("QEMU ended with {status} before it was up")),
            (None, None) => (VmState::Crashed, reason),
        }
    }

    fn watch(&self, child: &Child, qmp: Qmp) -> (VmState, String) {
        let mut watch = Watch { life: self, child, qmp: Some(qmp), guest_off: false, stop: None };
        // Together with the answer to the last command more may have come.
        watch.hear();
        while !watch.turn() {}
        watch.hear_the_rest();
        let status = child.ward.wait();
        match (&watch.stop, watch.guest_off) {
            (Some(stop), _) => (VmState::Stopped, format!("{} ({status})", stop.step.done())),
            (None, true) if status.success() => (VmState::Stopped, "the guest powered off".into()),
            _ => (VmState::Crashed, format!("QEMU ended with {status}")),
        }
    }
}

/// Where we wait for the QEMU of a VM, and for the watchers of its console.
struct Doors {
    qmp: Socket,
    serial: Socket,
    console: Socket,
}

/// Waits until the child connects, ends, or is too late.
fn accept(door: &Socket, child: &Child, deadline: Instant) -> Result<UnixStream, String> {
    let mut fds = [
        PollFd::new(door.listener(), PollFlags::IN),
        PollFd::from_borrowed_fd(child.ward.ended(), PollFlags::IN),
    ];
    wait(&mut fds, Some(deadline)).map_err(|error| error.to_string())?;
    if !fds[0].revents().is_empty() {
        let (stream, _) = door.listener().accept().map_err(|error| error.to_string())?;
        return Ok(stream);
    }
    if fds[1].revents().is_empty() {
        Err("QEMU did not connect in time".into())
    } else {
        Err("QEMU ended".into())
    }
}

/// Waits for one of `fds`, or for the deadline.
fn wait(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(fds, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// The escalation of a stop, each step with its own deadline.
///
/// ```text
///   (asked) --> PowerDown --> Quit --> Kill
/// ```
/// A step is passed over when QEMU refuses it, and followed by the next one when its time is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The guest was asked by its power button.
    PowerDown,
    /// QEMU was asked.
    Quit,
    /// Nobody was asked.
    Kill,
}

impl Step {
    const fn done(self) -> &'static str {
        match self {
            Self::PowerDown => "the guest powered off when it was asked to",
            Self::Quit => "the guest did not power off in time, and QEMU quit",
            Self::Kill => "neither the guest nor QEMU ended in time, and QEMU was killed",
        }
    }
}

struct Stop {
    step: Step,
    deadline: Instant,
}

struct Watch<'a> {
    life: &'a Life,
    child: &'a Child,
    /// `None` once it has failed.
    qmp: Option<Qmp>,
    guest_off: bool,
    stop: Option<Stop>,
}

impl Watch<'_> {
    /// Waits for one thing to happen and reacts. `true` when the process has ended.
    fn turn(&mut self) -> bool {
        let wake = self.life.vm.wake();
        let mut fds = vec![PollFd::from_borrowed_fd(self.child.ward.ended(), PollFlags::IN)];
        fds.push(PollFd::from_borrowed_fd(wake, PollFlags::IN));
        fds.extend(self.qmp.iter().map(|qmp| PollFd::from_borrowed_fd(qmp.as_fd(), PollFlags::IN)));
        if let Err(error) = wait(&mut fds, self.stop.as_ref().map(|stop| stop.deadline)) {
            warn!("VM {}: {error}", self.life.vm.spec.name);
            self.child.ward.signal(rustix::process::Signal::KILL);
            return true;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready.get(2) == Some(&true) {
            self.hear();
        }
        if ready[1] {
            let _ = rustix::io::read(wake, &mut [0; 8]);
        }
        self.advance_stop();
        ready[0]
    }

    /// Takes in what QEMU says of its own accord.
    fn hear(&mut self) {
        let Some(qmp) = &mut self.qmp else { return };
        let heard = qmp.receive();
        while let Some(event) = qmp.take_event() {
            debug!("VM {}: {} {}", self.life.vm.spec.name, event.name, event.data);
            self.guest_off |= event.name == "SHUTDOWN" && event.data["guest"] == true;
        }
        match heard {
            Ok(()) => {}
            Err(error) => self.lose_control(&error),
        }
    }

    /// What QEMU said just before it ended: at most what it may have in flight.
    fn hear_the_rest(&mut self) {
        for _ in 0..64 {
            self.hear();
        }
    }

    /// A QEMU that does not speak to us is on its way out, or else is sent there.
    fn lose_control(&mut self, error: &QmpError) {
        self.qmp = None;
        if self.child.ward.wait_until(Instant::now() + COMMAND_LIMIT).is_none() {
            warn!("VM {}: {error}; it cannot be controlled any more and is killed", self.life.vm.spec.name);
            self.child.ward.signal(rustix::process::Signal::KILL);
        }
    }

    fn advance_stop(&mut self) {
        let now = Instant::now();
        match &self.stop {
            None => {
                if let Some(powerdown) = self.life.vm.stop_asked() {
                    self.life.vm.set_stopping();
                    self.enter(Step::PowerDown, now + powerdown);
                }
            }
            Some(stop) if stop.deadline <= now => match stop.step {
                Step::PowerDown => self.enter(Step::Quit, now + self.life.timeouts.quit),
                Step::Quit | Step::Kill => self.enter(Step::Kill, now + self.life.timeouts.quit),
            },
            Some(_) => {}
        }
    }

    fn enter(&mut self, step: Step, deadline: Instant) {
        self.stop = Some(Stop { step, deadline });
        let done = match step {
            Step::PowerDown => self.say("system_powerdown", deadline),
            Step::Quit => self.say("quit", deadline),
            Step::Kill => {
                self.child.ward.signal(rustix::process::Signal::KILL);
                Ok(())
            }
        };
        if let Err(error) = done {
            debug!("VM {}: {error}", self.life.vm.spec.name);
            self.stop = Some(Stop { step, deadline: Instant::now() });
        }
    }

    fn say(&mut self, command: &str, deadline: Instant) -> Result<(), QmpError> {
        let qmp = self.qmp.as_mut().ok_or(QmpError::Closed)?;
        qmp.execute(command, deadline.min(Instant::now() + COMMAND_LIMIT)).map(drop)
    }
}
