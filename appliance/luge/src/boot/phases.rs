//! The phases of the boot, in their order.

use super::Sled;
use super::report::Notes;
use super::ssds::{self, Known, choose};
use super::{consoles, origin};
use crate::appliance::{Appliance, Plan};
use crate::config::Config;
use crate::cpus::Cpus;
use crate::hugepages;
use crate::log::Log;
use luge_block::CoreId;
use luge_init::{
    Ending, Reaper, Settings, catch_ctrl_alt_del, catch_panics, mount_all, reserve_hugepages, serving_cpus,
    set_hostname, set_kernel_log_level, use_console_as_stdio, watch_power_button,
};
use luge_memory::PageSize;
use luge_rpc::{Caller, Dispatcher, RpcError, Stage};
use luge_socket::Permissions;
use luge_vfio::{PciAddress, SysfsRoot};
use luge_vm::{Patience, VmConfig};
use serde_json::{Value, json};
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;

/// Sockets of vhost controllers.
const SOCKETS: &str = "/run/luge/vhost";
/// Sockets of virtual machines.
const MACHINES: &str = "/run/luge/vm";
/// The VM pack's kernel: good enough to try KVM with.
const TRIAL_KERNEL: &str = "/usr/share/luge/guest/kernel";

/// A part of the boot.
pub struct Phase {
    /// What it is called.
    pub name: &'static str,
    /// Does it.
    pub run: fn(&mut Sled, &mut Notes),
}

/// What is broken in one of them is no reason not to begin the next.
pub const PHASES: &[Phase] = &[
    Phase { name: "file systems", run: file_systems },
    Phase { name: "settings", run: settings },
    Phase { name: "power and signals", run: power_and_signals },
    Phase { name: "hugepages", run: hugepages_of_nodes },
    Phase { name: "cores and RPC", run: cores_and_rpc },
    Phase { name: "consoles", run: open_consoles },
    Phase { name: "SSDs", run: take_ssds },
    Phase { name: "configuration", run: configuration },
];

fn file_systems(_: &mut Sled, notes: &mut Notes) {
    mount_all().iter().for_each(|fault| notes.fault(fault));
    notes.check("/dev/console cannot be used", use_console_as_stdio());
}

fn settings(sled: &mut Sled, notes: &mut Notes) {
    let (settings, errors) = Settings::of_this_machine();
    errors.iter().for_each(|error| notes.fault(error));
    catch_panics(settings.panic);
    notes.check("the host name cannot be set", set_hostname(&settings.hostname));
    notes.check("the kernel's log level cannot be set", set_kernel_log_level(settings.kernel_log));
    sled.config = settings.subsystems.as_ref().and_then(|(place, subsystems)| {
        let text = json!({ "subsystems": subsystems }).to_string();
        Some((place.clone(), notes.check(place, Config::parse(text.as_bytes()))?))
    });
    sled.settings = settings;
}

fn power_and_signals(sled: &mut Sled, notes: &mut Notes) {
    notes.check("signals cannot be received", sled.power.listen_to_signals());
    notes.check("ctrl-alt-del will reboot at once", catch_ctrl_alt_del());
    sled.reaper = notes.check("children cannot be waited for", Reaper::of_everybody());
    let power = sled.power.clone();
    let watched = watch_power_button(move || power.ask(Ending::PowerOff, "the power button"));
    if notes.check("the power button cannot be watched", watched) == Some(0) {
        notes.note("this machine has no power button that the kernel knows");
    }
}

fn hugepages_of_nodes(sled: &mut Sled, notes: &mut Notes) {
    let Some(reserved) = notes.check("no hugepages", reserve_hugepages(sled.settings.hugepages)) else {
        return;
    };
    let nodes: Vec<String> = reserved.nodes_mib.iter().map(ToString::to_string).collect();
    let given = format!("{} MiB (by memory node: {})", reserved.total_mib(), nodes.join(", "));
    if reserved.is_short() {
        let wanted = reserved.wanted_mib;
        notes.fault(format!(
            "{given} of {wanted} MiB: memory is short or in pieces; ask for less (luge.hugepages=)"
        ));
    } else {
        notes.note(given);
    }
}

fn cores_and_rpc(sled: &mut Sled, notes: &mut Notes) {
    let log = Log::to(sled.screens.clone());
    if let Ok(level) = sled.settings.log.parse() {
        log.set_level(level);
    }
    let Some(plan) = plan(sled, notes) else { return };
    let (cpus, rpc_socket) = (plan.cpus.clone(), plan.rpc_socket.clone());
    let Some(appliance) = notes.check("Luge cannot be started", Appliance::start(plan, log)) else { return };
    // The configuration is made call by call, later: one that fails is no reason to stop.
    appliance.dispatcher().enter(Stage::Runtime);
    notes.note(format!("CPU {cpus} serves, RPC on {}", rpc_socket.display()));
    sled.appliance = Some(appliance);
}

