//! The VMs there are, and what can be done with them.
//!
//! Invariants
//! - A disk is used by one live VM at most.
//! - No lock is held while waiting for a QEMU, except the one that lets only one caller at a
//!   time find out which QEMU there is.
//! - Starting and stopping wait for the outcome, with a limit.

use crate::arguments::Executor;
use crate::events::Events;
use crate::qemu::Qemu;
use crate::spec::{Accelerator, Boot, MemoryPages, VmName, VmSpec};
use crate::status::{Ending, VmState, VmStatus};
use crate::supervisor::Life;
use crate::vm::Vm;
use crate::{VmError, hugepages};
use luge_init::Reaper;
use luge_socket::PATH_BYTES_MAX;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How a runner is set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmConfig {
    /// The folder for the sockets of VMs: one folder in it for each that is alive.
    pub folder: PathBuf,
    /// QEMU; searched for where it is not said.
    pub qemu: Option<PathBuf>,
    /// QEMU's firmware; where it was built to look, if not said.
    pub firmware_folder: Option<PathBuf>,
    /// A Linux kernel to try KVM with; a VM's own where none is said.
    pub trial_kernel: Option<PathBuf>,
    /// Time limits of the steps of a VM's life.
    pub timeouts: Timeouts,
}

/// Time limits of the steps of a VM's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// From the start of QEMU until it answers. Memory is allocated in this time.
    pub start: Duration,
    /// From the power button until the guest is off, where a stop does not say.
    pub powerdown: Duration,
    /// From QEMU's `quit` until it is killed.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(120),
            powerdown: Duration::from_secs(60),
            quit: Duration::from_secs(10),
        }
    }
}

/// The VMs of this process. Clones are the same runner.
#[derive(Clone, Debug)]
pub struct VmRunner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: VmConfig,
    reaper: Reaper,
    vms: Mutex<BTreeMap<VmName, Arc<Vm>>>,
    /// What is known of QEMU, and of KVM once somebody left the choice to us.
    found: Mutex<Found>,
    events: Events,
}

#[derive(Default, Debug)]
struct Found {
    qemu: Option<Arc<Qemu>>,
    automatic: Option<(Executor, String)>,
}

