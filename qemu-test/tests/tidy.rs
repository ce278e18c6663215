//! The house rules that a program can check: sizes, arrows, where unsafe code is, what lies
//! at the top level, and that every dependency has a reason.
//!
//! Not here: formatting and lints, which `cargo fmt` and `cargo clippy` know better.

#![expect(clippy::unwrap_used, reason = "what cannot be read cannot be tidy")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Folders with code of ours.
const ROOMS: [&str; 5] = ["appliance", "buildroot", "drivers", "image", "qemu-test"];

/// All that the top level may hold besides rooms, dot-files and the build's own folder.
const TOP_LEVEL: [&str; 10] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "PERFORMANCE.md",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
];

/// What each crate may depend on: arrows point down.
const ARROWS: &[(&str, &[&str])] = &[
    ("luge-measure", &[]),
    ("luge-spec", &[]),
    ("luge-memory", &[]),
    ("luge-vfio", &["luge-memory"]),
    ("luge-block", &["luge-memory"]),
    ("luge-nvme", &["luge-block", "luge-memory", "luge-spec"]),
    ("luge-volume", &["luge-block", "luge-memory"]),
    ("luge-core", &["luge-block", "luge-volume"]),
    ("luge-virtqueue", &["luge-memory", "luge-spec"]),
    ("luge-socket", &[]),
    (
        "luge-vhost",
        &[
            "luge-block",
            "luge-core",
            "luge-memory",
            "luge-socket",
            "luge-spec",
            "luge-virtqueue",
            "luge-volume",
        ],
    ),
    ("luge-rpc", &["luge-socket"]),
    ("luge-init", &[]),
    ("luge-vm", &["luge-init", "luge-socket"]),
    ("luge-bench", &["luge-memory", "luge-spec"]),
    (
        "luge",
        &[
            "luge-bench",
            "luge-block",
            "luge-core",
            "luge-init",
            "luge-memory",
            "luge-nvme",
            "luge-rpc",
            "luge-socket",
            "luge-spec",
            "luge-vfio",
            "luge-vhost",
            "luge-vm",
            "luge-volume",
        ],
    ),
    ("luge-image", &[]),
    ("luge-qemu-test", &["luge-image", "luge-vfio"]),
];

/// The modules that open unsafe code, each with `#![expect(unsafe_code, reason = ...)]`.
const UNSAFE_MODULES: &[&str] = &[
    "appliance/bench/src/arena.rs",
    "appliance/bench/src/clock.rs",
    "appliance/bench/src/ideal.rs",
    "appliance/bench/tests/rig/memory.rs",
    "appliance/core/src/notify.rs",
    "appliance/vhost/benches/turn.rs",
    "appliance/vhost/src/blk/session.rs",
    "appliance/vhost/src/connection/front_end.rs",
    "appliance/vhost/src/connection/vring.rs",
    "appliance/vhost/tests/fences.rs",
    "appliance/vhost/tests/independent_front_end.rs",
    "appliance/vhost/tests/no_allocation.rs",
    "appliance/vhost/tests/owed_interrupt.rs",
    "appliance/virtqueue/src/ending.rs",
    "appliance/virtqueue/src/indirect.rs",
    "appliance/virtqueue/src/layout.rs",
    "appliance/virtqueue/src/plain.rs",
    "appliance/virtqueue/src/rig/driver.rs",
    "appliance/virtqueue/src/rig/memory.rs",
    "appliance/virtqueue/src/split.rs",
    "appliance/virtqueue/src/walk.rs",
    "appliance/virtqueue/tests/fuzz.rs",
    "appliance/virtqueue/tests/independent_reader.rs",
    "appliance/virtqueue/tests/pair/mod.rs",
    "appliance/virtqueue/tests/split_ring.rs",
    "appliance/vm/src/child.rs",
    "appliance/volume/tests/cut_parts.rs",
    "appliance/volume/tests/graph.rs",
    "appliance/volume/src/clock.rs",
    "appliance/volume/tests/volumes.rs",
    "drivers/block/benches/memory.rs",
    "drivers/block/src/check.rs",
    "drivers/block/src/doubles/arena.rs",
    "drivers/block/src/doubles/narrow.rs",
    "drivers/block/src/file/buffers.rs",
    "drivers/block/src/file/channel.rs",
    "drivers/block/src/file/memory.rs",
    "drivers/block/src/file/resident.rs",
    "drivers/block/src/memory/mod.rs",
    "drivers/block/tests/check_catches.rs",
    "drivers/block/tests/desk/mod.rs",
    "drivers/block/tests/file.rs",
    "drivers/block/tests/file_in_memory.rs",
    "drivers/block/tests/no_allocation.rs",
    "drivers/memory/benches/guest/mod.rs",
    "drivers/memory/src/copy.rs",
    "drivers/memory/src/dma_memory.rs",
    "drivers/memory/src/fault.rs",
    "drivers/memory/src/guest.rs",
    "drivers/memory/src/lookup.rs",
    "drivers/memory/src/mapping.rs",
    "drivers/memory/src/shared_array.rs",
    "drivers/memory/src/span.rs",
    "drivers/memory/tests/lost_memory.rs",
    "drivers/nvme/src/queue_memory.rs",
    "drivers/nvme/src/scripted/function.rs",
    "drivers/nvme/src/scripted/memory.rs",
    "drivers/nvme/src/scripted/rig.rs",
    "drivers/nvme/tests/no_allocation.rs",
    "drivers/vfio/src/function/bar.rs",
    "drivers/vfio/src/ioctl.rs",
    "qemu-test/src/process.rs",
];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every file below `folder`, by its path from there.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The text of every Rust file, by its path from the workspace.
fn sources() -> BTreeMap<String, String> {
    let files = ROOMS.iter().flat_map(|room| files_below(&workspace().join(room)));
    let rust = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| (name_of(&path), fs::read_to_string(&path).unwrap())).collect()
}

