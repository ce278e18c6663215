//! The appliance in a machine: several SSDs, both ways to the IOMMU, a missing IOMMU, a
//! missing SSD, SSDs with several namespaces, an SSD that is unplugged, its virtual machine's end, its power button,
//! its crashes.

mod last_words;
mod namespaces;
mod power_cuts;
mod write_log;

use luge_qemu_test::{
    Bench, Boot, Deadline, Iommu, Lab, Reset, SelfTestResult, SledMachine, Ssd, SsdLocation, TestError,
    selftest, sled,
};
use power_cuts::PowerCuts;
use serde_json::{Value, json};
use std::fs::File;

/// QEMU says this when an SSD is told that its power will go (CC.SHN).
const SHUTDOWN_NOTIFICATION: &str = "pci_nvme_mmio_shutdown_set";

fn ssd(bench: &Bench<'_>, name: &str) -> Result<Ssd, TestError> {
    Ssd::create(bench.path(name), 512)
}

fn attach(name: &str, address: &str) -> Value {
    json!({ "method": "bdev_nvme_attach_controller",
            "params": { "name": name, "trtype": "PCIe", "traddr": address } })
}

/// Adds calls to a configuration's bdev subsystem.
fn with_bdevs(mut configuration: Value, calls: &[Value]) -> Value {
    if let Some(bdevs) = configuration["subsystems"][0]["config"].as_array_mut() {
        bdevs.extend_from_slice(calls);
    }
    configuration
}

fn count(text: &str, word: &str) -> usize {
    text.matches(word).count()
}

/// Names of the items of a list that a method returned.
fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect()
}

/// The VM is on the second SSD, which has blocks of 4 KiB; the kernel has no iommufd, so the
/// way to the IOMMU is a group in a container.
#[test]
fn a_vm_uses_the_second_ssd_with_large_blocks_and_its_disk_outlives_it_and_every_power_cut()
-> Result<(), TestError> {
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("two-ssds")?);
    let log = bench.path("second.log");
    File::create(&log).map_err(|error| TestError::Host(error.to_string()))?;
    let second = Ssd { block_bytes: 4096, write_log: Some(log.clone()), ..ssd(&bench, "second.img")? };
    let ssds = vec![ssd(&bench, "first.img")?, second.clone()];
    let configuration =
        with_bdevs(selftest::configuration(sled::SECOND_SSD), &[attach("First", sled::FIRST_SSD)]);
    let mut machine = sled::machine(&bench, ssds, &configuration)?;
    machine.traces = vec![SHUTDOWN_NOTIFICATION];
    if let Boot::Kernel { arguments, .. } = &mut machine.boot {
        arguments.push_str(" initcall_blacklist=iommufd_init");
    }
    let mut sled = SledMachine::start(&bench, &machine)?;

    let witness = SelfTestResult::wait(&sled)?;
    assert!(witness.files_match(), "{witness:?}");
    assert_eq!(witness.hash_outside(&second.file)?, witness.device);
    let bdevs = sled.call("bdev_get_bdevs", &json!({}))?;
    for name in ["Firstn1", "Nvme0n1", "Nvme0n1p0", "Nvme0n1p1"] {
        assert!(names(&bdevs).contains(&name), "{name} in {bdevs:#}");
    }
    let output = &sled.running.process.output;
    assert!(output.has("VFIO by groups in a container"), "{}", output.tail());

    // The VM is killed; its disk is free for the next one.
    wait_for_state(&mut sled, "stopped")?;
    sled.call("vm_start", &json!({ "name": "vm0" }))?;
    sled.call("vm_stop", &json!({ "name": "vm0", "timeout_s": 0 }))?;
    wait_for_state(&mut sled, "stopped")?;
    sled.call("vm_start", &json!({ "name": "vm0" }))?;
    let vm = sled.call("vm_get_vms", &json!({ "name": "vm0" }))?;
    assert_eq!(vm[0]["user"], 1_900_000_001, "{vm:#}");
    assert_eq!(vm[0]["cgroup"], "/sys/fs/cgroup/luge/vm0-1", "{vm:#}");

    let text = power_off(sled)?;
    assert_eq!(count(&text, SHUTDOWN_NOTIFICATION), 2, "each SSD is told that its power will go");

    let cuts = PowerCuts::read(&bench, &log)?;
    cuts.check_each_entry();
    cuts.check_nothing_unflushed();
    cuts.check_random_parts();
    Ok(())
}

