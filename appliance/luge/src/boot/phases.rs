//! The phases of the boot, in their order.

use super::report::Notes;
use super::ssds::{self, Known, choose};
use super::state::BootState;
use super::{consoles, origin};
use crate::appliance::{Appliance, Plan};
use crate::config::Config;
use crate::cpus::Cpus;
use crate::hugepages;
use crate::log::Log;
use crate::trace::{self, rfc3339};
use luge_block::CoreId;
use luge_core::{Ceiling, Descriptors};
use luge_init::{
    Ending, Reaper, Settings, catch_ctrl_alt_del, catch_panics, crashes, keep_newest_crashes, mount_all,
    one_of_each_core, open_kvm_to_vms, quieten, reserve_hugepages, serving_cpus, set_hostname,
    set_kernel_log_level, use_console_as_stdio, watch_power_button,
};
use luge_memory::PageSize;
use luge_rpc::Stage;
use luge_socket::Permissions;
use luge_vfio::SysfsRoot;
use luge_vm::{SandboxConfig, Timeouts, VmConfig};
use serde_json::json;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Folder of the sockets of vhost controllers.
const SOCKETS: &str = "/run/luge/vhost";
/// Folder of the sockets of virtual machines.
const MACHINES: &str = "/run/luge/vm";
/// Folder of what crashes have left.
const LAST_WORDS: &str = "/sys/fs/pstore";
/// Backend of that folder, as the kernel names it.
const LAST_WORDS_BACKEND: &str = "/sys/module/pstore/parameters/backend";
/// Most crashes whose last words stay in the firmware's memory, which is small.
const CRASHES_KEPT: usize = 4;
/// Kernel of the VM pack, with which KVM is tried.
const TRIAL_KERNEL: &str = "/usr/share/luge/guest/kernel";

/// A part of the boot.
pub struct Phase {
    /// Name in the report.
    pub name: &'static str,
    /// Function of the phase.
    pub run: fn(&mut BootState, &mut Notes),
}

/// All phases in order, but for the last one (`loading`). Each begins even if the one before has failed.
pub const PHASES: &[Phase] = &[
    Phase { name: "file systems", run: file_systems },
    Phase { name: "settings", run: settings },
    Phase { name: "power and signals", run: power_and_signals },
    Phase { name: "last words", run: last_words },
    Phase { name: "hugepages", run: hugepages_of_nodes },
    Phase { name: "cores and RPC", run: cores_and_rpc },
    Phase { name: "consoles", run: open_consoles },
    Phase { name: "choice of SSDs", run: choose_ssds },
];

fn file_systems(_: &mut BootState, notes: &mut Notes) {
    mount_all().iter().for_each(|fault| notes.fault(fault));
    notes.check("/dev/console cannot be used", use_console_as_stdio());
    notes.check("VMs cannot use KVM", open_kvm_to_vms());
}

fn settings(state: &mut BootState, notes: &mut Notes) {
    let (settings, errors) = Settings::of_this_machine();
    errors.iter().for_each(|error| notes.fault(error));
    catch_panics(settings.panic);
    notes.check("the host name cannot be set", set_hostname(&settings.hostname));
    notes.check("the kernel's log level cannot be set", set_kernel_log_level(settings.kernel_log));
    state.config = settings.subsystems.as_ref().and_then(|(place, subsystems)| {
        let text = json!({ "subsystems": subsystems }).to_string();
        Some((place.clone(), notes.check(place, Config::parse(text.as_bytes()))?))
    });
    state.settings = settings;
}

fn power_and_signals(state: &mut BootState, notes: &mut Notes) {
    notes.check("signals cannot be received", state.power.listen_to_signals());
    notes.check("ctrl-alt-del will reboot at once", catch_ctrl_alt_del());
    state.reaper = notes.check("children cannot be waited for", Reaper::of_everybody());
    let power = state.power.clone();
    let watched = watch_power_button(move || power.ask(Ending::PowerOff, "the power button"));
    if notes.check("the power button cannot be watched", watched) == Some(0) {
        notes.note("this machine has no power button that the kernel knows");
    }
}

fn last_words(_: &mut BootState, notes: &mut Notes) {
    let backend = fs::read_to_string(LAST_WORDS_BACKEND).unwrap_or_default();
    if backend.trim().is_empty() || backend.trim() == "(null)" {
        notes.note("a crash will leave none: the firmware keeps no variables (boot by UEFI)");
        return;
    }
    let folder = Path::new(LAST_WORDS);
    notes.check("old last words cannot be removed", keep_newest_crashes(folder, CRASHES_KEPT));
    let Some(crashes) = notes.check("last words cannot be read", crashes(folder)) else { return };
    if let Some(newest) = crashes.last() {
        let time = rfc3339(u64::try_from(newest.time.as_nanos()).unwrap_or(u64::MAX));
        let count = crashes.len();
        notes.note(format!("a crash at {time} has left some ({count} in all): last_words shows them"));
    }
}