impl VmRunner {
    /// A runner without VMs.
    #[must_use]
    pub fn new(config: VmConfig, reaper: Reaper) -> Self {
        let shared = Shared {
            config,
            reaper,
            vms: Mutex::default(),
            found: Mutex::default(),
            events: Events::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Defines a VM.
    ///
    /// # Errors
    /// What is wrong with `spec`, or that the name is taken.
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
        let vm = Vm::new(spec, self.shared.events.clone());
        let vm = vm.map_err(|error| VmError::system(format!("VM '{name}'"), &error))?;
        vms.insert(name, Arc::new(vm));
        Ok(())
    }

    /// Starts a VM and waits until its CPUs run. May take as long as [`Timeouts::start`], and
    /// needs the vhost controllers of its disks to answer meanwhile.
    ///
    /// # Errors
    /// Why it does not run.
    pub fn start(&self, name: &VmName) -> Result<(), VmError> {
        let vm = self.find(name)?;
        check_startable(&vm)?;
        let qemu = self.qemu()?;
        let (executor, why) = self.executor(&qemu, &vm.spec);
        if vm.spec.memory == MemoryPages::Huge {
            hugepages::check(name, vm.spec.memory_mib)?;
        }
        self.claim(&vm, why)?;
        let life = Life {
            vm: Arc::clone(&vm),
            qemu,
            executor,
            folder: self.shared.config.folder.join(name.as_str()),
            reaper: self.shared.reaper.clone(),
            timeouts: self.shared.config.timeouts,
        };
        let thread = thread::Builder::new().name(format!("vm {name}")).spawn(move || life.live());
        if let Err(error) = thread {
            let reason = format!("no thread for it: {error}");
            vm.set_ended(VmState::Crashed, Ending { reason, messages: Vec::new() });
        }
        // The supervisor gives up by itself; the rest is for a machine that is very slow.
        let deadline = Instant::now() + self.shared.config.timeouts.start + Duration::from_secs(30);
        vm.await_start(deadline).map_err(|end| VmError::Start {
            name: name.to_string(),
            reason: [&[end.reason], &end.messages[..]].concat().join("; "),
        })
    }

    /// Stops a VM and waits until it is gone: its guest is asked first and has `powerdown`
    /// (by default [`Timeouts::powerdown`]) to power off, then QEMU quits, then it is killed.
    ///
    /// # Errors
    /// That there is no such VM, that it is not alive, or that it cannot even be killed.
    pub fn stop(&self, name: &VmName, powerdown: Option<Duration>) -> Result<(), VmError> {
        let vm = self.find(name)?;
        if !vm.state().is_alive() {
            return Err(state_error(&vm, "there is nothing to stop"));
        }
        self.stop_vm(&vm, powerdown)
    }

    /// Stops all VMs that are alive, at the same time, and waits until they are gone.
    ///
    /// # Errors
    /// The first that could not be stopped.
    pub fn stop_all(&self, powerdown: Option<Duration>) -> Result<(), VmError> {
        let alive: Vec<Arc<Vm>> = self.vms().values().filter(|vm| vm.state().is_alive()).cloned().collect();
        let powerdown = powerdown.unwrap_or(self.shared.config.timeouts.powerdown);
        alive.iter().for_each(|vm| vm.ask_to_stop(powerdown));
        alive.iter().try_for_each(|vm| self.await_end(vm, powerdown))
    }

    /// Forgets a VM that is not alive.
    ///
    /// # Errors
    /// That there is none, or that it is alive.
    pub fn delete(&self, name: &VmName) -> Result<(), VmError> {
        let mut vms = self.vms();
        let vm = vms.get(name).ok_or_else(|| VmError::Unknown(name.to_string()))?;
        if vm.state().is_alive() {
            return Err(state_error(vm, "stop it first"));
        }
        vms.remove(name);
        Ok(())
    }

    /// All VMs, in the order of their names.
    #[must_use]
    pub fn list(&self) -> Vec<VmStatus> {
        self.vms().values().map(|vm| vm.status()).collect()
    }

    /// One VM.
    ///
    /// # Errors
    /// That there is none.
    pub fn get(&self, name: &VmName) -> Result<VmStatus, VmError> {
        Ok(self.find(name)?.status())
    }

    /// The definition of every VM, in the order of their names.
    #[must_use]
    pub fn specs(&self) -> Vec<VmSpec> {
        self.vms().values().map(|vm| vm.spec.clone()).collect()
    }

    /// The live VM that uses a vhost controller as a disk.
    #[must_use]
    pub fn user_of(&self, controller: &str) -> Option<VmName> {
        let uses = |vm: &&Arc<Vm>| {
            vm.state().is_alive() && vm.spec.disks.iter().any(|disk| disk.controller == controller)
        };
        self.vms().values().find(uses).map(|vm| vm.spec.name.clone())
    }

    /// The latest 64 KiB that a VM wrote to its serial console in its last life.
    ///
    /// # Errors
    /// That there is no such VM.
    pub fn console_text(&self, name: &VmName) -> Result<Vec<u8>, VmError> {
        let text = self.find(name)?.console_text();
        Ok(text.lock().unwrap_or_else(PoisonError::into_inner).bytes())
    }

    /// Every change of a VM's state from now on.
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

    /// Makes the VM the user of its disks, unless another one is.
    fn claim(&self, vm: &Arc<Vm>, accelerator: String) -> Result<(), VmError> {
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
        vm.ask_to_stop(powerdown);
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

    fn found(&self) -> MutexGuard<'_, Found> {
        self.shared.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn qemu(&self) -> Result<Arc<Qemu>, VmError> {
        let mut found = self.found();
        if let Some(qemu) = &found.qemu {
            return Ok(Arc::clone(qemu));
        }
        let config = &self.shared.config;
        let qemu =
            Qemu::probe(config.qemu.as_deref(), config.firmware_folder.as_deref(), &self.shared.reaper)?;
        Ok(Arc::clone(found.qemu.insert(Arc::new(qemu))))
    }

    /// What executes this VM. KVM is tried once in the life of the process.
    fn executor(&self, qemu: &Qemu, spec: &VmSpec) -> (Executor, String) {
        let kernel = match (&self.shared.config.trial_kernel, &spec.boot) {
            (Some(kernel), _) | (None, Boot::Kernel { kernel, .. }) => Some(kernel.as_path()),
            (None, Boot::Firmware(_)) => None,
        };
        let decide = || qemu.executor(spec.accelerator, kernel, &self.shared.reaper);
        if spec.accelerator == Accelerator::Auto && kernel.is_some() {
            self.found().automatic.get_or_insert_with(decide).clone()
        } else {
            decide()
        }
    }
}

fn check_startable(vm: &Vm) -> Result<(), VmError> {
    if vm.state().is_alive() { Err(state_error(vm, "it cannot be started now")) } else { Ok(()) }
}

fn state_error(vm: &Vm, remedy: &'static str) -> VmError {
    VmError::State { name: vm.spec.name.to_string(), state: vm.state(), remedy }
}
