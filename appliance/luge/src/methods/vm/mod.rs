//! `vm_*`: virtual machines that this process runs, with vhost controllers as disks.

#[cfg(test)]
mod tests;

use super::definition::{method, waiting_method};
use crate::control::{Call, Control, Server, Sled, Subsystem, VhostDevice};
use crate::relay;
use luge_memory::PageSize;
use luge_rpc::{Method, RpcError, params};
use luge_vhost::VirtioDevice;
use luge_vm::{Accelerator, Boot, DiskKind, MemoryPages, VmDisk, VmError, VmName, VmSpec, VmState, VmStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Longest time for a guest to power off, in seconds.
const POWERDOWN_S: u32 = 3600;

params! {
    /// Parameters of `vm_create`.
    struct Create {
        /// Name of the VM
        name: String,
        /// Virtual CPUs
        cpus: u32,
        /// Memory in MiB
        memory_mb: u64,
        /// The VM's disks: names of vhost controllers, or directories of listeners of NVMe subsystems
        disks: Option<Vec<String>>,
        /// Path of a Linux kernel to boot
        kernel: Option<String>,
        /// Path of the kernel's initramfs
        initrd: Option<String>,
        /// Command line of the kernel
        command_line: Option<String>,
        /// Path of a firmware image to boot instead of a kernel; SeaBIOS if neither is given
        firmware: Option<String>,
        /// auto, kvm or tcg; auto if not given
        accelerator: Option<Execution>,
        /// "log" for its serial console in Luge's log too; "socket", as without it, for its socket only
        console: Option<ConsoleCopy>,
    }
}

/// Destinations of a VM's serial console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum ConsoleCopy {
    Socket,
    Log,
}

impl luge_rpc::ParamValue for ConsoleCopy {
    const KIND: &'static str = "socket|log";
}

/// Accelerator: KVM or emulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Execution {
    #[default]
    Auto,
    Kvm,
    Tcg,
}

impl luge_rpc::ParamValue for Execution {
    const KIND: &'static str = "auto|kvm|tcg";
}

impl From<Execution> for Accelerator {
    fn from(execution: Execution) -> Self {
        match execution {
            Execution::Auto => Self::Auto,
            Execution::Kvm => Self::Kvm,
            Execution::Tcg => Self::Tcg,
        }
    }
}

params! {
    /// Parameters of the methods that are about one VM.
    struct One {
        /// Name of the VM
        name: String,
    }
}

params! {
    /// Parameters of `vm_stop`.
    struct Stop {
        /// Name of the VM
        name: String,
/// Time for the guest to power off, in seconds, before QEMU is ended; 60 if not given
        timeout_s: Option<u32>,
    }
}

params! {
    /// Parameters of `vm_get_vms`.
    struct Get {
        /// Name of one VM; all if not given
        name: Option<String>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(control, "vm_create", "Define a virtual machine", |control, params: Create| {
            control.ask(move |sled| create(sled, &params))
        }),
        method(control, "vm_start", "Start a virtual machine", start),
        waiting_method(control, "vm_stop", "Stop a virtual machine: its power button, then its end", stop),
        method(control, "vm_get_vms", "List the virtual machines", get),
        method(control, "vm_delete", "Forget a virtual machine that does not run", |control, params: One| {
            control.ask(move |sled| delete(sled, &params.name))
        }),
    ]
}

fn create(sled: &mut Sled, params: &Create) -> Result<String, RpcError> {
    let spec = spec(sled, params)?;
    let descriptors = sled.platform.promise_descriptors(descriptors(&spec))?;
    sled.platform.vms.create(spec).map_err(|error| refusal(&error))?;
    sled.vm_descriptors.insert(params.name.clone(), descriptors);
    if params.console == Some(ConsoleCopy::Log) {
        sled.logged_vms.insert(params.name.clone());
    }
    sled.record.add(Subsystem::Vm, &params.name, Call::new("vm_create", call(params)));
    Ok(params.name.clone())
}

/// File descriptors of a VM: its process, sockets, memory and files, the clients of its console, and the sockets of
/// its disks.
fn descriptors(spec: &VmSpec) -> u64 {
    spec.disks.len() as u64 + 48
}

