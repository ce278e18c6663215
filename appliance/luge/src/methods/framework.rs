//! `framework_*`, `rpc_get_methods` and other methods about the process itself.

use super::cpu_times::CpuTimes;
use super::definition::{ANY, RUNTIME};
use super::host::Host;
use crate::config::Callers;
use crate::control::Control;
use crate::cpus::Cpus;
use luge_core::{Account, CoreHandle};
use luge_rpc::{Caller, Dispatcher, Method, NoParams, RpcError, Stage, params};
use rustix::process::{Signal, getpid, kill_process};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, Weak};

params! {
    /// Parameters of `rpc_get_methods`.
    struct GetMethods {
        /// Whether to list only methods of the current stage
        current: Option<bool>,
        /// Taken for compatibility: Luge has no aliases
        include_aliases: Option<bool>,
    }
}

params! {
    /// Parameters of `spdk_kill_instance`.
    struct Kill {
        /// The signal
        sig_name: SignalName,
    }
}

/// A signal that a client may name.
#[derive(Clone, Copy, Debug, Deserialize)]
enum SignalName {
    #[serde(rename = "SIGINT")]
    Int,
    #[serde(rename = "SIGTERM")]
    Term,
    #[serde(rename = "SIGQUIT")]
    Quit,
    #[serde(rename = "SIGHUP")]
    Hup,
    #[serde(rename = "SIGKILL")]
    Kill,
    #[serde(rename = "SIGUSR1")]
    Usr1,
}

impl luge_rpc::ParamValue for SignalName {
    const KIND: &'static str = "SIGINT|SIGTERM|SIGQUIT|SIGHUP|SIGKILL|SIGUSR1";
}

impl From<SignalName> for Signal {
    fn from(name: SignalName) -> Self {
        match name {
            SignalName::Int => Self::INT,
            SignalName::Term => Self::TERM,
            SignalName::Quit => Self::QUIT,
            SignalName::Hup => Self::HUP,
            SignalName::Kill => Self::KILL,
            SignalName::Usr1 => Self::USR1,
        }
    }
}

pub fn methods(host: &Arc<Host>, dispatcher: &Weak<Dispatcher>) -> Vec<Method> {
    let (start, wait, list) = (dispatcher.clone(), dispatcher.clone(), dispatcher.clone());
    let (starting, reactors, threads) = (host.clone(), host.control.clone(), host.control.clone());
    vec![
        Method::new("framework_start_init", "Start serving", &[Stage::Startup], move |_: NoParams| {
            let dispatcher = alive(&start)?;
            start_init(&starting, &dispatcher).map(|()| true)
        }),
        Method::waiting("framework_wait_init", "Wait until Luge serves", ANY, move |_: NoParams, caller| {
            wait_init(&*alive(&wait)?, caller)
        }),
        Method::new("framework_get_reactors", "Show the cores", RUNTIME, move |_: NoParams| {
            Ok(describe_cores(&reactors))
        }),
        Method::new("thread_get_stats", "Show how busy the cores are", RUNTIME, move |_: NoParams| {
            Ok(describe_threads(&threads))
        }),
        Method::new("rpc_get_methods", "List the methods", ANY, move |params: GetMethods| {
            Ok(names(&*alive(&list)?, params.current.unwrap_or(false)))
        }),
        Method::new("spdk_get_version", "Show Luge's version", ANY, |_: NoParams| Ok(version())),
        Method::new("spdk_kill_instance", "Send Luge a signal", ANY, |params: Kill| {
            kill(params.sig_name).map(|()| true)
        }),
    ]
}

fn wait_init(dispatcher: &Dispatcher, caller: &Caller<'_>) -> Result<bool, RpcError> {
    if dispatcher.stage() == Stage::Runtime {
        return Ok(true);
    }
    let _permit = caller.wait_permit()?;
    match dispatcher.wait_past_startup(caller) {
        Stage::Startup | Stage::Runtime => Ok(true),
        Stage::Stopping => Err(RpcError::internal("Luge is stopping")),
    }
}

/// Sends a signal to this process. To process 1 the kernel delivers only caught signals, not even SIGKILL.
fn kill(name: SignalName) -> Result<(), RpcError> {
    let signal = Signal::from(name);
    if getpid().is_init() && !is_caught(signal) {
        return Err(RpcError::unsupported(
            "parameter `sig_name`: Luge is process 1 here, which does not get that signal: send SIGTERM",
        ));
    }
    kill_process(getpid(), signal).map_err(RpcError::internal)
}

/// Whether this process has a handler for a signal, by proc(5).
fn is_caught(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(u64::MAX);
    mask >> (signal.as_raw() - 1) & 1 == 1
}

