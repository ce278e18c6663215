//! Option methods of SPDK: some that Luge obeys, and some that have no effect.
//!
//! Stock configurations have an option method for every part of SPDK, and orchestrators call some
//! when they start. The options ignored here are about speed, or about parts whose own methods are
//! unknown to Luge, so ignoring them breaks no promise. Each is logged once. An option that data
//! depends on does not belong here: such an option is obeyed, or refused by name.

use super::definition::{ANY, RUNTIME};
use crate::control::Control;
use luge_rpc::{Method, NoParams, Param, Params, params};
use serde::de::{Deserialize, Deserializer, IgnoredAny};
use std::collections::BTreeMap;
use std::sync::{Arc, Once};

/// Methods without effect, with the reason.
const PASSED_OVER: &[(&str, &str)] = &[
    ("accel_assign_opc", ACCEL),
    ("accel_set_driver", ACCEL),
    ("accel_set_options", ACCEL),
    ("ae4dma_scan_accel_module", ACCEL),
    ("bdev_iscsi_set_options", "Luge has no iSCSI initiator"),
    ("bdev_nvme_set_hotplug", "SSDs are attached one by one, with bdev_nvme_attach_controller"),
    ("bdev_nvme_set_multipath_policy", "an SSD on PCIe has one path"),
    ("bdev_nvme_set_options", "an SSD that does not answer for 30 s is reset, and every flush is passed on"),
    ("bdev_raid_set_options", "Luge has no RAID"),
    ("bdev_set_options", "Luge has no pools of requests to be sized"),
    ("bdev_virtio_blk_set_hotplug", "Luge has no virtio initiator"),
    ("compressdev_scan_accel_module", ACCEL),
    ("cuda_scan_accel_module", ACCEL),
    ("dpdk_cryptodev_scan_accel_module", ACCEL),
    ("dpdk_cryptodev_set_driver", ACCEL),
    ("dsa_scan_accel_module", ACCEL),
    ("framework_set_scheduler", "each core of Luge sleeps when it is idle, and disks stay on their cores"),
    ("fsdev_set_opts", "Luge serves no file systems"),
    ("iaa_scan_accel_module", ACCEL),
    ("ioat_scan_accel_module", ACCEL),
    ("iobuf_set_options", "Luge has no pools of buffers to be sized"),
    ("iscsi_set_options", "Luge serves no iSCSI"),
    ("keyring_linux_set_options", "Luge has no keys"),
    ("log_clear_flag", LOG_FLAGS),
    ("log_enable_timestamps", "the log always has timestamps"),
    ("log_set_flag", LOG_FLAGS),
    ("mlx5_scan_accel_module", ACCEL),
    ("nvmf_set_config", NVMF),
    ("nvmf_set_crdt", NVMF),
    ("nvmf_set_max_subsystems", NVMF),
    ("scheduler_set_options", "disks stay on their cores"),
    ("sock_impl_set_options", SOCK),
    ("sock_set_default_impl", SOCK),
    ("vmd_enable", "SSDs behind a VMD cannot be attached"),
];

const ACCEL: &str = "Luge computes nothing that an accelerator could";
const LOG_FLAGS: &str = "the log has one level for all parts: log_set_level";
const NVMF: &str = "Luge serves no NVMe over fabrics";
const SOCK: &str = "Luge serves nothing on a network";

/// Option methods that are obeyed.
const OBEYED: &[&str] = &[
    "bdev_examine",
    "bdev_wait_for_examine",
    "log_set_level",
    "log_set_print_level",
    "vhost_controller_set_coalescing",
];

/// Whether a method is an option method, here or in SPDK.
pub fn is_option(method: &str) -> bool {
    OBEYED.contains(&method) || PASSED_OVER.iter().any(|(name, _)| *name == method)
}

/// Parameters of any name and type.
struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<String, IgnoredAny>::deserialize(deserializer).map(|_| Self)
    }
}

impl Params for Anything {
    const LIST: &'static [Param] = &[];
}

params! {
    /// Parameters of `bdev_examine`.
    struct Examine {
        /// Name of the bdev
        name: String,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    let examined = control.clone();
    let mut methods: Vec<_> = PASSED_OVER.iter().map(|(name, why)| passed_over(name, why)).collect();
    methods.extend([
        Method::new(
            "bdev_wait_for_examine",
            "Return at once: nothing is examined",
            RUNTIME,
            |_: NoParams| Ok(true),
        ),
        Method::new("bdev_examine", "Check that a device exists", RUNTIME, move |params: Examine| {
            examined.ask(move |sled| sled.bdevs.resolve(&params.name).map(|_| true))
        }),
    ]);
    methods
}

fn passed_over(name: &'static str, why: &'static str) -> Method {
    let said = Once::new();
    Method::new(name, "Taken for compatibility, and passed over", ANY, move |_: Anything| {
        said.call_once(|| tracing::info!("{name} is passed over: {why}"));
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::control;
    use luge_rpc::Dispatcher;
    use serde_json::json;

    #[test]
    fn each_method_is_there_once_and_takes_whatever_it_is_given() {
        let dispatcher = Dispatcher::new(methods(&control()));
        for (name, _) in PASSED_OVER {
            assert_eq!(dispatcher.dispatch(name, json!({"x": [1, {}]})).unwrap(), true, "{name}");
            assert!(dispatcher.dispatch(name, json!([1])).is_err(), "{name}");
        }
    }
}