fn hugepages_of_nodes(state: &mut BootState, notes: &mut Notes) {
    let Some(reserved) = notes.check("no hugepages", reserve_hugepages(state.settings.hugepages)) else {
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

fn cores_and_rpc(state: &mut BootState, notes: &mut Notes) {
    let log = Log::to(state.screens.clone());
    if let Ok(level) = state.settings.log.parse() {
        log.set_level(level);
    }
    let Some(plan) = plan(state, notes) else { return };
    let (cpus, rpc_socket) = (plan.cpus.clone(), plan.rpc_socket.clone());
    let recording = trace::start_on_sled(cpus.iter().map(|core| core.0));
    notes.check("events do not get into the kernel's log, nor into last words", recording);
    let Some(appliance) = notes.check("Luge cannot be started", Appliance::start(plan, log)) else { return };
    // The configuration is made call by call, later: one that fails is no reason to stop.
    appliance.dispatcher().enter(Stage::Runtime);
    notes.note(format!("CPU {cpus} serves, RPC on {}", rpc_socket.display()));
    state.appliance = Some(appliance);
}

fn plan(state: &BootState, notes: &mut Notes) -> Option<Plan> {
    let cpus = cpus(state, notes)?;
    let (pages, budget) = memory(notes)?;
    let rpc_socket = state.settings.rpc_socket.clone();
    for folder in [Path::new(SOCKETS), Path::new(MACHINES)].into_iter().chain(rpc_socket.parent()) {
        notes.check(&folder.display().to_string(), fs::create_dir_all(folder))?;
    }
    let trial_kernel = Some(PathBuf::from(TRIAL_KERNEL)).filter(|kernel| kernel.is_file());
    let vms = VmConfig {
        folder: MACHINES.into(),
        qemu: None,
        firmware_folder: None,
        trial_kernel,
        sandbox: SandboxConfig::default(),
        timeouts: Timeouts::default(),
    };
    let reaper = state.reaper.clone()?;
    let config = Config::default();
    let settings = &state.settings;
    Some(Plan {
        cpus,
        pages,
        descriptors: Descriptors::of_this_process(Ceiling::Kernel),
        budget,
        pr_scope: understood("pr_scope", settings.pr_scope.as_deref(), notes).unwrap_or_default(),
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
        last_words: Some(LAST_WORDS.into()),
        vms,
        reaper,
        config,
    })
}

/// Value of a setting; none if missing or wrong.
fn understood<T: FromStr>(key: &str, text: Option<&str>, notes: &mut Notes) -> Option<T>
where
    T::Err: Display,
{
    text.and_then(|text| notes.check(key, text.parse()))
}

/// CPUs of the setting, if they can be used; else those that the kernel has isolated, else a default. Makes them quiet.
fn cpus(state: &BootState, notes: &mut Notes) -> Option<Cpus> {
    // PID 1 itself may not run on isolated CPUs before it asks for them.
    let online = notes.check("the CPUs are not known", Cpus::online())?;
    let wish = state.settings.cpumask.as_deref().map(|text| {
        let cpus: Cpus = text.parse()?;
        cpus.check(&online).map(|()| cpus)
    });
    let wish = wish.and_then(|wish| notes.check("cpumask", wish));
    let isolated = isolated(&online);
    let cpus = wish.unwrap_or_else(|| default_cpus(&online, &isolated));
    // The sibling of a CPU that serves is left alone, too.
    let others: Vec<u16> = online.without(&cpus).numbers();
    let others: Vec<u16> = others.into_iter().filter(|cpu| !isolated.contains(cpu)).collect();
    let failures = quieten(&cpus.numbers(), &others);
    failures.iter().for_each(|failure| notes.fault(failure));
    Some(cpus)
}

/// Isolated CPUs. The kernel also lists those that the machine could get.
fn isolated(online: &Cpus) -> Vec<u16> {
    let isolated = Cpus::isolated().map(|isolated| isolated.numbers()).unwrap_or_default();
    let online = online.numbers();
    isolated.into_iter().filter(|cpu| online.contains(cpu)).collect()
}

fn default_cpus(online: &Cpus, isolated: &[u16]) -> Cpus {
    let siblings = |cpu| Cpus::siblings(cpu).map(|cpus| cpus.numbers()).unwrap_or_default();
    let chosen = match isolated {
        [] => serving_cpus(&online.numbers()),
        isolated => one_of_each_core(isolated, siblings),
    };
    chosen.into_iter().map(CoreId).collect()
}

/// Page size and budget: hugepages, or ordinary pages if there are none.
fn memory(notes: &mut Notes) -> Option<(PageSize, u64)> {
    if let Some(budget) =
        notes.check("ordinary pages are used instead", hugepages::budget(PageSize::Huge2MiB, None))
    {
        return Some((PageSize::Huge2MiB, budget));
    }
    let budget = notes.check("no memory", hugepages::budget(PageSize::Base, None))?;
    Some((PageSize::Base, budget))
}

fn open_consoles(state: &mut BootState, notes: &mut Notes) {
    let commands = consoles::commands(state.appliance.as_ref().map(Appliance::dispatcher));
    let mut open = |name: &str| {
        let path = Path::new("/dev").join(name);
        let opened = consoles::open(path, commands.clone(), state.power.clone(), state.screens.clone());
        notes.check(&format!("no console at {name}"), opened).is_some()
    };
    // All of them, so no `any`. Where none can be had, the kernel's own has to do.
    let opened = state.settings.consoles.iter().filter(|name| open(name)).count();
    if opened == 0 {
        open("console");
    }
}

fn choose_ssds(state: &mut BootState, notes: &mut Notes) {
    let Some(present) = notes.check("SSDs cannot be listed", SysfsRoot::default().nvme_functions()) else {
        return;
    };
    let configured = state.config.as_ref().map(|(_, config)| ssds::configured(config)).unwrap_or_default();
    let known = Known {
        wish: &state.settings.ssds,
        present: &present,
        origin: origin::find(),
        configured: &configured,
    };
    let choice = choose(&known);
    choice.notes.iter().for_each(|note| notes.note(note));
    choice.faults.iter().for_each(|fault| notes.fault(fault));
    state.ssds = choice.take;
}
