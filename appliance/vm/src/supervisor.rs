//! Supervisor: a thread for each running VM, which starts QEMU, monitors it, stops it, and reports its
//! end.
//!
//! Invariants
//! - The process is killed when the thread ends.
//! - Each wait has a deadline or ends with the process.
//! - Process and sockets are gone before the end is reported.
//!
//! Not here: the list of VMs (`runner`), QEMU's command line (`arguments`) and protocol (`qmp`).

use crate::arguments::{Sockets, arguments};
use crate::child::Child;
use crate::config::Timeouts;
use crate::console::Console;
use crate::qemu::{Executor, Qemu};
use crate::qmp::{Qmp, QmpError};
use crate::state::VmState;
use crate::status::VmExit;
use crate::vm::Vm;
use luge_init::Reaper;
use luge_socket::{Permissions, Socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{debug, warn};

/// Number of lines of QEMU's output in the report on its end.
const MESSAGES: usize = 10;
/// Time limit for QEMU to answer a command, or to end after it closed its control socket.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// Supervisor of one process of a VM.
pub(crate) struct Supervisor {
    pub(crate) vm: Arc<Vm>,
    pub(crate) qemu: Arc<Qemu>,
    pub(crate) executor: Executor,
    pub(crate) folder: PathBuf,
    pub(crate) reaper: Reaper,
    pub(crate) timeouts: Timeouts,
}

impl Supervisor {
    /// Runs the VM from the start of its process to the end.
    pub(crate) fn run(self) {
        let (state, exit) = self.run_process();
        // Fails if the folder has files of others, which stay.
        let _ = fs::remove_dir(&self.folder);
        if state == VmState::Crashed && !exit.messages.is_empty() {
            warn!("VM {}: the last output of QEMU: {}", self.vm.spec.name, exit.messages.join(" | "));
        }
        self.vm.set_ended(state, exit);
    }

    fn run_process(&self) -> (VmState, VmExit) {
        let crashed = |reason: String, messages| (VmState::Crashed, VmExit { reason, messages });
        let listeners = match self.listen() {
            Ok(listeners) => listeners,
            Err(error) => return crashed(error, Vec::new()),
        };
        let child = match self.start_qemu() {
            Ok(child) => child,
            Err(error) => return crashed(format!("QEMU could not be started: {error}"), Vec::new()),
        };
        self.vm.set_process(Arc::clone(&child.process), &self.folder);
        let (state, reason) = match self.bring_up(&child, listeners) {
            Ok((qmp, console)) => {
                self.vm.set_running();
                let end = self.monitor(&child, qmp);
                drop(console);
                end
            }
            Err(reason) => self.give_up(&child, reason),
        };
        // The process has ended by now, so the log is complete.
        (state, VmExit { reason, messages: child.log.last_lines(MESSAGES) })
    }

    /// Makes the folder and its sockets. Stale sockets are replaced; other files stay.
    fn listen(&self) -> Result<Listeners, String> {
        fs::create_dir_all(&self.folder)
            .map_err(|error| format!("its folder {} cannot be made: {error}", self.folder.display()))?;
        let bind = |path: &Path| Socket::bind(path, &Permissions::OWNER).map_err(|error| error.to_string());
        let sockets = Sockets::of(&self.folder);
        Ok(Listeners {
            qmp: bind(&sockets.qmp)?,
            serial: bind(&sockets.serial)?,
            console: bind(&Vm::console_path(&self.folder))?,
        })
    }

    fn start_qemu(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.qemu.path);
        command.args(arguments(&self.vm.spec, &Sockets::of(&self.folder), &self.qemu, self.executor));
        Child::start(command, &self.reaper)
    }

    /// Accepts QEMU's connections, opens QMP, starts the console and lets the CPUs run.
    fn bring_up(&self, child: &Child, listeners: Listeners) -> Result<(Qmp, Console), String> {
        let deadline = Instant::now() + self.timeouts.start;
        let text = |error: QmpError| error.to_string();
        let qmp = accept(&listeners.qmp, child, deadline)?;
        let serial = accept(&listeners.serial, child, deadline)?;
        let mut qmp = Qmp::open(qmp, deadline).map_err(text)?;
        let console = Console::serve(serial, listeners.console, self.vm.console_text())
            .map_err(|error| format!("its console cannot be served: {error}"))?;
        qmp.execute("cont", deadline).map_err(text)?;
        Ok((qmp, console))
    }

    /// Kills a process that did not come up, unless it ends by itself.
    fn give_up(&self, child: &Child, reason: String) -> (VmState, String) {
        let ended = child.process.wait_until(Instant::now() + Duration::from_millis(500));
        child.process.signal(Signal::KILL);
        let status = child.process.wait();
        match (self.vm.requested_stop(), ended) {
            (Some(_), _) => (VmState::Stopped, "stopped while it was starting".into()),
            (None, Some(_)) => (VmState::Crashed, format!("QEMU ended with {status} before it was up")),
            (None, None) => (VmState::Crashed, reason),
        }
    }

    /// Monitors the process until it ends; returns the state and the reason.
    fn monitor(&self, child: &Child, qmp: Qmp) -> (VmState, String) {
        let mut monitor =
            Monitor { supervisor: self, child, qmp: Some(qmp), has_powered_off: false, stop: None };
        // Events may have arrived with the answer to the last command.
        monitor.receive_events();
        while !monitor.wait_and_react() {}
        monitor.receive_last_events();
        let status = child.process.wait();
        match (&monitor.stop, monitor.has_powered_off) {
            (Some(stop), _) => (VmState::Stopped, format!("{} ({status})", stop.step.outcome())),
            (None, true) if status.success() => (VmState::Stopped, "the guest powered off".into()),
            _ => (VmState::Crashed, format!("QEMU ended with {status}")),
        }
    }
}

