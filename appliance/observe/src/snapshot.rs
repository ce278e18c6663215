//! Snapshot: the numbers of a Luge at one moment.

use crate::answer::{clean, entries, flag, fraction, list, number, text, texts};
use crate::endpoint::{Endpoint, EndpointKind};
use crate::histogram::Histogram;
use crate::source::{Source, SourceError};
use crate::ssd::Ssd;
use crate::volume::{Counters, Volume};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Maximum number of NVMe subsystems whose controllers are asked for, each by a call.
const SUBSYSTEMS_ASKED_MAX: usize = 64;

/// Maximum depth of volumes that are parts of volumes.
const NESTING_MAX: usize = 8;

/// A core.
#[derive(Clone, PartialEq, Debug)]
pub struct Core {
    /// CPU.
    pub id: u64,
    /// Ticks of turns that found work, since the start.
    pub busy_ticks: Option<u64>,
    /// Ticks of other turns and of sleep, since the start.
    pub idle_ticks: Option<u64>,
    /// Whether it sleeps.
    pub is_asleep: Option<bool>,
    /// Share of the last moments with work, from 0 to 1.
    pub load: Option<f64>,
    /// Number of rings.
    pub rings: Option<u64>,
    /// NUMA node.
    pub numa_node: Option<u64>,
    /// Longest turn in microseconds.
    pub longest_turn_us: Option<u64>,
    /// Tenants.
    pub tenants: Vec<Tenant>,
}

/// A tenant of a core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenant {
    /// Name.
    pub name: String,
    /// Work done for it, in the units of a turn's budget.
    pub work: Option<u64>,
    /// Number of turns with work for it.
    pub turns: Option<u64>,
    /// Longest time of one turn that it took, in microseconds.
    pub longest_us: Option<u64>,
}

/// A virtual machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vm {
    /// Name.
    pub name: String,
    /// State.
    pub state: Option<String>,
    /// Number of virtual CPUs.
    pub cpus: Option<u64>,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Names of the endpoints of its disks.
    pub disks: Vec<String>,
}

/// A method that was refused: the numbers of it are absent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// Name of the method.
    pub method: String,
    /// Reason.
    pub reason: String,
}

/// Numbers of a Luge at one moment.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Snapshot {
    /// Version, such as `Luge v0.1.0`.
    pub version: Option<String>,
    /// Process ID; a different one tells that Luge was started again.
    pub pid: Option<u64>,
    /// Moment of the counters, in ticks.
    pub ticks: Option<u64>,
    /// Ticks per second.
    pub tick_rate: Option<u64>,
    /// Cores.
    pub cores: Vec<Core>,
    /// SSDs.
    pub ssds: Vec<Ssd>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Virtual machines.
    pub vms: Vec<Vm>,
    /// Methods that were refused.
    pub missing: Vec<Missing>,
}

impl Snapshot {
    /// Takes a snapshot. A method that Luge refuses, as an old one does or one that only starts, is noted.
    ///
    /// # Errors
    /// [`SourceError::Away`].
    pub fn take(source: &mut dyn Source) -> Result<Self, SourceError> {
        let mut asking = Asking { source, missing: Vec::new() };
        let version = text(&asking.call("spdk_get_version", Value::Null)?, "version");
        let reactors = asking.call("framework_get_reactors", Value::Null)?;
        let endpoints = endpoints(&mut asking)?;
        let mut snapshot = Self {
            version,
            pid: number(&reactors, "pid"),
            cores: list(&reactors, "reactors").filter_map(core).collect(),
            ssds: entries(&asking.call("bdev_nvme_get_controllers", Value::Null)?)
                .filter_map(Ssd::read)
                .collect(),
            volumes: entries(&asking.call("bdev_get_bdevs", Value::Null)?).filter_map(Volume::read).collect(),
            endpoints,
            vms: entries(&asking.call("vm_get_vms", Value::Null)?).filter_map(vm).collect(),
            ..Self::default()
        };
        snapshot.resolve_addresses();
        snapshot.add_latencies(&asking.call("luge_get_latency", Value::Null)?);
        snapshot.add_counters(&asking.call("bdev_get_iostat", Value::Null)?);
        snapshot.missing = asking.missing;
        Ok(snapshot)
    }

    /// SSD on which a volume is, directly or as a part of another one.
    #[must_use]
    pub fn ssd_of(&self, volume: &Volume) -> Option<&Ssd> {
        let address = volume.ssd_address.as_ref()?;
        self.ssds.iter().find(|ssd| ssd.address.as_ref() == Some(address))
    }

