//! Supervisor: a thread for each running VM, which starts QEMU, monitors it, stops it, and reports its
//! end.
//!
//! Invariants
//! - The process is killed when the thread ends.
//! - Each wait has a deadline or ends with the process.
//! - Process, sockets and cgroup are gone before the end is reported.
//!
//! Not here: the list of VMs (`runner`), QEMU's command line (`arguments`) and protocol (`qmp`).

use crate::arguments::{Descriptors, arguments, own_files};
use crate::child::Child;
use crate::config::Timeouts;
use crate::console::Console;
use crate::lent::LentSockets;
use crate::memory::VmMemory;
use crate::qemu::{Executor, Qemu};
use crate::qmp::{Qmp, QmpError};
use crate::sandbox::{Bounds, Cgroup, Cgroups, Program, Sandbox, User};
use crate::state::VmState;
use crate::status::VmExit;
use crate::vm::{Vm, VmProcess};
use luge_init::Reaper;
use luge_socket::{Permissions, Socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
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
    pub(crate) user: User,
    /// Cgroups of VMs, if this machine has them.
    pub(crate) cgroups: Option<Arc<Cgroups>>,
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
        let process = match self.start() {
            Ok(process) => process,
            Err(reason) => {
                let stopped = self.vm.requested_stop().is_some();
                let state = if stopped { VmState::Stopped } else { VmState::Crashed };
                return (state, VmExit { reason, messages: Vec::new() });
            }
        };
        let child = &process.child;
        let (state, reason) = match self.bring_up(process.ends, &process.memory) {
            Ok((qmp, console)) => {
                self.vm.set_running();
                let end = self.monitor(child, qmp);
                drop(console);
                end
            }
            Err(reason) => self.give_up(child, reason),
        };
        // The process has ended by now, so the log is complete.
        (state, VmExit { reason, messages: child.log.last_lines(MESSAGES) })
    }

    /// Makes all that the VM needs and starts QEMU.
    fn start(&self) -> Result<Process, String> {
        let spec = &self.vm.spec;
        let console = self.listen()?;
        let goes_on = || self.vm.requested_stop().is_none();
        let memory =
            VmMemory::make(spec.memory_mib, spec.memory, goes_on).map_err(|error| error.to_string())?;
        let no_socket = |error: io::Error| format!("no sockets for QEMU: {error}");
        let (qmp, its_qmp) = UnixStream::pair().map_err(no_socket)?;
        let (serial, its_serial) = UnixStream::pair().map_err(no_socket)?;
        let descriptors =
            Descriptors { qmp: its_qmp.as_fd(), serial: its_serial.as_fd(), memory: memory.as_fd() };
        let program = Program {
            path: &self.qemu.path,
            arguments: arguments(spec, descriptors, &self.qemu, self.executor),
            descriptors: vec![descriptors.qmp, descriptors.serial, descriptors.memory],
        };
        let cgroup = self.cgroup()?;
        let cgroup_path = cgroup.as_ref().map(|cgroup| cgroup.path().to_owned());
        let sandbox =
            self.sandbox(cgroup).map_err(|error| format!("its sandbox cannot be described: {error}"))?;
        let lent = LentSockets::lend(&spec.disks, self.user)?;
        let child = Child::start(&program, &sandbox, &self.reaper)
            .map_err(|error| format!("QEMU could not be started: {error}"))?;
        self.vm.set_process(VmProcess {
            process: Arc::clone(&child.process),
            user: self.user.uid(),
            cgroup: cgroup_path,
            console: Vm::console_path(&self.folder),
        });
        Ok(Process { child, ends: Ends { qmp, serial, console }, memory, _sandbox: sandbox, _lent: lent })
    }

    /// Makes the folder and the console's socket. A stale socket is replaced; other files stay.
    fn listen(&self) -> Result<Socket, String> {
        fs::create_dir_all(&self.folder)
            .map_err(|error| format!("its folder {} cannot be made: {error}", self.folder.display()))?;
        Socket::bind(&Vm::console_path(&self.folder), &Permissions::OWNER).map_err(|error| error.to_string())
    }

    fn cgroup(&self) -> Result<Option<Cgroup>, String> {
        let Some(cgroups) = &self.cgroups else { return Ok(None) };
        let spec = &self.vm.spec;
        let cgroup = cgroups.make(&format!("vm-{}", spec.name), Bounds::of_vm(spec.cpus, spec.memory_mib));
        cgroup.map(Some).map_err(|error| format!("its cgroup cannot be made: {error}"))
    }

    fn sandbox(&self, cgroup: Option<Cgroup>) -> io::Result<Sandbox> {
        let mut sandbox = self.qemu.sandbox(self.user)?;
        if self.executor == Executor::Kvm {
            sandbox.add_kvm()?;
        }
        for file in own_files(&self.vm.spec) {
            sandbox.add_file(file.source, &file.target)?;
        }
        cgroup.into_iter().for_each(|cgroup| sandbox.set_cgroup(cgroup));
        Ok(sandbox)
    }

    /// Opens QMP, starts the console and lets the CPUs run. QEMU has mapped the memory when it answers.
    fn bring_up(&self, ends: Ends, memory: &VmMemory) -> Result<(Qmp, Console), String> {
        let deadline = Instant::now() + self.timeouts.start;
        let text = |error: QmpError| error.to_string();
        let mut qmp = Qmp::open(ends.qmp, deadline).map_err(text)?;
        let console = Console::serve(ends.serial, ends.console, self.vm.console_text())
            .map_err(|error| format!("its console cannot be served: {error}"))?;
        memory.seal().map_err(|error| format!("its memory cannot be sealed: {error}"))?;
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

/// A process of QEMU and what it uses. Fields are dropped in their order: the process ends first.
struct Process {
    child: Child,
    ends: Ends,
    memory: VmMemory,
    /// With the cgroup.
    _sandbox: Sandbox,
    _lent: LentSockets,
}

/// Our ends of QEMU's connections, and the socket for clients of the console.
struct Ends {
    qmp: UnixStream,
    serial: UnixStream,
    console: Socket,
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