fn wait_for_state(sled: &mut SledMachine, state: &str) -> Result<(), TestError> {
    let reached = Deadline::within(120).poll(|| {
        let vms = sled.call("vm_get_vms", &json!({ "name": "vm0" })).ok()?;
        (vms[0]["state"] == state).then_some(())
    });
    reached.ok_or_else(|| TestError::Confused {
        who: format!("VM vm0, which should be {state}"),
        said: sled.running.process.output.tail(),
    })
}

/// Presses the power button; returns all that was said.
fn power_off(mut sled: SledMachine) -> Result<String, TestError> {
    sled.running.qmp.power_button()?;
    let status = sled.ended()?;
    let output = &sled.running.process.output;
    output.wait_end(Deadline::within(10))?;
    assert!(status.success(), "{status}:\n{}", output.tail());
    assert!(output.has("power off, asked for by the power button"), "{}", output.tail());
    Ok(output.text())
}

#[test]
fn what_is_missing_is_named_with_its_remedy_and_the_rest_goes_on() -> Result<(), TestError> {
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("missing")?);
    let malloc = json!({ "method": "bdev_malloc_create",
                         "params": { "name": "Malloc0", "num_blocks": 8192, "block_size": 512 } });
    let calls = [attach("Here", sled::FIRST_SSD), attach("Nowhere", "0000:00:1d.0"), malloc];
    let configuration = json!({ "subsystems": [{ "subsystem": "bdev", "config": calls }] });
    let mut machine = sled::machine(&bench, vec![ssd(&bench, "ssd.img")?], &configuration)?;
    machine.iommu = Iommu::None;
    let mut sled = SledMachine::start(&bench, &machine)?;

    let faults = sled.booted()?;
    assert!(faults.contains("2 faults") || faults.contains("one fault"), "{faults}");
    let output = &sled.running.process.output;
    assert!(output.has("0000:00:10.0 is behind no IOMMU: enable VT-d"), "{}", output.tail());
    assert!(output.has("there is no PCI device 0000:00:1d.0"), "{}", output.tail());
    let bdevs = sled.call("bdev_get_bdevs", &json!({}))?;
    assert_eq!(names(&bdevs), ["Malloc0"], "{bdevs:#}");
    let refusal = sled.call("bdev_get_bdevs", &json!({ "name": "Nobody" }));
    assert!(matches!(refusal, Err(TestError::Refused { .. })), "{refusal:?}");
    power_off(sled).map(drop)
}

/// The image's command line and PID 1 leave the CPU that serves alone, and the sled knows it.
fn check_isolation(sled: &mut SledMachine) -> Result<(), TestError> {
    let host = sled.call("luge_get_host", &json!({}))?;
    for (what, cpus) in [("serving", "1"), ("isolated", "1"), ("tickless", "1"), ("interrupted", "0")] {
        assert_eq!(host["cpus"][what], cpus, "{what}: {host:#}");
    }
    let advice = host["advice"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let of_cpus: Vec<&str> = advice.filter(|line| line.contains("CPU")).collect();
    assert_eq!(of_cpus, [""; 0]);
    Ok(())
}

#[test]
fn the_image_boots_by_uefi_from_a_usb_stick_takes_the_ssd_and_tells_of_its_crashes() -> Result<(), TestError>
{
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("usb-stick")?);
    // No configuration of disks: the sled takes every SSD that it was not booted from.
    let configuration = json!({ "appliance": { "panic": -1 } });
    let mut machine = sled::machine(&bench, vec![ssd(&bench, "ssd.img")?], &configuration)?;
    machine.boot = Boot::UsbStick(lab.small_image()?.disk_image);
    machine.reset = Reset::Boots;
    machine.traces = vec![SHUTDOWN_NOTIFICATION];
    let mut sled = SledMachine::start(&bench, &machine)?;

    sled.ready()?;
    let bdevs = sled.call("bdev_get_bdevs", &json!({}))?;
    assert_eq!(names(&bdevs), ["nvme0n1"], "{bdevs:#}");
    assert_eq!(bdevs[0]["num_blocks"], 1 << 20, "{bdevs:#}");
    assert!(sled.running.process.output.has("VFIO by iommufd"), "{}", sled.running.process.output.tail());
    check_isolation(&mut sled)?;
    last_words::crash_and_tell(&mut sled)?;
    assert_eq!(names(&sled.call("bdev_get_bdevs", &json!({}))?), ["nvme0n1"], "after a crash");
    let text = power_off(sled)?;
    assert_eq!(count(&text, SHUTDOWN_NOTIFICATION), 1);
    Ok(())
}

