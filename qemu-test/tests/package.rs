//! The Debian package of the daemon: installed, started by systemd, with a virtual machine of its own, upgraded while a
//! disk is served, and purged, in a container; its completions, each in its shell; its bill of materials, checked by
//! others.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use luge_image::{Cache, DebianPackage, Progress, SPDK_CLIENT};
use luge_qemu_test::{Bench, BlockClient, Container, Deadline, Lab, SHARED, TestError, run};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

type Outcome = Result<(), TestError>;

/// A disk that exists from the start of the service: a file.
const CONFIGURATION: &str = r#"// Comments are allowed.
{"subsystems": [{"subsystem": "bdev", "config": [
    {"method": "bdev_aio_create", "params": {"name": "file0", "filename": "/srv/disk", "block_size": 512}}]},
  {"subsystem": "vhost_blk", "config": [
    {"method": "vhost_create_blk_controller", "params": {"ctrlr": "vm1.disk", "dev_name": "file0"}}]}]}"#;

/// Builds the package in a version.
fn package(bench: &Bench<'_>, version: &str) -> Result<PathBuf, TestError> {
    let (luge, version, folder) = (bench.lab().luge()?, version.to_owned(), bench.path("packages"));
    Ok(DebianPackage { luge, version, folder }.build(&Cache::open()?, &Progress::quiet())?)
}

/// A container in which the service serves the disk of [`CONFIGURATION`].
struct Rig {
    bench: Bench<'static>,
    host: Container,
}

impl Rig {
    /// Installs the first version; none where this machine cannot run a container.
    fn new(name: &str, root: &Path) -> Result<Option<Self>, TestError> {
        if let Some(obstacle) = Container::obstacle() {
            luge_skip::skip(&obstacle);
            return Ok(None);
        }
        let bench = Lab::shared().bench(name)?;
        let host = Container::boot(&bench, root, &bench.lab().qemu().path(""))?;
        let rig = Self { bench, host };
        let said = rig.install("1.0")?;
        assert!(said.contains("see 'luge host' for what this host needs"), "{said}");
        Ok(Some(rig))
    }

    /// Installs a version; returns what dpkg printed.
    fn install(&self, version: &str) -> Result<String, TestError> {
        let package = package(&self.bench, version)?;
        fs::copy(&package, self.host.path("/root/luge.deb")).unwrap();
        // Without those of other packages, such as the index of manual pages, which takes seconds.
        self.host.run("dpkg --no-triggers --install /root/luge.deb")
    }

    /// Configures and starts the service, which is ready then.
    fn start(&self) -> Outcome {
        fs::write(self.host.path("/etc/luge/luge.json"), CONFIGURATION).unwrap();
        let options = format!("-m 0x1 -s 64 --no-huge --vm-files {SHARED}");
        self.host
            .run(&format!("truncate -s 16M /srv/disk; sed -i 's|-m 0x1|{options}|' /etc/luge/luge.conf"))?;
        self.host.run("systemctl enable --now luge || journalctl -u luge --no-pager | tail -20; systemctl is-active luge").map(drop)
    }

    fn disk(&self) -> BlockClient<'_> {
        BlockClient::new(&self.bench, &self.host.path("/run/luge/vm1.disk"))
    }

    fn property(&self, name: &str) -> Result<String, TestError> {
        Ok(self.host.run(&format!("systemctl show luge --property {name} --value"))?.trim().to_owned())
    }

    /// Calls a method that SPDK's client does not know.
    fn call(&self, method: &str, params: &Value) -> Result<Value, TestError> {
        let said = self.host.run(&format!("luge rpc {method} '{params}'"))?;
        serde_json::from_str(&said).map_err(|_| TestError::Confused { who: method.to_owned(), said })
    }

    fn spdk(&self, line: &str) -> Result<String, TestError> {
        let mut command = Lab::shared().pypi(SPDK_CLIENT)?.command("spdk-rpc");
        run(command.arg("-s").arg(self.host.path("/var/tmp/spdk.sock")).args(line.split(' ')))
    }
}