fn plan(sled: &Sled, notes: &mut Notes) -> Option<Plan> {
    let cpus = cpus(sled, notes)?;
    let (pages, budget) = memory(notes)?;
    let rpc_socket = sled.settings.rpc_socket.clone();
    for folder in [Path::new(SOCKETS), Path::new(MACHINES)].into_iter().chain(rpc_socket.parent()) {
        notes.check(&folder.display().to_string(), fs::create_dir_all(folder))?;
    }
    let trial_kernel = Some(PathBuf::from(TRIAL_KERNEL)).filter(|kernel| kernel.is_file());
    let vms = VmConfig {
        folder: MACHINES.into(),
        qemu: None,
        firmware_folder: None,
        trial_kernel,
        patience: Patience::default(),
    };
    let reaper = sled.reaper.clone()?;
    let config = Config::default();
    let settings = &sled.settings;
    Some(Plan {
        cpus,
        pages,
        budget,
        sockets: SOCKETS.into(),
        socket_permissions: Permissions::GROUP.or(
            understood("socket_mode", settings.socket_mode.as_deref(), notes),
            understood("socket_group", settings.socket_group.as_deref(), notes),
        ),
        rpc_socket,
        rpc_socket_permissions: Permissions::OWNER.or(
            understood("rpc_socket_mode", settings.rpc_socket_mode.as_deref(), notes),
            understood("rpc_socket_group", settings.rpc_socket_group.as_deref(), notes),
        ),
        vms,
        reaper,
        config,
    })
}

/// The value of a setting, if it is there and right.
fn understood<T: FromStr>(key: &str, text: Option<&str>, notes: &mut Notes) -> Option<T>
where
    T::Err: Display,
{
    text.and_then(|text| notes.check(key, text.parse()))
}

/// Those that were asked for, if they are there; else our own choice.
fn cpus(sled: &Sled, notes: &mut Notes) -> Option<Cpus> {
    let allowed = notes.check("the CPUs are not known", Cpus::allowed())?;
    let wish = sled.settings.cpumask.as_deref().map(|text| {
        let cpus: Cpus = text.parse()?;
        cpus.check(&allowed).map(|()| cpus)
    });
    if let Some(wish) = wish
        && let Some(cpus) = notes.check("cpumask", wish)
    {
        return Some(cpus);
    }
    let numbers: Vec<u16> = allowed.iter().map(|cpu| cpu.0).collect();
    Some(serving_cpus(&numbers).into_iter().map(CoreId).collect())
}

/// Hugepages; where there are none, ordinary pages rather than nothing.
fn memory(notes: &mut Notes) -> Option<(PageSize, u64)> {
    if let Some(budget) =
        notes.check("ordinary pages are used instead", hugepages::budget(PageSize::Huge2MiB, None))
    {
        return Some((PageSize::Huge2MiB, budget));
    }
    let budget = notes.check("no memory", hugepages::budget(PageSize::Base, None))?;
    Some((PageSize::Base, budget))
}

fn open_consoles(sled: &mut Sled, notes: &mut Notes) {
    let commands = consoles::commands(sled.appliance.as_ref().map(Appliance::dispatcher));
    let mut open = |name: &str| {
        let path = Path::new("/dev").join(name);
        let opened = consoles::open(path, commands.clone(), sled.power.clone(), sled.screens.clone());
        notes.check(&format!("no console at {name}"), opened).is_some()
    };
    // All of them, so no `any`. Where none can be had, the kernel's own has to do.
    let opened = sled.settings.consoles.iter().filter(|name| open(name)).count();
    if opened == 0 {
        open("console");
    }
}

fn take_ssds(sled: &mut Sled, notes: &mut Notes) {
    let Some(appliance) = &sled.appliance else { return };
    let Some(present) = notes.check("SSDs cannot be listed", SysfsRoot::default().nvme_functions()) else {
        return;
    };
    let configured = sled.config.as_ref().map(|(_, config)| ssds::configured(config)).unwrap_or_default();
    let known = Known {
        wish: &sled.settings.ssds,
        present: &present,
        origin: origin::find(),
        configured: &configured,
    };
    let choice = choose(&known);
    choice.notes.iter().for_each(|note| notes.note(note));
    choice.faults.iter().for_each(|fault| notes.fault(fault));
    for (address, outcome) in attach(appliance.dispatcher(), &choice.take) {
        if let Some(namespaces) = notes.check(&address.to_string(), outcome) {
            notes.note(format!("{address}: {namespaces}"));
        }
    }
}

/// Attaches SSDs at the same time: a broken one delays nobody.
fn attach(
    dispatcher: &Dispatcher,
    ssds: &[(String, PciAddress)],
) -> Vec<(PciAddress, Result<Value, RpcError>)> {
    let attach = |name: &str, address: PciAddress| {
        let params = json!({ "name": name, "trtype": "PCIe", "traddr": address.to_string() });
        dispatcher.dispatch("bdev_nvme_attach_controller", params)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = ssds
            .iter()
            .map(|(name, address)| (*address, scope.spawn(move || attach(name, *address))))
            .collect();
        let gone = |_| Err(RpcError::internal("its bring-up panicked"));
        threads.into_iter().map(|(address, thread)| (address, thread.join().unwrap_or_else(gone))).collect()
    })
}

fn configuration(sled: &mut Sled, notes: &mut Notes) {
    let Some(appliance) = &sled.appliance else { return };
    let Some((place, config)) = &sled.config else { return notes.note("none: what exists is made by RPC") };
    let dispatcher = appliance.dispatcher();
    // Nobody else makes anything during the boot: what is not there does not appear.
    let caller = Caller::new(|| false);
    let failures = config
        .apply_all(|method, params| dispatcher.prepare(dispatcher.stage(), method, params)?.value(&caller));
    failures.iter().for_each(|failure| notes.fault(format!("{place}: {failure}")));
    notes.note(format!("from {place}"));
}
