//! VM runner: creates, starts, stops and deletes VMs.
//!
//! Invariants
//! - At most one running VM uses a disk.
//! - No lock is held during a wait for QEMU, except the one under which QEMU and KVM are probed once.
//! - Starting and stopping wait for the outcome, with a time limit.

use crate::config::{USERS, VmConfig};
use crate::error::VmError;
use crate::events::Events;
use crate::free_memory;
use crate::qemu::{Choice, Qemu};
use crate::sandbox::{Cgroups, User};
use crate::spec::{Accelerator, Boot, DiskKind, VmName, VmSpec};
use crate::state::VmState;
use crate::status::{VmExit, VmStatus};
use crate::supervisor::Supervisor;
use crate::vm::Vm;
use luge_init::Reaper;
use luge_socket::PATH_BYTES_MAX;
use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tracing::warn;

/// VMs of this process. All clones share them.
#[derive(Clone, Debug)]
pub struct VmRunner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: VmConfig,
    reaper: Reaper,
    vms: Mutex<BTreeMap<VmName, Arc<Vm>>>,
    probed: Mutex<Probed>,
    events: Events,
}

/// Results of probing QEMU, KVM and cgroups, each of which is done once.
#[derive(Default, Debug)]
struct Probed {
    qemu: Option<Arc<Qemu>>,
    automatic: Option<Choice>,
    /// `None` inside if this machine has no cgroups for VMs.
    cgroups: Option<Option<Arc<Cgroups>>>,
}

