//! Crashes of the sled: what the next boot tells of them.

use luge_qemu_test::{Boot, Deadline, Iommu, Lab, Reset, SledMachine, TestError, sled};
use serde_json::{Value, json};

/// Last words that the firmware has kept, oldest first.
fn last_words(sled: &mut SledMachine) -> Result<Vec<Value>, TestError> {
    let kept = sled.call("luge_get_last_words", &json!({}))?;
    Ok(kept.as_array().cloned().unwrap_or_default())
}

/// Whether all these words are in the text of a crash.
fn tells(crash: &Value, words: &[&str]) -> bool {
    words.iter().all(|word| crash["text"].as_str().is_some_and(|text| text.contains(word)))
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

/// Luge panics, then the kernel, by the button that a server has for that. Each time the sled serves again by itself,
/// and has the last events of its trace.
#[test]
fn a_sled_that_has_crashed_boots_again_and_tells_its_last_words() -> Result<(), TestError> {
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("last-words")?);
    let mut machine = sled::machine(&bench, Vec::new(), &json!({ "appliance": { "panic": -1 } }))?;
    machine.boot = Boot::UsbStick(lab.image()?.disk_image);
    machine.reset = Reset::Boots;
    machine.iommu = Iommu::None;
    let mut sled = SledMachine::start(&bench, &machine)?;
    sled.ready()?;
    assert_eq!(last_words(&mut sled)?.len(), 0);
    check_isolation(&mut sled)?;

    sled.running.process.send(b"crash now\r")?;
    sled.ready()?;
    let kept = last_words(&mut sled)?;
    assert_eq!(kept.len(), 1, "{kept:#?}");
    assert_eq!(kept[0]["cause"], "luge_panic");
    let words = ["the console has asked for a crash", "luge: started: ", "luge: notice: "];
    assert!(tells(&kept[0], &words), "{kept:#?}");
    let output = &sled.running.process.output;
    assert!(output.has("has left some (1 in all): last_words shows them"), "{}", output.tail());

    sled.running.qmp.execute("inject-nmi", json!({}))?;
    output.wait_for("Kernel panic - not syncing: NMI", Deadline::within(60))?;
    sled.ready()?;
    let kept = last_words(&mut sled)?;
    let newest = kept.last().unwrap_or(&Value::Null);
    assert_eq!(newest["cause"], "kernel_panic", "{kept:#?}");
    assert!(tells(newest, &["Kernel panic - not syncing: NMI", "luge: started: "]), "{kept:#?}");

    sled.call("luge_delete_last_words", &json!({ "name": newest["name"] }))?;
    assert_eq!(last_words(&mut sled)?.len(), kept.len() - 1);
    sled.call("luge_delete_last_words", &json!({}))?;
    assert_eq!(last_words(&mut sled)?.len(), 0);
    sled.power_off().map(drop)
}