fn name_of(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap().display().to_string()
}

fn manifest() -> String {
    fs::read_to_string(workspace().join("Cargo.toml")).unwrap()
}

#[track_caller]
fn assert_none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// The functions of a formatted file that are longer than `max` lines. The formatter closes a
/// function in the column it began in, so columns are all one needs to look at.
fn long_functions(text: &str, max: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let begins = lines.iter().enumerate().filter(|(_, line)| begins_function(line));
    begins
        .filter_map(|(start, line)| {
            let close = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            let length = lines[start..].iter().position(|line| *line == close)? + 1;
            (length > max && !line.trim_end().ends_with([';', '}']))
                .then(|| format!("line {}: {length} lines", start + 1))
        })
        .collect()
}

fn begins_function(line: &str) -> bool {
    let words = line.split_whitespace().take_while(|word| *word != "fn");
    let qualifiers = ["pub", "const", "async", "unsafe", "extern", "\"C\"", "default"];
    let count = words.clone().count();
    words.into_iter().all(|word| qualifiers.contains(&word) || word.starts_with("pub("))
        && line.split_whitespace().nth(count) == Some("fn")
}

#[test]
fn no_file_is_too_long() {
    let long = sources().into_iter().filter(|(_, text)| text.lines().count() > FILE_LINES_MAX);
    assert_none("files past the end of the house style", long.map(|(name, _)| name).collect());
}

#[test]
fn no_function_is_too_long() {
    let long = sources().into_iter().flat_map(|(name, text)| {
        long_functions(&text, FUNCTION_LINES_MAX).into_iter().map(move |found| format!("{name} {found}"))
    });
    assert_none("functions past the end of the house style", long.collect());
}

#[test]
fn the_measure_of_functions_sees_methods_and_generics_and_not_declarations() {
    let text = "trait A {\n    fn declared();\n}\n\nimpl A {\n    pub(crate) const fn long<T>(\n        a: u8,\n    ) {\n        \
                body();\n    }\n\n    fn short() {}\n}\n\nfn top() {\n    x();\n}\n";
    assert_eq!(long_functions(text, 2), ["line 6: 5 lines", "line 15: 3 lines"]);
    assert_eq!(long_functions(text, 4), ["line 6: 5 lines"]);
}

#[test]
fn every_file_begins_by_saying_what_it_is() {
    let mute = sources().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    assert_none("files without a header", mute.map(|(name, _)| name).collect());
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    let empty_words = ["util", "utils", "common", "base", "helper", "helpers", "misc"];
    let named = sources().into_keys().filter(|name| {
        Path::new(name)
            .iter()
            .any(|part| empty_words.contains(&part.to_str().unwrap().trim_end_matches(".rs")))
    });
    assert_none("modules whose names say nothing", named.collect());
}

#[test]
fn no_test_is_switched_off_and_none_expects_a_panic() {
    let marks = [concat!("#[", "ignore"), concat!("#[", "should_panic")];
    let found = sources().into_iter().filter(|(_, text)| marks.iter().any(|mark| text.contains(mark)));
    assert_none("files with such tests", found.map(|(name, _)| name).collect());
}