    /// Gives parts of volumes the address of the SSD beneath, however deep they are nested.
    fn resolve_addresses(&mut self) {
        let bases: BTreeMap<String, Volume> =
            self.volumes.iter().map(|volume| (volume.name.clone(), volume.clone())).collect();
        for volume in &mut self.volumes {
            let mut at = volume.base.as_ref();
            for _ in 0..NESTING_MAX {
                let Some(base) = at.and_then(|name| bases.get(name)) else { break };
                volume.ssd_address = volume.ssd_address.take().or_else(|| base.ssd_address.clone());
                at = base.base.as_ref();
            }
        }
    }

    fn add_counters(&mut self, iostat: &Value) {
        self.ticks = number(iostat, "ticks");
        self.tick_rate = number(iostat, "tick_rate").filter(|rate| *rate > 0);
        let mut counters: BTreeMap<String, Counters> = list(iostat, "bdevs")
            .filter_map(|entry| Some((text(entry, "name")?, Counters::read(entry))))
            .collect();
        for volume in &mut self.volumes {
            volume.counters = counters.remove(&volume.name);
        }
    }

    fn add_latencies(&mut self, answer: &Value) {
        let histograms =
            |entry: &Value| list(entry, "operations").filter_map(Histogram::read).collect::<Vec<_>>();
        let mut latencies: BTreeMap<String, Vec<Histogram>> =
            entries(answer).filter_map(|entry| Some((text(entry, "name")?, histograms(entry)))).collect();
        for volume in &mut self.volumes {
            volume.latencies = latencies.remove(&volume.name);
        }
    }
}

/// A source, and the methods that it refused.
struct Asking<'a> {
    source: &'a mut dyn Source,
    missing: Vec<Missing>,
}

impl Asking<'_> {
    /// Calls a method; null if it is refused.
    fn call(&mut self, method: &str, params: Value) -> Result<Value, SourceError> {
        match self.source.call(method, params) {
            Err(SourceError::Refused { message, .. }) => {
                if !self.missing.iter().any(|one| one.method == method) {
                    self.missing.push(Missing { method: method.into(), reason: clean(&message) });
                }
                Ok(Value::Null)
            }
            other => other,
        }
    }
}

fn endpoints(asking: &mut Asking<'_>) -> Result<Vec<Endpoint>, SourceError> {
    let controllers = asking.call("vhost_get_controllers", Value::Null)?;
    let subsystems = asking.call("nvmf_get_subsystems", Value::Null)?;
    let vhost = entries(&controllers).filter_map(Endpoint::read_vhost);
    let mut endpoints: Vec<_> =
        vhost.chain(entries(&subsystems).filter_map(Endpoint::read_subsystem)).collect();
    let subsystems = endpoints.iter_mut().filter(|endpoint| endpoint.kind == EndpointKind::Nvme);
    for subsystem in subsystems.take(SUBSYSTEMS_ASKED_MAX) {
        let answer = asking.call("nvmf_subsystem_get_controllers", json!({ "nqn": subsystem.name }))?;
        if answer.is_array() {
            subsystem.add_controllers(&answer);
        }
    }
    Ok(endpoints)
}

/// Core in an entry of `framework_get_reactors`.
fn core(value: &Value) -> Option<Core> {
    let tenant = |value: &Value| {
        Some(Tenant {
            name: text(value, "tenant")?,
            work: number(value, "work"),
            turns: number(value, "turns"),
            longest_us: number(value, "longest_us"),
        })
    };
    Some(Core {
        id: number(value, "lcore")?,
        busy_ticks: number(value, "busy"),
        idle_ticks: number(value, "idle"),
        is_asleep: flag(value, "in_interrupt"),
        load: fraction(value, "load"),
        rings: number(value, "rings"),
        numa_node: number(value, "numa_node"),
        longest_turn_us: number(value, "longest_turn_us"),
        tenants: list(value, "tenants").filter_map(tenant).collect(),
    })
}

/// Virtual machine in an entry of `vm_get_vms`.
fn vm(value: &Value) -> Option<Vm> {
    Some(Vm {
        name: text(value, "name")?,
        state: text(value, "state"),
        cpus: number(value, "cpus"),
        memory_mib: number(value, "memory_mib"),
        disks: texts(value, "disks"),
    })
}
