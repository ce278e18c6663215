//! `vhost_get_controllers`: lists the controllers with their front ends.

use super::{blk, scsi};
use crate::control::{Control, Disk, Endpoint, Server, VhostDevice};
use crate::cpus::Cpus;
use crate::methods::definition::{listed, method};
use luge_rpc::{Method, RpcError, params};
use luge_vhost::FrontEndStatus;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

params! {
    /// Parameters of `vhost_get_controllers`.
    struct Get {
        /// Name of one controller; all if not given
        name: Option<String>,
    }
}

pub fn method_of(control: &Arc<Control>) -> Method {
    method(control, "vhost_get_controllers", "List the vhost controllers", get)
}

fn get(control: &Arc<Control>, params: Get) -> Result<Box<RawValue>, RpcError> {
    control.ask(move |sled| match params.name {
        Some(name) => listed([describe(&name, sled.endpoints.get(&name)?)]),
        None => {
            listed(sled.endpoints.iter().map(|(name, endpoint)| describe(name, endpoint)).collect::<Vec<_>>())
        }
    })
}

fn describe(name: &str, endpoint: &Endpoint) -> Value {
    let (status, coalescing) = (endpoint.status(), endpoint.server.coalescing().get());
    let sessions: Vec<_> = status.front_end.iter().map(|front_end| session(name, front_end)).collect();
    json!({
        "ctrlr": name,
        "cpumask": status.cores.iter().copied().collect::<Cpus>().mask(),
        "delay_base_us": coalescing.delay_base_us,
        "iops_threshold": coalescing.iops_threshold,
        "socket": status.socket,
        "listening": matches!(endpoint.server, Server::Listening(_)),
        "num_queues": match &endpoint.device {
            VhostDevice::Disk(_) => status.queues_max,
            VhostDevice::Hba(hba) => hba.request_queues,
        },
        "sessions": sessions,
        "front_ends": {
            "connections": status.counts.connections,
            "protocol_errors": status.counts.protocol_errors,
            "silent": status.counts.silent,
            "waited": status.counts.waited,
            "waiting": status.counts.waiting,
            "cut_off_in_a_row": status.backoff.cut_off,
            "pause_left_ms": millis(status.backoff.pause_left),
        },
        "backend_specific": match &endpoint.device {
            VhostDevice::Disk(disk) => json!({ "block": block(disk) }),
            VhostDevice::Hba(hba) => scsi::describe(hba),
        },
    })
}

fn block(disk: &Disk) -> Value {
    json!({ "readonly": disk.device.is_read_only(), "bdev": disk.bdev, "transport": blk::TRANSPORT })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn session(name: &str, front_end: &FrontEndStatus) -> Value {
    let in_flight: u64 = front_end.queues.iter().map(|queue| u64::from(queue.in_flight)).sum();
    json!({
        "vid": front_end.number,
        "id": front_end.number,
        "name": format!("{name}s{}", front_end.number),
        "started": !front_end.queues.is_empty(),
        "max_queues": front_end.queues.len(),
        "memory_stalls": front_end.stalls.count,
        "longest_memory_stall_us": u64::try_from(front_end.stalls.longest.as_micros()).unwrap_or(u64::MAX),
        "inflight_task_cnt": in_flight,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_vhost::Stalls;

    #[test]
    fn waits_of_cores_for_memory_are_shown() {
        let stalls = Stalls { count: 2, longest: Duration::from_millis(390) };
        let shown = session("d", &FrontEndStatus { number: 7, queues: vec![], stalls });
        assert_eq!(shown["memory_stalls"], 2);
        assert_eq!(shown["longest_memory_stall_us"], 390_000);
    }
}
