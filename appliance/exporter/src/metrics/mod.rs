//! Metrics of the sled, by Prometheus' conventions: base units, `_total` for totals, names as labels.
//!
//! - `text`: the text format. `family`: a sample for each thing. `histogram`: fixed bounds.
//! - `volume`: the volumes. `ssd`: the SSDs and their health. The other parts of the sled are here.
//!
//! Invariants
//! - A number that Luge does not tell has no sample, rather than zero.

mod family;
mod histogram;
mod ssd;
mod text;
mod volume;

#[cfg(test)]
mod tests;

use family::{Each, from_us, known, number, whether};
use luge_observe::{Core, Endpoint, Snapshot, Vm};
use text::{Kind, Text};

pub use text::MEDIA_TYPE;

/// Metrics of the sled; of none, that it does not answer.
#[must_use]
pub fn metrics(sled: Option<&Snapshot>) -> String {
    let mut text = Text::default();
    let mut up = text.family("luge_up", Kind::Gauge, "Whether Luge answers the exporter.");
    up.sample(&[], u8::from(sled.is_some()));
    if let Some(sled) = sled {
        let mut info = text.family("luge_build_info", Kind::Gauge, "Version of Luge; the value is 1.");
        info.sample(&[("version", sled.version.as_deref().unwrap_or_default())], 1);
        write_cores(&mut text, sled);
        ssd::write(&mut text, &sled.ssds);
        volume::write(&mut text, sled);
        write_endpoints(&mut text, &sled.endpoints);
        write_vms(&mut text, &sled.vms);
    }
    text.finish()
}

fn write_cores(text: &mut Text, sled: &Snapshot) {
    let families = [
        Each::gauge("luge_core_rings", "Rings that a core serves.", |core: &Core| known(core.rings)),
        Each::gauge("luge_core_asleep", "Whether a core sleeps.", |core| whether(core.is_asleep)),
        Each::gauge("luge_core_load", "Load of a core, from 0 to 1.", |core| core.load),
        Each::gauge("luge_core_longest_turn_seconds", "Longest turn of a core.", |core| {
            from_us(core.longest_turn_us)
        }),
    ];
    families
        .iter()
        .for_each(|family| family.write(text, &sled.cores, |core| [("core", core.id.to_string())]));
    let Some(rate) = sled.tick_rate else { return };
    let mut write = |name, help, ticks: fn(&Core) -> Option<u64>| {
        if sled.cores.iter().any(|core| ticks(core).is_some()) {
            let mut family = text.family(name, Kind::Counter, help);
            for core in &sled.cores {
                if let Some(ticks) = ticks(core) {
                    family.sample(&[("core", &core.id.to_string())], number(ticks) / number(rate));
                }
            }
        }
    };
    write("luge_core_busy_seconds_total", "Time in turns that found work.", |core| core.busy_ticks);
    write("luge_core_idle_seconds_total", "Time in turns that found none, and asleep.", |core| {
        core.idle_ticks
    });
}

fn write_endpoints(text: &mut Text, endpoints: &[Endpoint]) {
    if endpoints.is_empty() {
        return;
    }
    let help = "Volumes of an endpoint, and its kind; the value is 1.";
    let mut info = text.family("luge_endpoint_info", Kind::Gauge, help);
    for endpoint in endpoints {
        for volume in &endpoint.volumes {
            let labels =
                [("endpoint", endpoint.name.as_str()), ("kind", endpoint.kind.name()), ("volume", volume)];
            info.sample(&labels, 1);
        }
    }
    let families = [
        Each::gauge("luge_endpoint_front_ends", "Front ends that are served.", |endpoint: &Endpoint| {
            known(endpoint.front_ends)
        }),
        Each::gauge("luge_endpoint_queues", "Queues of these front ends.", |endpoint| known(endpoint.queues)),
        Each::gauge("luge_endpoint_in_flight", "Requests in flight.", |endpoint| known(endpoint.in_flight)),
        Each::gauge("luge_endpoint_waiting", "Front ends that wait to be served.", |endpoint| {
            known(endpoint.waiting)
        }),
        Each::gauge(
            "luge_endpoint_memory_stalls",
            "Times that a core waited for the memory of the front ends that are connected.",
            |endpoint| known(endpoint.memory_stalls),
        ),
    ];
    for family in &families {
        // A vhost controller and an NVMe subsystem may have one name.
        family.write(text, endpoints, |endpoint| {
            [("endpoint", endpoint.name.clone()), ("kind", endpoint.kind.name().to_owned())]
        });
    }
}

fn write_vms(text: &mut Text, vms: &[Vm]) {
    if vms.is_empty() {
        return;
    }
    let mut states = text.family("luge_vm_state", Kind::Gauge, "State that a VM is in; the value is 1.");
    for vm in vms {
        states.sample(&[("vm", &vm.name), ("state", vm.state.as_deref().unwrap_or_default())], 1);
    }
    let families = [
        Each::gauge("luge_vm_cpus", "Virtual CPUs of a VM.", |vm: &Vm| known(vm.cpus)),
        Each::gauge("luge_vm_memory_bytes", "Memory of a VM.", |vm| Some(number(vm.memory_mib?) * 1048576.0)),
    ];
    families.iter().for_each(|family| family.write(text, vms, |vm| [("vm", vm.name.clone())]));
}
