//! The commands of GUIDE.md, run as a reader would, in the order in which they are there.
//!
//! - `host`: those for a host, in a machine with an SSD.
//! - here: all of the chapter of daemons, on this machine, which has none.
//!
//! Here they run in namespaces of their own with an empty `/run`, so that the paths are those of the guide and all processes
//! end with the test. What this machine cannot have is replaced, each by a line of [`INSTEAD`].

mod blocks;
mod host;

use blocks::Block;
use luge_image::SPDK_CLIENT;
use luge_qemu_test::{Bench, Deadline, Lab, Process, TestError};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

type Outcome = Result<(), TestError>;

/// Time limit of all commands; three VMs run their firmware meanwhile.
const RUN_SECONDS: u32 = 300;

/// Texts of the guide, and what the test has in their place.
const INSTEAD: [(&str, &str); 3] = [
    // The SSD is a controller of another Luge, which `BEFORE` starts.
    ("-t PCIe -a 0000:3b:00.0", "-t VFIOUSER -a /run/ssd"),
    // Hugepages are shared with other tests.
    (
        "-s 256 --trace /run/luge/trace &",
        "-s 256 --no-huge --trace /run/luge/trace &\nanswers /run/luge/rpc.sock",
    ),
    // No SSD has this address here: the refusal has to name it.
    ("luge host bind 0000:3b:00.0", "refused 0000:3b:00.0 luge host bind 0000:3b:00.0"),
];

/// Helpers of the script, and another Luge, whose NVMe controller is the SSD of the guide.
const BEFORE: &str = r#"
set -euo pipefail
answers() {
    for _ in $(seq 300); do
        if luge rpc -s "$1" spdk_get_version > /dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "nobody answers at $1"
    return 1
}
refused() {
    name=$1
    shift
    if said=$("$@" 2>&1); then echo "not refused: $*"; return 1; fi
    grep --quiet --fixed-strings "$name" <<< "$said"
}
mount -t tmpfs none /run
mkdir /run/luge /run/other /run/ssd
luge serve -S /run/other -r /run/other.sock -s 64 --no-huge &
answers /run/other.sock
other() { luge rpc -s /run/other.sock "$@"; }
other bdev_malloc_create '{"name": "m", "num_blocks": 65536, "block_size": 512}'
other nvmf_create_transport '{"trtype": "VFIOUSER"}'
other nvmf_create_subsystem '{"nqn": "nqn.2016-06.io.spdk:ssd", "allow_any_host": true}'
other nvmf_subsystem_add_ns '{"nqn": "nqn.2016-06.io.spdk:ssd", "namespace": {"bdev_name": "m"}}'
other nvmf_subsystem_add_listener \
    '{"nqn": "nqn.2016-06.io.spdk:ssd", "listen_address": {"trtype": "VFIOUSER", "traddr": "/run/ssd"}}'
"#;

/// Waits until the firmware of each VM has found its disk, and Prometheus could see Luge.
const AFTER: &str = r#"
rpc() { luge rpc -s /run/luge/rpc.sock "$@"; }
found() {
    rpc bdev_get_resize_status > "$OUT/vhost.json"
    rpc nvmf_subsystem_get_controllers '{"nqn": "nqn.2016-06.io.spdk:vm3"}' > "$OUT/nvmf.json"
    [ "$(grep -c '"connected": true' "$OUT/vhost.json")" -ge 2 ] && grep -q cntlid "$OUT/nvmf.json" && is_up
}
is_up() {
    python3 -c 'import urllib.request as r; print(r.urlopen("http://127.0.0.1:9723/metrics").read().decode())' \
        2> "$OUT/exporter.log" | grep --quiet --line-regexp "luge_up 1"
}
for _ in $(seq 600); do
    if found; then echo "all disks are found"; break; fi
    sleep 0.2
done
"#;

/// Text of the guide.
fn guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../GUIDE.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Commands of the guide for a daemon, with what this machine has instead.
fn script() -> String {
    let guide = guide();
    let (daemon, _) = guide.split_once("\n## 2.").expect("a chapter of daemons");
    let mut script = BEFORE.to_owned();
    for Block { line, text, .. } in blocks::of(daemon).into_iter().filter(|block| block.language == "sh") {
        let text = INSTEAD.iter().fold(text, |text, (there, here)| text.replace(there, here));
        script += &format!("echo 'GUIDE.md, line {line}'\n{text}\n");
    }
    script + AFTER
}

/// A folder with the programs of the guide.
fn programs(bench: &Bench<'_>) -> Result<PathBuf, TestError> {
    let folder = bench.path("bin");
    fs::create_dir(&folder).map_err(|error| TestError::Host(error.to_string()))?;
    let luge = Command::new(bench.lab().luge()?);
    let spdk = bench.lab().pypi(SPDK_CLIENT)?;
    let qemu = bench.lab().qemu().command("qemu-system-x86_64");
    for (name, command) in
        [("luge", luge), ("spdk-rpc", spdk.command("spdk-rpc")), ("qemu-system-x86_64", qemu)]
    {
        let path = folder.join(name);
        fs::write(&path, wrapper(&command))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .map_err(|error| TestError::Host(format!("{}: {error}", path.display())))?;
    }
    Ok(folder)
}

