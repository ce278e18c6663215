//! The appliance in a machine: a missing IOMMU, a missing SSD, UEFI, its power button.

use luge_qemu_test::{Bench, Boot, Deadline, Iommu, Lab, Sled, Ssd, TestError, sled};
use serde_json::{Value, json};

/// QEMU says this when an SSD is told that its power will go (CC.SHN).
const SHUTDOWN_NOTIFICATION: &str = "pci_nvme_mmio_shutdown_set";

fn ssd(bench: &Bench<'_>, name: &str) -> Result<Ssd, TestError> {
    Ssd::create(bench.path(name), 512)
}

fn attach(name: &str, address: &str) -> Value {
    json!({ "method": "bdev_nvme_attach_controller",
            "params": { "name": name, "trtype": "PCIe", "traddr": address } })
}

fn count(text: &str, word: &str) -> usize {
    text.matches(word).count()
}

/// Names of the items of a list that a method returned.
fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect()
}

/// Presses the power button; returns all that was said.
fn power_off(mut sled: Sled) -> Result<String, TestError> {
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
    let mut sled = Sled::start(&bench, &machine)?;

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

#[test]
fn the_image_boots_by_uefi_from_a_usb_stick_and_takes_the_ssd() -> Result<(), TestError> {
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("usb-stick")?);
    // No configuration: the sled takes every SSD that it was not booted from.
    let mut machine = sled::machine(&bench, vec![ssd(&bench, "ssd.img")?], &json!({}))?;
    machine.boot = Boot::UsbStick(lab.image()?.disk_image);
    machine.traces = vec![SHUTDOWN_NOTIFICATION];
    let mut sled = Sled::start(&bench, &machine)?;

    sled.ready()?;
    let bdevs = sled.call("bdev_get_bdevs", &json!({}))?;
    assert_eq!(names(&bdevs), ["nvme0n1"], "{bdevs:#}");
    assert_eq!(bdevs[0]["num_blocks"], 1 << 20, "{bdevs:#}");
    let text = power_off(sled)?;
    assert_eq!(count(&text, SHUTDOWN_NOTIFICATION), 1);
    Ok(())
}