/// Loads the configuration and enters the runtime stage. Disks are served meanwhile, each as soon as its SSD is
/// there. If an entry fails, all that was made is undone.
///
/// # Errors
/// Error of the entry that failed.
pub fn start_init(host: &Host, dispatcher: &Dispatcher) -> Result<(), RpcError> {
    let _one_at_a_time = host.lock_loading()?;
    if dispatcher.stage() != Stage::Startup {
        return Err(RpcError::invalid_state("Luge has started already"));
    }
    host.config.check(|method| dispatcher.find(method).map(drop))?;
    let call = |method: &str, params| {
        let caller = Caller::new(|| dispatcher.stage() != Stage::Stopping);
        dispatcher.prepare(Stage::Runtime, method, params)?.value(&caller)
    };
    let applied = host.config.apply(&Callers { here: &call, beside: &call });
    if applied.is_err() {
        host.control.clear()?;
    }
    applied?;
    host.config.keep_order(&host.control)?;
    dispatcher.enter(Stage::Runtime);
    Ok(())
}

pub(super) fn alive(dispatcher: &Weak<Dispatcher>) -> Result<Arc<Dispatcher>, RpcError> {
    dispatcher.upgrade().ok_or_else(|| RpcError::invalid_state("Luge is stopping"))
}

fn names(dispatcher: &Dispatcher, current: bool) -> Vec<&'static str> {
    let stage = dispatcher.stage();
    let listed = dispatcher.methods().filter(|method| !current || method.works_in(stage));
    listed.map(Method::name).collect()
}

fn version() -> Value {
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    json!({
        "version": concat!("Luge v", env!("CARGO_PKG_VERSION")),
        "fields": {
            "major": number(env!("CARGO_PKG_VERSION_MAJOR")),
            "minor": number(env!("CARGO_PKG_VERSION_MINOR")),
            "patch": number(env!("CARGO_PKG_VERSION_PATCH")),
            "suffix": env!("CARGO_PKG_VERSION_PRE"),
        },
    })
}

/// Describes the cores as SPDK's threads. Clients look for "poll" in the names.
fn describe_threads(control: &Control) -> Value {
    let describe = |core: &CoreHandle| {
        let asleep = core.stats().asleep();
        // Wakes it: a core counts the time of a sleep at its end.
        core.call(|_| ());
        json!({
            "name": format!("poll_{}", core.id().0),
            "id": core.id().0,
            "cpumask": Cpus::from_iter([core.id()]).mask(),
            "busy": core.stats().busy_ticks(),
            "idle": core.stats().idle_ticks(),
            "in_interrupt": asleep,
            "active_pollers_count": 1,
            "timed_pollers_count": 0,
            "paused_pollers_count": 0,
        })
    };
    let threads: Vec<_> = control.platform().cores.iter().map(describe).collect();
    json!({ "tick_rate": luge_core::tick_rate(), "threads": threads })
}

/// Describes the use that a tenant has made of a core.
fn describe_account(account: &Account) -> Value {
    json!({
        "tenant": account.tenant().to_string(),
        "work": account.work(),
        "turns": account.visits(),
        "longest_us": in_us(account.longest_ticks()),
    })
}

/// Ticks of the time stamp counter in microseconds.
fn in_us(ticks: u64) -> u64 {
    let us = u128::from(ticks) * 1_000_000 / u128::from(luge_core::tick_rate());
    u64::try_from(us).unwrap_or(u64::MAX)
}

fn describe_cores(control: &Control) -> Value {
    let times = CpuTimes::all();
    let describe = |core: &CoreHandle| {
        // Asked before anything else is asked of it, which wakes it.
        let asleep = core.stats().asleep();
        let times = times.get(&core.id()).copied().unwrap_or_default();
        json!({
            "lcore": core.id().0,
            "tid": core.call(|_| rustix::thread::gettid()).as_raw_nonzero(),
            "busy": core.stats().busy_ticks(),
            "idle": core.stats().idle_ticks(),
            "in_interrupt": asleep,
            "irq": times.interrupts,
            "sys": times.kernel,
            "usr": times.user,
            "sleeps": core.stats().sleeps(),
            "rings": core.rings(),
            "load": (core.stats().load() * 100.0).round() / 100.0,
            "numa_node": core.node().map(|node| node.0),
            "poll_us": core.stats().poll_window_us(),
            "longest_turn_us": in_us(core.stats().longest_turn_ticks()),
            "tenants": core.accounts().iter().map(|account| describe_account(account)).collect::<Vec<_>>(),
            "lw_threads": [],
        })
    };
    let cores: Vec<_> = control.platform().cores.iter().map(describe).collect();
    json!({ "tick_rate": luge_core::tick_rate(), "pid": getpid().as_raw_nonzero(), "reactors": cores })
}