impl VmRunner {
    /// Runner without VMs.
    #[must_use]
    pub fn new(config: VmConfig, reaper: Reaper) -> Self {
        let shared = Shared {
            config,
            reaper,
            vms: Mutex::default(),
            probed: Mutex::default(),
            events: Events::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Creates a VM.
    ///
    /// # Errors
    /// A mistake in `spec`, or a name that is taken.
    pub fn create(&self, spec: VmSpec) -> Result<(), VmError> {
        spec.check()?;
        let console = Vm::console_path(&self.shared.config.folder.join(spec.name.as_str()));
        if console.as_os_str().len() > PATH_BYTES_MAX {
            return Err(VmError::Path(console));
        }
        let mut vms = self.vms();
        if vms.contains_key(&spec.name) {
            return Err(VmError::Exists(spec.name.to_string()));
        }
        let name = spec.name.clone();
        let vm = Vm::new(spec, free_user_number(&vms)?, self.shared.events.clone());
        let vm = vm.map_err(|error| VmError::system(format!("VM '{name}'"), &error))?;
        vms.insert(name, Arc::new(vm));
        Ok(())
    }

    /// Starts a VM and waits until its CPUs run, at most a little longer than
    /// [`Timeouts::start`](crate::Timeouts::start). The vhost controllers of its disks must answer
    /// meanwhile.
    ///
    /// # Errors
    /// The reason why the VM does not run.
    pub fn start(&self, name: &VmName) -> Result<(), VmError> {
        let vm = self.find(name)?;
        check_startable(&vm)?;
        let qemu = self.qemu()?;
        check_kinds(&vm.spec, &qemu)?;
        let choice = self.choose_executor(&qemu, &vm.spec);
        let cgroups = self.cgroups()?;
        free_memory::check(name, vm.spec.memory_mib, vm.spec.memory)?;
        self.claim_disks(&vm, choice.reason)?;
        let supervisor = Supervisor {
            vm: Arc::clone(&vm),
            qemu,
            executor: choice.executor,
            user: User::number(self.shared.config.sandbox.first_user, vm.user_number),
            cgroups,
            folder: self.shared.config.folder.join(name.as_str()),
            reaper: self.shared.reaper.clone(),
            timeouts: self.shared.config.timeouts,
        };
        let thread = thread::Builder::new().name(format!("vm {name}")).spawn(move || supervisor.run());
        if let Err(error) = thread {
            let reason = format!("no thread for it: {error}");
            vm.set_ended(VmState::Crashed, VmExit { reason, messages: Vec::new() });
        }
        // The supervisor has a deadline of its own; the rest is for a very slow machine.
        let deadline = Instant::now() + self.shared.config.timeouts.start + Duration::from_secs(30);
        vm.await_start(deadline).map_err(|exit| VmError::Start {
            name: name.to_string(),
            reason: [&[exit.reason], &exit.messages[..]].concat().join("; "),
        })
    }

    /// Stops a VM and waits until its process has ended. The guest's power button is pressed; after
    /// `powerdown` (by default [`Timeouts::powerdown`](crate::Timeouts::powerdown)) QEMU is told to
    /// quit, and at last it is killed.
    ///
    /// # Errors
    /// The VM does not exist, has no process, or cannot be killed.
    pub fn stop(&self, name: &VmName, powerdown: Option<Duration>) -> Result<(), VmError> {
        let vm = self.find(name)?;
        if !vm.state().is_alive() {
            return Err(state_error(&vm, "there is nothing to stop"));
        }
        self.stop_vm(&vm, powerdown)
    }

    /// Stops all running VMs at the same time, and waits until their processes have ended.
    ///
    /// # Errors
    /// Error of the first VM that could not be stopped.
    pub fn stop_all(&self, powerdown: Option<Duration>) -> Result<(), VmError> {
        let alive: Vec<Arc<Vm>> = self.vms().values().filter(|vm| vm.state().is_alive()).cloned().collect();
        let powerdown = powerdown.unwrap_or(self.shared.config.timeouts.powerdown);
        alive.iter().for_each(|vm| vm.request_stop(powerdown));
        alive.iter().try_for_each(|vm| self.await_end(vm, powerdown))
    }

    /// Deletes a VM that has no process.
    ///
    /// # Errors
    /// The VM does not exist or has a process.
    pub fn delete(&self, name: &VmName) -> Result<(), VmError> {
        let mut vms = self.vms();
        let vm = vms.get(name).ok_or_else(|| VmError::Unknown(name.to_string()))?;
        if vm.state().is_alive() {
            return Err(state_error(vm, "stop it first"));
        }
        vms.remove(name);
        Ok(())
    }

    /// Statuses of all VMs, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<VmStatus> {
        self.vms().values().map(|vm| vm.status()).collect()
    }

    /// Status of a VM.
    ///
    /// # Errors
    /// The VM does not exist.
    pub fn get(&self, name: &VmName) -> Result<VmStatus, VmError> {
        Ok(self.find(name)?.status())
    }

    /// Definitions of all VMs, sorted by name.
    #[must_use]
    pub fn specs(&self) -> Vec<VmSpec> {
        self.vms().values().map(|vm| vm.spec.clone()).collect()
    }

    /// VM with a process that uses a vhost controller as a disk.
    #[must_use]
    pub fn user_of(&self, controller: &str) -> Option<VmName> {
        let uses = |vm: &&Arc<Vm>| {
            vm.state().is_alive() && vm.spec.disks.iter().any(|disk| disk.controller == controller)
        };
        self.vms().values().find(uses).map(|vm| vm.spec.name.clone())
    }

    /// Last 64 KiB that a VM wrote to its serial console since its last start.
    ///
    /// # Errors
    /// The VM does not exist.
    pub fn console_text(&self, name: &VmName) -> Result<Vec<u8>, VmError> {
        let text = self.find(name)?.console_text();
        Ok(text.lock().unwrap_or_else(PoisonError::into_inner).bytes())
    }

    /// Receiver of all changes of VMs' states from now on.
    #[must_use]
    pub fn events(&self) -> Receiver<VmStatus> {
        self.shared.events.listen()
    }

    fn vms(&self) -> MutexGuard<'_, BTreeMap<VmName, Arc<Vm>>> {
        self.shared.vms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &VmName) -> Result<Arc<Vm>, VmError> {
        self.vms().get(name).cloned().ok_or_else(|| VmError::Unknown(name.to_string()))
    }

    /// Enters [`VmState::Starting`], unless another VM uses one of the disks.
    fn claim_disks(&self, vm: &Arc<Vm>, accelerator: String) -> Result<(), VmError> {
        let vms = self.vms();
        check_startable(vm)?;
        for user in vms.values().filter(|other| other.state().is_alive()) {
            let taken =
                |disk: &&crate::VmDisk| user.spec.disks.iter().any(|d| d.controller == disk.controller);
            if let Some(disk) = vm.spec.disks.iter().find(taken) {
                let (disk, user) = (disk.controller.clone(), user.spec.name.to_string());
                return Err(VmError::DiskInUse { disk, user });
            }
        }
        vm.set_starting(accelerator);
        Ok(())
    }

