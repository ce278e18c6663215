//! All running parts: started from a plan, stopped in the opposite order.
//!
//! Not here: the origin of the plan, and the moment of the stop (`serve`, `boot`).

use crate::config::Config;
use crate::control::{Budget, Control, Platform, PrScope, Sled, SocketFolder};
use crate::cpus::Cpus;
use crate::error_log::ErrorLog;
use crate::log::Log;
use crate::methods::{self, Host};
use luge_core::{CoreHandle, Descriptors, SpawnError};
use luge_init::Reaper;
use luge_memory::{DmaSpace, PageSize};
use luge_rpc::{Dispatcher, ListenError, Server, Stage};
use luge_scsi::PortGroups;
use luge_socket::{FOLDER_LOCK, Permissions};
use luge_vfio::{Backend, SysfsRoot, Vfio};
use luge_vm::{VmConfig, VmRunner};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use thiserror::Error;

/// Limit of file descriptors below which a start warns: a disk with 256 queues takes most of that.
const DESCRIPTORS_MIN: u64 = 1024;

/// Plan of the parts to run.
pub struct Plan {
    /// CPUs that serve disks.
    pub cpus: Cpus,
    /// Page size of Luge's own memory.
    pub pages: PageSize,
    /// Budget of file descriptors.
    pub descriptors: Arc<Descriptors>,
    /// Memory that disks may take, in bytes.
    pub budget: u64,
    /// Users that share reservations, where a SCSI controller does not say otherwise.
    pub pr_scope: PrScope,
    /// Folder of vhost-user sockets.
    pub sockets: PathBuf,
    /// Permissions of vhost-user sockets.
    pub socket_permissions: Permissions,
    /// RPC socket.
    pub rpc_socket: PathBuf,
    /// Permissions of the RPC socket.
    pub rpc_socket_permissions: Permissions,
    /// Folder of what crashes have left; none of a daemon.
    pub last_words: Option<PathBuf>,
    /// Configuration of VMs.
    pub vms: VmConfig,
    /// Reaper of child processes.
    pub reaper: Reaper,
    /// Configuration to load at the start.
    pub config: Config,
}

/// Error of a start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A core cannot be started.
    #[error(transparent)]
    Core(#[from] SpawnError),
    /// The control thread cannot be started.
    #[error("cannot start the control thread: {0}")]
    Control(std::io::Error),
    /// The thread that logs failures of devices cannot be started.
    #[error("cannot start the thread that logs failed requests: {0}")]
    ErrorLog(std::io::Error),
    /// RPC socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// The running parts.
pub struct Appliance {
    host: Arc<Host>,
    dispatcher: Arc<Dispatcher>,
    server: Option<Server>,
    error_log: ErrorLog,
}

impl Appliance {
    /// Starts cores, the control thread and the RPC socket, in [`Stage::Startup`].
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(plan: Plan, log: Log) -> Result<Self, StartError> {
        plan.cpus.vacate();
        let cores = start_cores(&plan.cpus)?;
        let sockets = socket_folder(&plan);
        let (space, sysfs) = (DmaSpace::new(), SysfsRoot::default());
        let vfio = Vfio::new(sysfs.clone(), Backend::Auto, space.clone());
        let vms = VmRunner::new(plan.vms, plan.reaper);
        report_vms(&vms).map_err(StartError::Control)?;
        let (pages, pr_scope, descriptors) = (plan.pages, plan.pr_scope, plan.descriptors);
        warn_of_few_descriptors(&descriptors);
        let platform = Arc::new(Platform {
            cores,
            space,
            descriptors,
            pages,
            pr_scope,
            port_groups: PortGroups::default(),
            sockets,
            vfio,
            sysfs,
            last_words: plan.last_words,
            vms,
        });
        let sled = Sled::new(platform, Budget::new(plan.budget));
        let control = Control::start(sled).map_err(StartError::Control)?;
        let error_log = ErrorLog::start(control.clone()).map_err(StartError::ErrorLog)?;
        let host =
            Arc::new(Host { control, log: Arc::new(log), config: plan.config, loading: Mutex::default() });
        let dispatcher = methods::dispatcher(&host);
        let mut appliance = Self { host, dispatcher, server: None, error_log };
        match Server::start(&plan.rpc_socket, &plan.rpc_socket_permissions, appliance.dispatcher.clone()) {
            Ok(server) => appliance.server = Some(server),
            Err(error) => {
                appliance.stop();
                return Err(error.into());
            }
        }
        Ok(appliance)
    }

    /// Parts that methods work with.
    #[must_use]
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Dispatcher of the methods.
    #[must_use]
    pub fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.dispatcher
    }

    /// Stops all parts, after every request in flight has completed.
    pub fn stop(mut self) {
        self.dispatcher.enter(Stage::Stopping);
        drop(self.server.take());
        drop(self.error_log);
        self.host.control.stop();
    }
}

fn warn_of_few_descriptors(descriptors: &Descriptors) {
    let limit = descriptors.limit();
    if limit < DESCRIPTORS_MIN {
        tracing::warn!(
            "this process may have {limit} file descriptors, which is enough for few disks: raise its limit \
             (ulimit -Hn, LimitNOFILE=)"
        );
    }
}

fn socket_folder(plan: &Plan) -> SocketFolder {
    let lock = luge_rpc::lock_path(&plan.rpc_socket);
    let folder_lock = plan.sockets.join(FOLDER_LOCK);
    let others = [
        (plan.vms.folder.as_path(), "the folder of VMs"),
        (&plan.rpc_socket, "the RPC socket"),
        (&lock, "the lock of the RPC socket"),
        (&folder_lock, "the lock of the folder of sockets"),
    ];
    SocketFolder::new(&plan.sockets, plan.socket_permissions, &others)
}

/// Logs the events of VMs.
fn report_vms(vms: &VmRunner) -> std::io::Result<()> {
    let events = vms.events();
    let report = move || {
        for vm in events {
            let reason = vm.ending.map(|ending| format!(": {}", ending.reason)).unwrap_or_default();
            tracing::info!("VM {} is {}{reason}", vm.name, vm.state);
        }
    };
    std::thread::Builder::new().name("vm events".into()).spawn(report).map(drop)
}

fn start_cores(cpus: &Cpus) -> Result<Vec<CoreHandle>, SpawnError> {
    let mut cores = Vec::new();
    for cpu in cpus.iter() {
        match CoreHandle::spawn(cpu) {
            Ok(core) => cores.push(core),
            Err(error) => {
                cores.iter().for_each(CoreHandle::stop);
                return Err(error);
            }
        }
    }
    Ok(cores)
}
