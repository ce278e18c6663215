//! `luge serve`: an ordinary daemon on a Linux host.

use crate::appliance::{Appliance, Plan, StartError};
use crate::cli::Serve;
use crate::config::{Config, ConfigError};
use crate::cpus::{Cpus, CpusError};
use crate::hugepages::{self, HugepagesError};
use crate::log::Log;
use crate::methods;
use crate::service_manager::ServiceManager;
use crate::trace;
use luge_core::{Ceiling, Descriptors};
use luge_init::Reaper;
use luge_memory::PageSize;
use luge_rpc::RpcError;
use luge_socket::Permissions;
use luge_trace::{FileError, Kind, record};
use luge_vm::{SandboxConfig, Timeouts, VmConfig};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use thiserror::Error;

/// Time limit for the last log entries.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Error of `luge serve`.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Wrong CPUs.
    #[error(transparent)]
    Cpus(#[from] CpusError),
    /// Too little memory.
    #[error(transparent)]
    Memory(#[from] HugepagesError),
    /// Unusable folder for sockets.
    #[error("vhost-user sockets cannot be made in {path}: {source}; name a folder that exists (-S)")]
    Sockets {
        /// Path of the folder.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// Unusable folder for VMs.
    #[error("{path} cannot be used for VMs: {source}; name a folder that exists (--vm-cgroup, --vm-files)")]
    VmFolder {
        /// Path of the folder.
        path: PathBuf,
        /// Error of the kernel.
        source: io::Error,
    },
    /// Unusable file for the trace.
    #[error(transparent)]
    Trace(#[from] FileError),
    /// Wrong configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Failed start of a part.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Failed call of the configuration.
    #[error("the configuration cannot be loaded: {0}")]
    Load(RpcError),
    /// Other error of the kernel.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Event that the main thread waits for.
enum Event {
    /// A signal to stop.
    Stop(i32),
    /// Result of loading the configuration.
    Loaded(Result<(), RpcError>),
}

/// Serves until a signal to stop, which may come while the configuration is loaded. Disks are served meanwhile,
/// each as soon as its SSD is there.
///
/// # Errors
/// [`ServeError`]; nothing is served any more then.
pub fn run(args: &Serve) -> Result<(), ServeError> {
    let log = Log::to_stderr();
    let (sender, events) = channel();
    send_stop_signals(sender.clone())?;
    let manager = ServiceManager::of_environment();
    let plan = plan(args)?;
    trace::start(args.trace.as_deref(), plan.cpus.iter().map(|core| core.0))?;
    let appliance = Appliance::start(plan, log)?;
    manager.watch(appliance.host().control.clone())?;
    if args.wait_for_rpc {
        announce(args, &manager)?;
    } else {
        load(&appliance, sender)?;
    }
    let ending = serve(args, &manager, &events);
    manager.stopping();
    appliance.stop();
    if ending.is_ok() {
        tracing::info!("stopped");
    }
    record(&luge_trace::Event::of_text(Kind::STOPPED, ""));
    ending
}

/// Loads the configuration on a thread of its own, as an SSD may be slow.
fn load(appliance: &Appliance, loaded: Sender<Event>) -> io::Result<()> {
    let (host, dispatcher) = (appliance.host().clone(), appliance.dispatcher().clone());
    let load = move || {
        // Nobody receives only where the process is ending already.
        let _ = loaded.send(Event::Loaded(methods::start_init(&host, &dispatcher)));
    };
    std::thread::Builder::new().name("configuration".into()).spawn(load).map(drop)
}

/// Waits for the end: a signal, or a configuration that cannot be loaded.
fn serve(args: &Serve, manager: &ServiceManager, events: &Receiver<Event>) -> Result<(), ServeError> {
    loop {
        // A sender lives as long as the process.
        match events.recv().unwrap_or(Event::Stop(SIGTERM)) {
            Event::Stop(signal) => {
                tracing::info!("signal {signal}: stopping");
                return Ok(());
            }
            Event::Loaded(Ok(())) => announce(args, manager)?,
            Event::Loaded(Err(error)) => return Err(ServeError::Load(error)),
        }
    }
}

fn plan(args: &Serve) -> Result<Plan, ServeError> {
    let allowed = Cpus::allowed()?;
    let cpus = args.cpus.as_deref().map_or_else(|| Ok(allowed.first()), str::parse)?;
    cpus.check(&allowed)?;
    let pages = if args.no_huge { PageSize::Base } else { PageSize::Huge2MiB };
    let budget = hugepages::budget(pages, args.memory_mib)?;
    let config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    let (sockets, rpc_socket) = (folder(args)?, args.rpc_socket.clone());
    let vms = VmConfig {
        folder: sockets.join("vm"),
        qemu: None,
        firmware_folder: None,
        trial_kernel: None,
        sandbox: SandboxConfig {
            first_user: args.vm_users,
            cgroup: args.vm_cgroup.as_deref().map(vm_folder).transpose()?,
            files: args.vm_files.iter().map(|path| vm_folder(path)).collect::<Result<_, _>>()?,
        },
        timeouts: Timeouts::default(),
    };
    let reaper = Reaper::of_own_children();
    Ok(Plan {
        cpus,
        pages,
        descriptors: Descriptors::of_this_process(Ceiling::HardLimit),
        budget,
        pr_scope: args.pr_scope,
        sockets,
        socket_permissions: Permissions::GROUP.or(args.socket_mode, args.socket_group),
        rpc_socket,
        rpc_socket_permissions: Permissions::OWNER.or(args.rpc_socket_mode, args.rpc_socket_group),
        last_words: None,
        vms,
        reaper,
        config,
    })
}

/// Absolute path of a folder for VMs.
fn vm_folder(path: &Path) -> Result<PathBuf, ServeError> {
    let error = |source| ServeError::VmFolder { path: path.to_owned(), source };
    let path = path.canonicalize().map_err(error)?;
    if path.parent().is_none() {
        return Err(error(io::Error::other("it is the root folder")));
    }
    if path.is_dir() { Ok(path) } else { Err(error(io::ErrorKind::NotADirectory.into())) }
}

fn folder(args: &Serve) -> Result<PathBuf, ServeError> {
    let error = |source| ServeError::Sockets { path: args.sockets.clone(), source };
    let path = args.sockets.canonicalize().map_err(error)?;
    if path.is_dir() { Ok(path) } else { Err(error(io::ErrorKind::NotADirectory.into())) }
}

/// Tells the service manager that Luge serves, and the parent process by a line.
fn announce(args: &Serve, manager: &ServiceManager) -> io::Result<()> {
    manager.ready();
    let state = if args.wait_for_rpc { "waits for framework_start_init" } else { "is ready" };
    let mut out = io::stdout().lock();
    writeln!(out, "luge {state}: RPC on {}", args.rpc_socket.display())?;
    out.flush()
}

/// Sends the first signal to stop as an event; ends the process at the second.
fn send_stop_signals(sender: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1])?;
    let watch = move || {
        let mut signals = signals.forever();
        if let Some(first) = signals.next() {
            // Nobody receives only where the process is ending already.
            let _ = sender.send(Event::Stop(first));
        }
        if let Some(second) = signals.next() {
            end_at_once(second);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(watch).map(drop)
}

/// Ends the process. Logs that only if the log takes it in time: a log without a reader may be
/// what blocks the stop.
fn end_at_once(signal: i32) -> ! {
    let (sender, said) = channel();
    let say = move || {
        tracing::error!("signal {signal} while stopping: ending at once");
        let _ = sender.send(());
    };
    if std::thread::Builder::new().name("last words".into()).spawn(say).is_ok() {
        let _ = said.recv_timeout(LAST_WORDS);
    }
    std::process::exit(1)
}