/// Sockets for QEMU's connections, and for clients of the console.
struct Listeners {
    qmp: Socket,
    serial: Socket,
    console: Socket,
}

/// Accepts a connection of the child. Waits until it connects or ends, at most until `deadline`.
fn accept(socket: &Socket, child: &Child, deadline: Instant) -> Result<UnixStream, String> {
    let mut fds = [
        PollFd::new(socket.listener(), PollFlags::IN),
        PollFd::from_borrowed_fd(child.process.ended(), PollFlags::IN),
    ];
    wait(&mut fds, Some(deadline)).map_err(|error| error.to_string())?;
    if !fds[0].revents().is_empty() {
        let (stream, _) = socket.listener().accept().map_err(|error| error.to_string())?;
        return Ok(stream);
    }
    if fds[1].revents().is_empty() {
        Err("QEMU did not connect in time".into())
    } else {
        Err("QEMU ended".into())
    }
}

/// Waits for an event of `fds`, at most until `deadline`.
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

/// Step of a stop, with a deadline for each.
///
/// ```text
///              1               2          2
///   (running) ---> PowerDown ----> Quit ----> Kill
/// ```
/// 1. a stop is requested; 2. QEMU refuses the command of the step, or its deadline has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The guest's power button was pressed.
    PowerDown,
    /// QEMU was told to quit.
    Quit,
    /// QEMU was killed.
    Kill,
}

impl Step {
    /// Reason of the process's end after this step.
    const fn outcome(self) -> &'static str {
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

/// Monitor of a running process.
struct Monitor<'a> {
    supervisor: &'a Supervisor,
    child: &'a Child,
    /// Connection to QEMU; `None` after it failed.
    qmp: Option<Qmp>,
    /// Whether the guest has powered off.
    has_powered_off: bool,
    stop: Option<Stop>,
}

impl Monitor<'_> {
    /// Waits for an event and reacts to it; returns whether the process has ended.
    fn wait_and_react(&mut self) -> bool {
        let wake = self.supervisor.vm.wake();
        let mut fds = vec![PollFd::from_borrowed_fd(self.child.process.ended(), PollFlags::IN)];
        fds.push(PollFd::from_borrowed_fd(wake, PollFlags::IN));
        fds.extend(self.qmp.iter().map(|qmp| PollFd::from_borrowed_fd(qmp.as_fd(), PollFlags::IN)));
        if let Err(error) = wait(&mut fds, self.stop.as_ref().map(|stop| stop.deadline)) {
            warn!("VM {}: {error}", self.supervisor.vm.spec.name);
            self.child.process.signal(Signal::KILL);
            return true;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready.get(2) == Some(&true) {
            self.receive_events();
        }
        if ready[1] {
            let _ = rustix::io::read(wake, &mut [0; 8]);
        }
        self.advance_stop();
        ready[0]
    }

    /// Receives events of QEMU.
    fn receive_events(&mut self) {
        let Some(qmp) = &mut self.qmp else { return };
        let received = qmp.receive();
        while let Some(event) = qmp.next_event() {
            debug!("VM {}: {} {}", self.supervisor.vm.spec.name, event.name, event.data);
            self.has_powered_off |= event.name == "SHUTDOWN" && event.data["guest"] == true;
        }
        if let Err(error) = received {
            self.lose_control(&error);
        }
    }

    /// Receives events that QEMU sent before it ended, up to a limit.
    fn receive_last_events(&mut self) {
        for _ in 0..64 {
            self.receive_events();
        }
    }

    /// Kills a QEMU whose control socket has failed, unless it ends by itself.
    fn lose_control(&mut self, error: &QmpError) {
        self.qmp = None;
        if self.child.process.wait_until(Instant::now() + COMMAND_TIMEOUT).is_none() {
            let name = &self.supervisor.vm.spec.name;
            warn!("VM {name}: {error}; QEMU cannot be controlled any more and is killed");
            self.child.process.signal(Signal::KILL);
        }
    }

    fn advance_stop(&mut self) {
        let now = Instant::now();
        match &self.stop {
            None => {
                if let Some(powerdown) = self.supervisor.vm.requested_stop() {
                    self.supervisor.vm.set_stopping();
                    self.enter(Step::PowerDown, now + powerdown);
                }
            }
            Some(stop) if stop.deadline <= now => match stop.step {
                Step::PowerDown => self.enter(Step::Quit, now + self.supervisor.timeouts.quit),
                Step::Quit | Step::Kill => self.enter(Step::Kill, now + self.supervisor.timeouts.quit),
            },
            Some(_) => {}
        }
    }

    fn enter(&mut self, step: Step, deadline: Instant) {
        self.stop = Some(Stop { step, deadline });
        let result = match step {
            Step::PowerDown => self.execute("system_powerdown", deadline),
            Step::Quit => self.execute("quit", deadline),
            Step::Kill => {
                self.child.process.signal(Signal::KILL);
                Ok(())
            }
        };
        if let Err(error) = result {
            debug!("VM {}: {error}", self.supervisor.vm.spec.name);
            self.stop = Some(Stop { step, deadline: Instant::now() });
        }
    }

    fn execute(&mut self, command: &str, deadline: Instant) -> Result<(), QmpError> {
        let qmp = self.qmp.as_mut().ok_or(QmpError::Closed)?;
        qmp.execute(command, deadline.min(Instant::now() + COMMAND_TIMEOUT)).map(drop)
    }
}