#[test]
fn two_ssds_of_one_iommu_group_are_both_taken_and_go_one_by_one() -> Result<(), TestError> {
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("one-group")?);
    let in_group = |name| ssd(&bench, name).map(|ssd| Ssd { location: SsdLocation::InGroup, ..ssd });
    let machine = sled::machine(&bench, vec![in_group("a.img")?, in_group("b.img")?], &json!({}))?;
    let mut sled = SledMachine::start(&bench, &machine)?;
    sled.ready()?;
    let log = sled.running.process.output.text();
    let group = |address: &str| {
        let line = log.split(&format!("{address}: Adding to iommu group ")).nth(1)?;
        line.lines().next().map(str::to_owned)
    };
    assert!(group("0000:00:10.0").is_some());
    assert_eq!(group("0000:00:10.0"), group("0000:00:10.1"), "this machine shows nothing otherwise");
    assert_eq!(names(&sled.call("bdev_get_bdevs", &json!({}))?), ["nvme0n1", "nvme1n1"]);

    // Each is detached and attached again while the other one serves.
    let health = "bdev_nvme_get_controller_health_info";
    for (name, address, other) in [("nvme0", "0000:00:10.0", "nvme1"), ("nvme1", "0000:00:10.1", "nvme0")] {
        sled.call("bdev_nvme_detach_controller", &json!({ "name": name }))?;
        sled.call(health, &json!({ "name": other }))?;
        let again = json!({ "name": name, "trtype": "PCIe", "traddr": address });
        assert_eq!(sled.call("bdev_nvme_attach_controller", &again)?, json!([format!("{name}n1")]));
        sled.call(health, &json!({ "name": other }))?;
        sled.call(health, &json!({ "name": name }))?;
    }
    power_off(sled).map(drop)
}

/// The kernel of the sled lets go of the slot only once the process has let go of the SSD.
#[test]
fn an_ssd_that_is_to_be_unplugged_is_shut_down_and_goes_while_it_is_served() -> Result<(), TestError> {
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("unplugged")?);
    let ssd = Ssd { location: SsdLocation::InSlot, ..ssd(&bench, "ssd.img")? };
    let mut machine = sled::machine(&bench, vec![ssd], &json!({}))?;
    machine.traces = vec![SHUTDOWN_NOTIFICATION];
    let mut sled = SledMachine::start(&bench, &machine)?;
    sled.ready()?;
    sled.call("vhost_create_blk_controller", &json!({ "ctrlr": "v", "dev_name": "nvme0n1" }))?;

    sled.running.qmp.execute("device_del", json!({ "id": "nvme0" }))?;
    sled.running.qmp.wait_event("DEVICE_DELETED", Deadline::within(120))?;
    let output = &sled.running.process.output;
    assert!(output.has("the host wants the SSD back"), "{}", output.tail());
    assert_eq!(count(&output.text(), SHUTDOWN_NOTIFICATION), 1);

    let ssds = sled.call("bdev_nvme_get_controllers", &json!({}))?;
    assert_eq!(ssds[0]["ctrlrs"][0]["state"], "failed", "{ssds:#}");
    sled.call("vhost_delete_controller", &json!({ "ctrlr": "v" }))?;
    sled.call("bdev_nvme_detach_controller", &json!({ "name": "nvme0" }))?;
    assert_eq!(sled.call("bdev_get_bdevs", &json!({}))?, json!([]));
    power_off(sled).map(drop)
}