/// Shell script that runs a command with more arguments.
fn wrapper(command: &Command) -> String {
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy());
    let environment = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let exports = environment.filter(|(name, _)| *name != "PATH");
    let exports: String = exports
        .map(|(name, value)| format!("export {}={}\n", name.to_string_lossy(), quoted(value)))
        .collect();
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
    format!("#!/bin/sh\n{exports}exec {} \"$@\"\n", words.collect::<Vec<_>>().join(" "))
}

/// Runs a script in namespaces of its own; returns what it said.
fn run(bench: &Bench<'_>, script: &str) -> Result<String, TestError> {
    let file = bench.path("script");
    fs::write(&file, script).map_err(|error| TestError::Host(error.to_string()))?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash"]).arg(&file);
    command.env("PATH", format!("{}:{path}", programs(bench)?.display())).env("OUT", bench.path(""));
    let mut process = Process::start("guide", command, &bench.log("guide"))?;
    let status = process.wait(Deadline::within(RUN_SECONDS))?;
    let said = process.output.text();
    if status.success() {
        return Ok(said);
    }
    Err(TestError::Program { program: "the guide's commands".into(), status: status.to_string(), said })
}

#[test]
fn every_command_of_the_guide_for_a_daemon_works_and_its_three_vms_find_their_disks() -> Outcome {
    let bench = Lab::shared().bench("guide")?;
    let _turn = bench.lab().turn()?;
    let said = run(&bench, &script())?;
    assert!(said.contains("all disks are found"), "{said}");
    Ok(())
}

#[test]
fn the_snippet_for_libvirt_is_xml_and_names_a_socket_of_the_guide() {
    let guide = guide();
    let snippets: Vec<Block> =
        blocks::of(&guide).into_iter().filter(|block| block.language == "xml").collect();
    assert_eq!(snippets.len(), 1);
    let mut python = Command::new("python3");
    python.args(["-c", "import sys, xml.dom.minidom as m; m.parseString(sys.argv[1])", &snippets[0].text]);
    assert!(python.status().unwrap().success(), "{}", snippets[0].text);
    assert!(snippets[0].text.contains("/run/luge/vm1.disk"), "{}", snippets[0].text);
}

#[test]
fn the_command_that_flashes_a_sled_copies_the_whole_image() -> Outcome {
    let bench = Lab::shared().bench("guide-flash")?;
    let image = bench.lab().image()?.disk_image;
    let guide = guide();
    let dd = blocks::of(&guide)
        .into_iter()
        .find(|block| block.text.starts_with("dd "))
        .expect("a command that flashes");
    let disk = bench.path("disk");
    let flashed =
        Command::new("sh").args(["-euc", &dd.text]).env("IMAGE", &image).env("DEVICE", &disk).output();
    let flashed = flashed.map_err(|error| TestError::Host(error.to_string()))?;
    assert!(flashed.status.success(), "{}", String::from_utf8_lossy(&flashed.stderr));
    let same = Command::new("cmp").arg(&image).arg(&disk).status();
    assert!(same.is_ok_and(|status| status.success()), "the disk differs from the image");
    Ok(())
}

#[test]
fn every_error_that_the_guide_explains_is_one_of_luge() {
    let guide = guide();
    let (_, errors) = guide.split_once("### What errors mean").expect("a chapter of errors");
    let rows = errors.lines().filter(|line| line.starts_with("| `"));
    let texts = rows.flat_map(|row| {
        row.split('|').nth(1).into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2))
    });
    let texts: Vec<&str> = texts.collect();
    assert!(texts.len() >= 10, "{texts:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = blocks::rust_sources(&[root.join("appliance"), root.join("drivers")]);
    let sources = blocks::without_line_breaks(&sources);
    for text in texts {
        assert!(sources.contains(text), "no source has {text:?}");
    }
}

#[test]
fn the_guide_names_only_methods_that_there_are() -> Outcome {
    let bench = Lab::shared().bench("guide-methods")?;
    let mut daemon = luge_qemu_test::Serve::default().start(&bench)?;
    let known = daemon.rpc.call("rpc_get_methods", Value::Null)?;
    let known: Vec<&str> = known.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let guide = guide();
    let words = guide.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    let prefixes = ["bdev_", "vhost_", "nvmf_", "framework_", "scsi_", "vm_", "luge_get_", "luge_delete_"];
    let named = words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)));
    let parameters = ["bdev_name", "scsi_target_num"];
    // An option of cloud-hypervisor.
    let others = ["vhost_user"];
    let is_method = |name: &&str| !parameters.contains(name) && !others.contains(name);
    let missing: Vec<&str> = named.filter(is_method).filter(|name| !known.contains(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    Ok(())
}