#[test]
fn unsafe_code_is_opened_where_the_list_says_and_nowhere_else() {
    let opens = |text: &str| {
        text.lines().any(|line| line.contains("(unsafe_code") && line.trim_start().starts_with('#'))
    };
    let found: BTreeSet<String> =
        sources().into_iter().filter(|(_, text)| opens(text)).map(|(name, _)| name).collect();
    let listed: BTreeSet<String> = UNSAFE_MODULES.iter().map(|&name| name.to_owned()).collect();
    assert_none("modules that open unsafe code unlisted", found.difference(&listed).cloned().collect());
    assert_none("modules listed that open no unsafe code", listed.difference(&found).cloned().collect());
}

#[test]
fn unsafe_code_is_opened_by_an_expectation_with_a_reason() {
    let found = sources().into_iter().flat_map(|(name, text)| {
        let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with('#'));
        let opens = lines.filter(|line| line.contains("(unsafe_code"));
        let bad = opens.filter(|line| !line.contains("[expect(unsafe_code, reason = \""));
        bad.map(|line| format!("{name}: {line}")).collect::<Vec<_>>()
    });
    assert_none("unsafe code opened otherwise", found.collect());
}

/// What each crate of the workspace depends on, of the workspace's crates; tests may use more.
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
    for (place, (name, below)) in ARROWS.iter().enumerate() {
        for to in *below {
            assert!(named[..place].contains(to), "{name} -> {to} does not point to a line above it");
        }
    }
}

#[test]
fn the_top_level_holds_what_the_plan_names() {
    let entries = fs::read_dir(workspace()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = entries.map(|name| name.to_str().unwrap().to_owned());
    let known = |name: &str| {
        name.starts_with('.') || name == "target" || ROOMS.contains(&name) || TOP_LEVEL.contains(&name)
    };
    assert_none("entries that the plan does not have", names.filter(|name| !known(name)).collect());
    let missing = ROOMS.iter().chain(&TOP_LEVEL).filter(|name| !workspace().join(name).exists());
    assert_none("entries that are missing", missing.map(|&name| name.to_owned()).collect());
}

#[test]
fn every_dependency_has_a_reason_beside_it() {
    let manifest = manifest();
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let entries = section.lines().filter(|line| line.contains(" = ") && !line.contains("path = "));
    let bare = entries.filter(|line| !line.contains(" # "));
    assert_none("dependencies without a reason", bare.map(str::to_owned).collect());
}

#[test]
fn crates_take_their_dependencies_from_the_workspace() {
    let manifests = ROOMS.iter().flat_map(|room| files_below(&workspace().join(room)));
    let own = manifests.filter(|path| path.ends_with("Cargo.toml")).flat_map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        own_dependencies(&text).into_iter().map(move |line| format!("{}: {line}", name_of(&path)))
    });
    assert_none("dependencies that are not the workspace's", own.collect());
}

/// The lines of a crate's dependency sections that do not refer to the workspace.
fn own_dependencies(manifest: &str) -> Vec<String> {
    let sections = manifest
        .split("\n[")
        .filter(|section| section.split(']').next().is_some_and(|name| name.ends_with("dependencies")));
    let entries = sections.flat_map(|section| section.lines().skip(1));
    let entries = entries.filter(|line| line.contains('=') && !line.starts_with('#'));
    let shared = |line: &&str| line.contains("workspace = true") || line.contains("path = \".\"");
    entries.filter(|line| !shared(line)).map(str::to_owned).collect()
}

#[test]
fn no_file_names_a_registry_or_a_path_of_one_machine() {
    let hosts = [
        ["crates", "io"],
        ["pypi", "org"],
        ["pythonhosted", "org"],
        ["deb.debian", "org"],
        ["security.debian", "org"],
    ];
    let mut marks: Vec<String> = hosts.iter().map(|parts| parts.join(".")).collect();
    marks.push(workspace().display().to_string());
    let rooms = ROOMS.iter().flat_map(|room| files_below(&workspace().join(room)));
    let top = TOP_LEVEL.iter().filter(|name| **name != "Cargo.lock").map(|name| workspace().join(name));
    let found = rooms.chain(top).filter(|path| {
        let text = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        marks.iter().any(|mark| text.contains(mark))
    });
    assert_none("files with such names", found.map(|path| name_of(&path)).collect());
}
