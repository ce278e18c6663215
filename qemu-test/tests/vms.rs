//! Virtual machines that `luge serve` runs on this host, with QEMU's death by SIGKILL.

use luge_qemu_test::{Bench, BlockClient, Daemon, Deadline, Lab, Serve, TestError};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A folder with a program `qemu-system-x86_64` that is the lab's QEMU.
fn qemu_folder(bench: &Bench<'_>) -> Result<String, TestError> {
    let qemu = bench.lab().qemu().command("qemu-system-x86_64");
    let words = std::iter::once(qemu.get_program()).chain(qemu.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let folder = bench.path("bin");
    let program = folder.join("qemu-system-x86_64");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&program, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" "))))
        .and_then(|()| fs::set_permissions(&program, fs::Permissions::from_mode(0o755)))
        .map_err(|error| TestError::Host(format!("writing {}: {error}", program.display())))?;
    Ok(folder.display().to_string())
}

fn status(daemon: &mut Daemon) -> Result<Value, TestError> {
    let mut vms = daemon.rpc.call("vm_get_vms", json!({ "name": "vm0" }))?;
    Ok(vms[0].take())
}

fn wait_for_state(daemon: &mut Daemon, state: &str) -> Result<Value, TestError> {
    let reached = Deadline::within(60).poll(|| status(daemon).ok().filter(|vm| vm["state"] == state));
    reached
        .ok_or_else(|| TestError::Host(format!("VM vm0 is never {state}: {}", daemon.process.output.tail())))
}

/// A daemon that can run a VM, with a disk in memory.
fn serve(bench: &Bench<'_>) -> Result<Daemon, TestError> {
    let path = format!("{}:{}", qemu_folder(bench)?, std::env::var("PATH").unwrap_or_default());
    let files = vec!["--vm-files".to_owned(), bench.lab().qemu().path("").display().to_string()];
    let serve = Serve { memory_mib: 64, spare_memory_mib: 128, arguments: files, ..Serve::default() };
    let mut daemon = Serve { environment: vec![("PATH".to_owned(), path)], ..serve }.start(bench)?;
    let disk = json!({ "name": "Malloc0", "num_blocks": 65536, "block_size": 512 });
    daemon.rpc.call("bdev_malloc_create", disk)?;
    daemon.rpc.call("vhost_create_blk_controller", json!({ "ctrlr": "disk", "dev_name": "Malloc0" }))?;
    Ok(daemon)
}

/// Writes random bytes to each disk, and reads back what the other disk shows of them: both are one volume.
const ONE_VOLUME: &str = r#"
set -e
dd if=/dev/urandom of=/tmp/bytes bs=64k count=16 status=none
for pair in "vda nvme0n1" "nvme0n1 vda"; do
    set -- $pair
    dd if=/tmp/bytes of="/dev/$1" bs=64k oflag=direct conv=fsync,notrunc status=none
    dd if="/dev/$2" of=/tmp/seen bs=64k count=16 iflag=direct status=none
    cmp /tmp/bytes /tmp/seen
    echo "LUGE-GUEST $2 shows what $1 got"
    dd if=/dev/urandom of=/tmp/bytes bs=64k count=16 status=none
done
"#;

#[test]
fn a_vm_has_a_volume_as_a_virtio_disk_and_by_nvme() -> Result<(), TestError> {
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("nvme-vm")?);
    let guest = lab.guest()?.with_script("volume", ONE_VOLUME, &bench.path("initramfs"))?;
    let mut daemon = serve(&bench)?;
    let (nqn, directory) = ("nqn.2016-06.io.spdk:cnode1", bench.path("nvme"));
    let listener = json!({ "trtype": "VFIOUSER", "traddr": directory, "trsvcid": "0" });
    let namespace = json!({ "bdev_name": "Malloc0" });
    for (method, params) in [
        ("nvmf_create_transport", json!({ "trtype": "VFIOUSER" })),
        ("nvmf_create_subsystem", json!({ "nqn": nqn, "serial_number": "LUGE", "allow_any_host": true })),
        ("nvmf_subsystem_add_ns", json!({ "nqn": nqn, "namespace": namespace })),
        ("nvmf_subsystem_add_listener", json!({ "nqn": nqn, "listen_address": listener })),
    ] {
        daemon.rpc.call(method, params)?;
    }
    let vm = json!({
        "name": "vm0", "cpus": 1, "memory_mb": 128, "disks": ["disk", directory], "accelerator": "tcg",
        "kernel": guest.kernel, "initrd": guest.initramfs, "console": "log",
        "command_line": "console=ttyS0 no_timer_check panic=-1 luge.guest=volume",
    });
    daemon.rpc.call("vm_create", vm)?;
    daemon.rpc.call("vm_start", json!({ "name": "vm0" }))?;
    let end = daemon.process.output.wait_line("LUGE-GUEST done status=", Deadline::within(240))?;
    assert_eq!(end, "0", "{}", daemon.process.output.tail());
    for (one, other) in [("nvme0n1", "vda"), ("vda", "nvme0n1")] {
        let line = format!("LUGE-GUEST {one} shows what {other} got");
        assert!(daemon.process.output.has(&line), "{}", daemon.process.output.tail());
    }
    Ok(())
}

#[test]
fn a_vm_that_is_killed_is_reported_and_its_disk_serves_the_next_one() -> Result<(), TestError> {
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("killed-vm")?);
    let guest = lab.guest()?;
    let mut daemon = serve(&bench)?;
    let vm = json!({
        "name": "vm0", "cpus": 1, "memory_mb": 128, "disks": ["disk"], "accelerator": "tcg",
        "kernel": guest.kernel, "initrd": guest.initramfs, "console": "log",
        "command_line": "console=ttyS0 no_timer_check panic=-1 luge.guest=shell",
    });
    daemon.rpc.call("vm_create", vm)?;

    for _ in 0..2 {
        daemon.rpc.call("vm_start", json!({ "name": "vm0" }))?;
        daemon.process.output.wait_for("LUGE-GUEST ready", Deadline::within(120))?;
        let pid = wait_for_state(&mut daemon, "running")?["pid"].as_i64();
        let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.expect("a running VM has a process"), Signal::KILL)
            .map_err(|error| TestError::Host(format!("killing QEMU: {error}")))?;
        let vm = wait_for_state(&mut daemon, "crashed")?;
        assert!(vm["ending"]["reason"].to_string().contains("SIGKILL"), "{vm:#}");
        assert!(vm["pid"].is_null(), "{vm:#}");
    }

    daemon.rpc.call("vm_delete", json!({ "name": "vm0" }))?;
    BlockClient::new(&bench, &daemon.socket("disk")).io(&["write -P 3 0 4k", "read -P 3 0 4k"])?;
    Ok(())
}
