//! Arrows between crates: each points down, as the table says.

use super::workspace::{assert_none, workspace};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Crates that each crate may depend on; all of them stand above it in this table.
const ARROWS: &[(&str, &[&str])] = &[
    ("luge-seeded", &[]),
    ("luge-skip", &[]),
    ("luge-measure", &[]),
    ("luge-spec", &[]),
    ("luge-memory", &[]),
    ("luge-vfio", &["luge-memory", "luge-spec"]),
    ("luge-block", &["luge-memory", "luge-seeded"]),
    ("luge-nvme", &["luge-block", "luge-memory", "luge-seeded", "luge-spec"]),
    ("luge-reservations", &[]),
    ("luge-volume", &["luge-block", "luge-memory", "luge-reservations"]),
    ("luge-scsi", &["luge-block", "luge-reservations", "luge-spec", "luge-volume"]),
    ("luge-trace", &[]),
    ("luge-core", &["luge-block", "luge-memory", "luge-reservations", "luge-trace", "luge-volume"]),
    ("luge-virtqueue", &["luge-memory", "luge-spec"]),
    ("luge-socket", &[]),
    ("luge-endpoint", &["luge-core", "luge-memory", "luge-socket"]),
    (
        "luge-vhost",
        &[
            "luge-block",
            "luge-core",
            "luge-endpoint",
            "luge-memory",
            "luge-reservations",
            "luge-scsi",
            "luge-socket",
            "luge-spec",
            "luge-virtqueue",
            "luge-volume",
        ],
    ),
    ("luge-vfio-user", &["luge-core", "luge-endpoint", "luge-memory", "luge-socket", "luge-spec"]),
    (
        "luge-nvme-target",
        &[
            "luge-block",
            "luge-core",
            "luge-memory",
            "luge-reservations",
            "luge-spec",
            "luge-vfio-user",
            "luge-volume",
        ],
    ),
    ("luge-rpc", &["luge-socket"]),
    ("luge-observe", &["luge-rpc"]),
    ("luge-exporter", &["luge-observe"]),
    ("luge-host", &["luge-vfio"]),
    ("luge-init", &[]),
    ("luge-top", &["luge-init", "luge-observe"]),
    ("luge-vm", &["luge-init", "luge-memory", "luge-socket"]),
    ("luge-bench", &["luge-block", "luge-memory", "luge-nvme", "luge-seeded", "luge-spec", "luge-vfio"]),
    (
        "luge",
        &[
            "luge-bench",
            "luge-block",
            "luge-core",
            "luge-exporter",
            "luge-host",
            "luge-init",
            "luge-memory",
            "luge-nvme",
            "luge-nvme-target",
            "luge-observe",
            "luge-reservations",
            "luge-rpc",
            "luge-scsi",
            "luge-socket",
            "luge-spec",
            "luge-top",
            "luge-trace",
            "luge-vfio",
            "luge-vfio-user",
            "luge-vhost",
            "luge-vm",
            "luge-volume",
        ],
    ),
    ("luge-image", &[]),
    ("luge-qemu-test", &["luge-image", "luge-skip", "luge-vfio"]),
];

/// Crates of the workspace that each crate depends on, besides those that only its tests use.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let output = metadata.current_dir(workspace()).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|package| (text_of(&package["name"]), dependencies_of(package))).collect()
}

fn dependencies_of(package: &Value) -> BTreeSet<String> {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    let ours = dependencies.filter(|one| one["path"].is_string() && one["kind"] != "dev");
    ours.map(|one| text_of(&one["name"])).collect()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn arrows_between_crates_point_down() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let wrong = arrows().into_iter().flat_map(|(from, to)| {
        let allowed = allowed.get(from.as_str()).copied().unwrap_or_default();
        let wrong = to.into_iter().filter(|to| !allowed.contains(&to.as_str()));
        wrong.map(|to| format!("{from} -> {to}")).collect::<Vec<_>>()
    });
    assert_none("arrows that the plan does not have", wrong.collect());
}

#[test]
fn the_table_of_arrows_names_every_crate_once_and_has_no_circle() {
    let named: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        named.iter().copied().map(str::to_owned).collect::<BTreeSet<_>>(),
        arrows().into_keys().collect()
    );
    for (at, (name, below)) in ARROWS.iter().enumerate() {
        for to in *below {
            assert!(named[..at].contains(to), "{name} -> {to} does not point to a line above it");
        }
    }
}