fn spec(sled: &Sled, params: &Create) -> Result<VmSpec, RpcError> {
    let queues = u16::try_from(params.cpus).unwrap_or(u16::MAX);
    let disks =
        params.disks.iter().flatten().map(|name| disk(sled, name, queues)).collect::<Result<_, _>>()?;
    Ok(VmSpec {
        name: VmName::new(&params.name).map_err(|error| refusal(&error))?,
        cpus: params.cpus,
        memory_mib: params.memory_mb,
        // What the disks' memory is of, guest memory is of.
        memory: match sled.platform.pages {
            PageSize::Base => MemoryPages::Base,
            PageSize::Huge2MiB | PageSize::Huge1GiB => MemoryPages::Huge,
        },
        disks,
        boot: boot(params)?,
        accelerator: params.accelerator.unwrap_or_default().into(),
    })
}

/// A disk: a vhost controller by its name, or the listener of an NVMe subsystem by its directory.
fn disk(sled: &Sled, name: &str, queues: u16) -> Result<VmDisk, RpcError> {
    let controller = name.to_owned();
    if name.starts_with('/') {
        let socket = sled.nvmf.listener_in(name)?.endpoint.socket().to_owned();
        return Ok(VmDisk { kind: DiskKind::Nvme, controller, socket, queues });
    }
    let endpoint = sled.endpoints.get(name)?;
    if !matches!(endpoint.server, Server::Listening(_)) {
        return Err(RpcError::no_device(format_args!(
            "vhost controller {name} does not listen yet: vhost_start_scsi_controller starts it"
        )));
    }
    let (kind, most) = match &endpoint.device {
        VhostDevice::Disk(disk) => (DiskKind::VirtioBlk, disk.device.queues()),
        VhostDevice::Hba(hba) => (DiskKind::VirtioScsi, hba.request_queues),
    };
    Ok(VmDisk { kind, controller, socket: endpoint.status().socket, queues: queues.min(most) })
}

fn boot(params: &Create) -> Result<Boot, RpcError> {
    let only_with = |other: &str, name: &str| {
        RpcError::invalid_params(format_args!("parameter `{name}`: it works only together with `{other}`"))
    };
    match (&params.kernel, &params.firmware) {
        (Some(_), Some(_)) => {
            Err(RpcError::invalid_params("parameter `firmware`: either that or `kernel`, not both"))
        }
        (Some(kernel), None) => Ok(Boot::Kernel {
            kernel: PathBuf::from(kernel),
            initrd: params.initrd.as_ref().map(PathBuf::from),
            command_line: params.command_line.clone().unwrap_or_default(),
        }),
        (None, _) if params.initrd.is_some() => Err(only_with("kernel", "initrd")),
        (None, _) if params.command_line.is_some() => Err(only_with("kernel", "command_line")),
        (None, firmware) => Ok(Boot::Firmware(firmware.as_ref().map(PathBuf::from))),
    }
}

/// Call to record, without parameters that were not given.
fn call(params: &Create) -> Value {
    let mut call = json!({
        "name": params.name, "cpus": params.cpus, "memory_mb": params.memory_mb, "disks": params.disks,
        "kernel": params.kernel, "initrd": params.initrd, "command_line": params.command_line,
        "firmware": params.firmware, "accelerator": params.accelerator,
        "console": params.console,
    });
    if let Some(members) = call.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    call
}

/// Starts a VM. Waits for QEMU on this thread, as QEMU waits for its disks.
fn start(control: &Arc<Control>, params: One) -> Result<bool, RpcError> {
    let name = vm_name(&params.name)?;
    let vm = name.clone();
    control.ask(move |sled| check_disks(sled, &vm))?;
    control.platform().vms.start(&name).map_err(|error| refusal(&error))?;
    let started = params.name.clone();
    let is_logged = control.ask(move |sled| Ok(note_start(sled, &started)))?;
    if is_logged {
        copy_to_log(control, &name);
    }
    Ok(true)
}

fn check_disks(sled: &Sled, name: &VmName) -> Result<(), RpcError> {
    let vm = sled.platform.vms.get(name).map_err(|error| refusal(&error))?;
    vm.disks.iter().try_for_each(|name| disk(sled, name, 1).map(drop))
}

/// Records the start; returns whether the VM's console goes to the log.
fn note_start(sled: &mut Sled, name: &str) -> bool {
    sled.record.remove(Subsystem::Vm, &record_name(name));
    let call = Call::new("vm_start", json!({ "name": name }));
    sled.record.add(Subsystem::Vm, &record_name(name), call);
    sled.logged_vms.contains(name)
}