    fn stop_vm(&self, vm: &Arc<Vm>, powerdown: Option<Duration>) -> Result<(), VmError> {
        let powerdown = powerdown.unwrap_or(self.shared.config.timeouts.powerdown);
        vm.request_stop(powerdown);
        self.await_end(vm, powerdown)
    }

    fn await_end(&self, vm: &Arc<Vm>, powerdown: Duration) -> Result<(), VmError> {
        let limit = powerdown + self.shared.config.timeouts.quit * 2 + Duration::from_secs(20);
        let status = vm.wait_until(Instant::now() + limit, |state| !state.is_alive());
        if status.state.is_alive() {
            return Err(VmError::Stop { name: vm.spec.name.to_string(), waited_s: limit.as_secs() });
        }
        Ok(())
    }

    fn probed(&self) -> MutexGuard<'_, Probed> {
        self.shared.probed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn qemu(&self) -> Result<Arc<Qemu>, VmError> {
        let mut probed = self.probed();
        if let Some(qemu) = &probed.qemu {
            return Ok(Arc::clone(qemu));
        }
        let qemu = Qemu::probe(&self.shared.config, &self.shared.reaper)?;
        report_user(qemu.trial_user);
        Ok(Arc::clone(probed.qemu.insert(Arc::new(qemu))))
    }

    /// Cgroups of VMs. Where the operator has named none and none can be had, VMs run without.
    fn cgroups(&self) -> Result<Option<Arc<Cgroups>>, VmError> {
        let mut probed = self.probed();
        if let Some(cgroups) = &probed.cgroups {
            return Ok(cgroups.clone());
        }
        let cgroups = match &self.shared.config.sandbox.cgroup {
            Some(folder) => {
                let given = Cgroups::given(folder);
                Some(given.map_err(|error| VmError::system("the cgroup of VMs (--vm-cgroup)", &error))?)
            }
            None => Cgroups::own().map_err(|error| report_no_cgroups(&error)).ok(),
        };
        Ok(probed.cgroups.insert(cgroups.map(Arc::new)).clone())
    }

    /// Chooses the executor of a VM. KVM is tried once in the life of this process.
    fn choose_executor(&self, qemu: &Qemu, spec: &VmSpec) -> Choice {
        let kernel = match (&self.shared.config.trial_kernel, &spec.boot) {
            (Some(kernel), _) | (None, Boot::Kernel { kernel, .. }) => Some(kernel.as_path()),
            (None, Boot::Firmware(_)) => None,
        };
        let choose = || qemu.choose_executor(spec.accelerator, kernel, &self.shared.reaper);
        if spec.accelerator == Accelerator::Auto && kernel.is_some() {
            self.probed().automatic.get_or_insert_with(choose).clone()
        } else {
            choose()
        }
    }
}

/// Smallest number of a user that no VM has.
fn free_user_number(vms: &BTreeMap<VmName, Arc<Vm>>) -> Result<u32, VmError> {
    let is_free = |number: &u32| vms.values().all(|vm| vm.user_number != *number);
    (1..USERS).find(is_free).ok_or(VmError::TooManyVms(vms.len()))
}

/// Says in the log how far a daemon that is not root's can separate its VMs.
fn report_user(user: User) {
    if user == User::Ours {
        warn!(
            "Luge is not root: its VMs run as its own user, {}, each in namespaces of its own; run Luge as \
             root to give each VM a user of its own",
            user.uid()
        );
    }
}

fn report_no_cgroups(reason: &str) {
    warn!(
        "VMs have no bounds on CPU time and memory, because there is no cgroup for them: {reason}; mount \
         cgroup v2 with the controllers cpu, memory and pids, or name a cgroup without processes (--vm-cgroup)"
    );
}

/// Checks that QEMU has the kinds of disks of a VM.
fn check_kinds(spec: &VmSpec, qemu: &Qemu) -> Result<(), VmError> {
    if !qemu.has_vfio_user && spec.disks.iter().any(|disk| disk.kind == DiskKind::Nvme) {
        return Err(VmError::OldQemu { name: spec.name.to_string(), path: qemu.path.clone() });
    }
    Ok(())
}

fn check_startable(vm: &Vm) -> Result<(), VmError> {
    if vm.state().is_alive() { Err(state_error(vm, "it cannot be started now")) } else { Ok(()) }
}

fn state_error(vm: &Vm, remedy: &'static str) -> VmError {
    VmError::State { name: vm.spec.name.to_string(), state: vm.state(), remedy }
}