#[test]
fn the_package_serves_on_this_machines_debian() -> Outcome {
    life_of_a_package("package_here", Path::new("/"))
}

#[test]
fn the_package_serves_on_debian_13() -> Outcome {
    let root = luge_image::debian_root(&Cache::open()?, &Progress::quiet())?;
    life_of_a_package("package_13", &root)
}

/// Installs the package in a copy of `root`, and starts, uses, upgrades and purges it.
fn life_of_a_package(name: &str, root: &Path) -> Outcome {
    let Some(rig) = Rig::new(name, root)? else { return Ok(()) };
    assert!(rig.host.run("systemctl is-active luge").is_err(), "an installation starts nothing");
    rig.start()?;
    assert!(rig.spdk("bdev_get_bdevs")?.contains("\"file0\""));
    assert_eq!(rig.spdk("bdev_malloc_create -b m0 8 512")?.trim(), "m0");
    rig.disk().io(&["write -P 0xa5 0 1M"])?;
    export(&rig)?;
    run_a_virtual_machine(&rig)?;
    upgrade(&rig)?;
    restart_after_a_hang(&rig)?;
    purge(&rig)
}

/// The exporter sees the daemon, without capabilities.
fn export(rig: &Rig) -> Outcome {
    // Containers share the machine's ports.
    static PORT: Mutex<()> = Mutex::new(());
    let _alone = PORT.lock().unwrap_or_else(PoisonError::into_inner);
    rig.host.run("systemctl enable --now luge-exporter")?;
    let read = "exec 3<> /dev/tcp/127.0.0.1/9723; printf 'GET /metrics HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3; cat <&3";
    let metrics = Deadline::within(60).poll(|| {
        let metrics = rig.host.run(&format!("bash -c \"{read}\"")).ok()?;
        metrics.lines().any(|line| line == "luge_up 1").then_some(())
    });
    let log = || rig.host.run("journalctl -u luge-exporter --no-pager | tail -20").unwrap_or_default();
    assert!(metrics.is_some(), "{}", log());
    rig.host.run("systemctl disable --now luge-exporter").map(drop)
}

/// QEMU of the folder that the container shares, started through the loader there.
const QEMU: &str = r#"#!/bin/sh
export QEMU_MODULE_DIR=SHARED/usr/lib/x86_64-linux-gnu/qemu
exec SHARED/usr/lib64/ld-linux-x86-64.so.2 --library-path SHARED/usr/lib/x86_64-linux-gnu:SHARED/usr/lib \
    SHARED/usr/bin/qemu-system-x86_64 -L SHARED/usr/share/qemu -L SHARED/usr/share/seabios "$@"
"#;

/// The daemon runs a virtual machine in its sandbox, whose firmware reads the disk.
fn run_a_virtual_machine(rig: &Rig) -> Outcome {
    let qemu = rig.host.path("/usr/local/bin/qemu-system-x86_64");
    fs::create_dir_all(qemu.parent().unwrap()).unwrap();
    fs::write(&qemu, QEMU.replace("SHARED", SHARED)).unwrap();
    rig.host.run("chmod 755 /usr/local/bin/qemu-system-x86_64")?;
    let vm =
        json!({ "name": "vm1", "cpus": 1, "memory_mb": 64, "disks": ["vm1.disk"], "accelerator": "tcg" });
    let reads = || {
        let stats = rig.call("bdev_get_iostat", &json!({ "name": "file0" })).ok()?;
        stats["bdevs"][0]["num_read_ops"].as_u64()
    };
    let before = reads();
    rig.call("vm_create", &vm)?;
    rig.call("vm_start", &json!({ "name": "vm1" }))?;
    let read = Deadline::within(60).poll(|| reads().filter(|reads| Some(*reads) > before));
    let log = || rig.host.run("journalctl -u luge --no-pager | tail -20").unwrap_or_default();
    assert!(read.is_some(), "{}", log());
    let vm = rig.call("vm_get_vms", &json!({ "name": "vm1" }))?;
    assert_eq!(vm[0]["state"], "running", "{vm}");
    assert!(vm[0]["user"].as_u64() > Some(0), "{vm}");
    // This machine may have given its controllers to cgroups of version 1.
    let controllers = fs::read_to_string(rig.host.path("/sys/fs/cgroup/cgroup.controllers")).unwrap();
    assert_eq!(vm[0]["cgroup"].is_string(), controllers.contains("memory"), "{vm}");
    rig.call("vm_stop", &json!({ "name": "vm1", "timeout_s": 0 }))?;
    rig.call("vm_delete", &json!({ "name": "vm1" })).map(drop)
}