/// Starts the relay of a VM's console. A VM that has ended meanwhile has no console.
fn copy_to_log(control: &Control, name: &VmName) {
    let socket = control.platform().vms.get(name).ok().and_then(|vm| vm.console);
    let copied = socket.map(|socket| relay::start(name.as_str(), &socket));
    if let Some(Err(error)) = copied {
        tracing::warn!("the console of VM {name} is not in the log: {error}");
    }
}

fn stop(control: &Arc<Control>, params: Stop) -> Result<bool, RpcError> {
    let name = vm_name(&params.name)?;
    if params.timeout_s.is_some_and(|seconds| seconds > POWERDOWN_S) {
        return Err(RpcError::invalid_params(format_args!(
            "parameter `timeout_s`: a number from 0 to {POWERDOWN_S}"
        )));
    }
    let powerdown = params.timeout_s.map(|seconds| Duration::from_secs(seconds.into()));
    let stopped = control.platform().vms.stop(&name, powerdown);
    let was_started = is_off(&stopped)
        && control.ask(move |sled| Ok(sled.record.remove(Subsystem::Vm, &record_name(&params.name))))?;
    match stopped {
        // It had ended by itself. It is not started again: that is a stop, too.
        Err(_) if was_started => Ok(true),
        stopped => stopped.map(|()| true).map_err(|error| refusal(&error)),
    }
}

/// Whether a VM is off after an attempt to stop it.
fn is_off(stopped: &Result<(), VmError>) -> bool {
    let ended = |state: &VmState| matches!(state, VmState::Stopped | VmState::Crashed);
    match stopped {
        Ok(()) => true,
        Err(error) => matches!(error, VmError::State { state, .. } if ended(state)),
    }
}

fn get(control: &Arc<Control>, params: Get) -> Result<Vec<VmStatus>, RpcError> {
    let vms = &control.platform().vms;
    match params.name {
        Some(name) => Ok(vec![vms.get(&vm_name(&name)?).map_err(|error| refusal(&error))?]),
        None => Ok(vms.list()),
    }
}

fn delete(sled: &mut Sled, name: &str) -> Result<bool, RpcError> {
    sled.platform.vms.delete(&vm_name(name)?).map_err(|error| refusal(&error))?;
    sled.logged_vms.remove(name);
    sled.vm_descriptors.remove(name);
    sled.record.remove(Subsystem::Vm, name);
    sled.record.remove(Subsystem::Vm, &record_name(name));
    Ok(true)
}

fn vm_name(name: &str) -> Result<VmName, RpcError> {
    VmName::new(name).map_err(|error| refusal(&error))
}

/// Key of a VM's start in the record. A VM's name has no space, so the key differs from those of definitions.
fn record_name(name: &str) -> String {
    format!("start of {name}")
}

fn refusal(error: &VmError) -> RpcError {
    match error {
        VmError::Name(_) | VmError::Path(_) => {
            RpcError::invalid_params(format_args!("parameter `name`: {error}"))
        }
        VmError::Cpus(_) => RpcError::invalid_params(format_args!("parameter `cpus`: {error}")),
        VmError::Memory(_) => RpcError::invalid_params(format_args!("parameter `memory_mb`: {error}")),
        VmError::TooManyDisks(_) | VmError::Disk(_) => {
            RpcError::invalid_params(format_args!("parameter `disks`: {error}"))
        }
        VmError::CommandLine => RpcError::invalid_params(format_args!("parameter `command_line`: {error}")),
        VmError::File(_) | VmError::Unreadable(_) => RpcError::invalid(error),
        VmError::Exists(_) => RpcError::exists(error),
        VmError::Unknown(_) => RpcError::no_device(error),
        VmError::State { .. } | VmError::DiskInUse { .. } => RpcError::busy(error),
        VmError::Hugepages { .. } | VmError::MemoryShort { .. } | VmError::TooManyVms(_) => {
            RpcError::no_memory(error)
        }
        VmError::NoQemu { .. } | VmError::OldQemu { .. } | VmError::BadQemu { .. } => {
            RpcError::unsupported(error)
        }
        VmError::Start { .. } | VmError::Stop { .. } | VmError::System { .. } => RpcError::internal(error),
    }
}