/// An upgrade leaves the daemon alone until the operator restarts it.
fn upgrade(rig: &Rig) -> Outcome {
    let before = rig.property("MainPID")?;
    let mut load = rig.disk().start_bench(20_000, 4)?;
    let said = rig.install("1.1")?;
    assert!(said.contains("goes on in its former version and serves its disks"), "{said}");
    assert!(load.wait(Deadline::within(60))?.success(), "no request fails meanwhile");
    assert_eq!(rig.property("MainPID")?, before);
    assert!(rig.spdk("bdev_get_bdevs")?.contains("\"m0\""));
    let settings = fs::read_to_string(rig.host.path("/etc/luge/luge.conf")).unwrap();
    assert!(settings.contains("-s 64 --no-huge"), "an upgrade keeps the settings");
    rig.host.run("systemctl restart luge")?;
    assert_ne!(rig.property("MainPID")?, before);
    rig.disk().io(&["read -P 0xa5 64k 960k"]).map(drop)
}

/// The watchdog ends a daemon that hangs, and systemd starts another one.
fn restart_after_a_hang(rig: &Rig) -> Outcome {
    let folder = rig.host.path("/etc/systemd/system/luge.service.d");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("test.conf"), "[Service]\nWatchdogSec=1\nTimeoutAbortSec=1\nRestartSec=0\n")
        .unwrap();
    rig.host.run("systemctl daemon-reload; systemctl restart luge")?;
    let before = rig.property("MainPID")?;
    rig.host.run(&format!("kill -STOP {before}"))?;
    let restarted = Deadline::within(60).poll(|| {
        let is_new = rig.property("NRestarts").is_ok_and(|count| count == "1");
        (is_new && rig.property("ActiveState").is_ok_and(|state| state == "active")).then_some(())
    });
    let log = || rig.host.run("journalctl -u luge --no-pager | tail -20").unwrap_or_default();
    assert!(restarted.is_some(), "{}", log());
    assert_ne!(rig.property("MainPID")?, before);
    rig.disk().io(&["read -P 0xa5 64k 960k"]).map(drop)
}

fn purge(rig: &Rig) -> Outcome {
    rig.host.run("dpkg --no-triggers --purge luge")?;
    let left = rig.host.run(
        "find /etc /usr /var /run -xdev -iname '*luge*' -newer /root/luge.deb; find /etc/luge /run/luge /usr/bin/luge \
         /usr/lib/systemd/system/luge.service /usr/lib/systemd/system/luge-exporter.service /var/tmp/spdk.sock 2> /dev/null || true",
    )?;
    let left: Vec<&str> = left.lines().filter(|path| !path.starts_with("/run/systemd/")).collect();
    assert_eq!(left, [""; 0]);
    assert!(rig.host.run("systemctl cat luge").is_err());
    let data = fs::read(rig.host.path("/srv/disk")).unwrap();
    assert!(data[64 << 10..1 << 20].iter().all(|&byte| byte == 0xa5), "the disk's data stays");
    Ok(())
}

/// Completes `luge ser` in bash.
const BASH: &str = "
. /usr/share/bash-completion/completions/luge
COMP_WORDS=(luge ser); COMP_CWORD=1
_luge luge ser luge
echo ${COMPREPLY[@]}
";

/// Completes `luge ser` in zsh, whose completions need a terminal.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty user zsh -f -i
zpty -w user "autoload -Uz compinit; compinit -u -D; echo rea''dy"
zpty -r -m user said '*ready*'
zpty -n -w user $'luge ser\t\t'
zpty -r -m user said '*serve *'
echo serve
"#;

/// Completes `luge ser` in fish.
const FISH: &str = "complete --do-complete 'luge ser' | string split --fields 1 \\t";

#[test]
fn the_unit_the_pages_and_the_completions_are_well_formed() -> Outcome {
    let root = luge_image::debian_root(&Cache::open()?, &Progress::quiet())?;
    let Some(rig) = Rig::new("package_files", &root)? else { return Ok(()) };
    assert_eq!(rig.host.run("systemd-analyze verify luge.service luge-exporter.service")?, "");
    for (shell, script) in [("bash", BASH), ("zsh", ZSH), ("fish", FISH)] {
        fs::write(rig.host.path("/root/script"), script).unwrap();
        let completed = rig.host.run(&format!("HOME=/root {shell} /root/script"))?;
        assert_eq!(completed.trim(), "serve", "{shell}");
    }
    let page = rig.host.run("zcat /usr/share/man/man1/luge-serve.1.gz")?;
    assert!(page.contains("\\-\\-socket\\-group"), "{page}");
    assert_eq!(rig.host.run("/usr/bin/luge --version")?, concat!("luge ", env!("CARGO_PKG_VERSION"), "\n"));
    Ok(())
}

#[test]
fn a_package_is_the_same_whenever_it_is_built() -> Outcome {
    let bench = Lab::shared().bench("package_twice")?;
    let first = fs::read(package(&bench, "1.0")?).unwrap();
    let second = fs::read(package(&bench, "1.0")?).unwrap();
    assert!(first == second, "the packages differ");
    Ok(())
}

#[test]
fn the_bill_of_materials_obeys_its_schema_and_names_a_library() -> Outcome {
    let bench = Lab::shared().bench("package_bill")?;
    let folder = bench.path("unpacked");
    run(Command::new("dpkg-deb").arg("--extract").arg(package(&bench, "1.0")?).arg(&folder))?;
    let bill = folder.join("usr/share/doc/luge/sbom.cdx.json");
    let text = fs::read_to_string(&bill).unwrap();
    assert!(text.contains("\"pkg:cargo/rustix@"), "{text}");
    assert!(!text.contains("criterion"), "libraries of tests are not in the program");
    let mut python = Lab::shared().pypi(CYCLONEDX)?.python();
    let said = run(python.args(["-c", VALIDATE]).arg(&bill))?;
    assert_eq!(said.trim(), "valid");
    Ok(())
}

/// The validator, with all that it needs.
const CYCLONEDX: &str = "arrow==1.4.0 attrs==26.1.0 boolean.py==5.0 cyclonedx-python-lib==11.12.0 defusedxml==0.7.1 \
     fqdn==1.6.0 idna==3.20 isoduration==20.11.0 jsonpointer==3.12 jsonschema==4.26.0 \
     jsonschema-specifications==2025.9.1 lark==1.3.1 license-expression==30.4.4 \
     packageurl-python==0.17.6 py-serializable==2.2.0 python-dateutil==4.0.0 referencing==0.37.0 \
     rfc3339-validator==0.1.4 rfc3986-validator==0.1.1 rfc3987-syntax==1.1.0 rpds-py==2026.9.1 \
     six==1.17.0 sortedcontainers==2.4.0 typing_extensions==4.16.0 tzdata==2026.6 \
     uri-template==1.3.0 webcolors==25.10.0";

/// Program that validates a bill against the schema of CycloneDX 1.6.
const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
print(error or 'valid')
";
