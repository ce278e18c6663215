//! Namespaces of one SSD, served at the same time: with one queue pair and two cores, and with many queue
//! pairs and one core. A VM uses all of them at once.

use super::{attach, power_off, ssd};
use luge_qemu_test::{Bench, Deadline, Lab, SledMachine, Ssd, TestError, sled};
use luge_seeded::Random;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Time limit for the VM's work, in an emulated machine inside an emulated machine.
const WORK_SECONDS: u32 = 600;

/// Part of each namespace that the VM reads and writes.
const USED_BYTES: usize = 1 << 20;

/// Disks in the order of the VM's, with their devices: two namespaces of each SSD.
const DISKS: [(&str, &str); 4] =
    [("few.1", "Fewn1"), ("few.2", "Fewn2"), ("many.1", "Manyn1"), ("many.2", "Manyn2")];

/// An SSD with two namespaces of different sizes, whose beginnings are random.
fn ssd_of_two(bench: &Bench<'_>, name: &str, queue_pairs: u16) -> Result<Ssd, TestError> {
    let first = ssd(bench, &format!("{name}.1"))?;
    let second = Ssd::create(bench.path(&format!("{name}.2")), 64)?;
    for (file, seed) in [(&first.file, 1), (&second.file, 2)] {
        let mut random = Random::new(seed + u64::from(queue_pairs));
        let words = (0..USED_BYTES / 8).flat_map(|_| random.below(u64::MAX).to_le_bytes());
        let filled = File::options().write(true).open(file);
        let filled = filled.and_then(|file| file.write_all_at(&words.collect::<Vec<u8>>(), 0));
        filled.map_err(|error| TestError::Host(format!("filling {}: {error}", file.display())))?;
    }
    Ok(Ssd { more_namespaces: vec![second.file], queue_pairs, ..first })
}

/// Configuration of a sled with two cores that serve. Disks of the second SSD are served by one of them.
fn configuration() -> Value {
    let call = |method: &str, params: Value| json!({ "method": method, "params": params });
    let ssds = [attach("Few", sled::FIRST_SSD), attach("Many", sled::SECOND_SSD)];
    let disk = |(disk, device): (&str, &str)| {
        let cpumask = if device.starts_with("Few") { "0x3" } else { "0x2" };
        let params = json!({ "ctrlr": disk, "dev_name": device, "cpumask": cpumask });
        call("vhost_create_blk_controller", params)
    };
    let vm = json!({
        "name": "vm0", "cpus": 1, "memory_mb": 256, "disks": DISKS.map(|(disk, _)| disk), "console": "log",
        "kernel": "/usr/share/luge/guest/kernel", "initrd": "/usr/share/luge/guest/initramfs",
        "command_line": "console=ttyS0 quiet no_timer_check panic=-1 luge.guest=disks luge.device_mib=1",
    });
    json!({ "appliance": { "cpumask": "0x3" }, "subsystems": [
        { "subsystem": "bdev", "config": ssds },
        { "subsystem": "vhost_blk", "config": DISKS.map(disk) },
        { "subsystem": "vm", "config": [call("vm_create", vm), call("vm_start", json!({ "name": "vm0" }))] },
    ] })
}

/// Hash of the part of a namespace that the VM uses, in the SSD's file.
fn hash_outside(path: &Path) -> Result<String, TestError> {
    let mut bytes = vec![0; USED_BYTES];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| TestError::Host(format!("reading {}: {error}", path.display())))?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Hashes that the VM printed of one of its disks.
struct Used {
    before: String,
    written: String,
    read: String,
}

impl Used {
    /// Hashes of the disk `name` in the VM's output.
    fn of(name: &str, text: &str) -> Self {
        let line = text.lines().find_map(|line| line.split_once(&format!("LUGE-GUEST {name} ")));
        let line = line.unwrap_or_else(|| panic!("nothing of {name} in {text}")).1;
        let word = |name: &str| {
            let value = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            value.unwrap_or_else(|| panic!("{name} in {line}")).to_owned()
        };
        Self { before: word("before="), written: word("written="), read: word("read=") }
    }
}

/// Masks of the cores that serve the disks.
fn masks(sled: &mut SledMachine) -> Result<[String; 4], TestError> {
    let controllers = sled.call("vhost_get_controllers", &json!({}))?;
    let controllers = controllers.as_array().cloned().unwrap_or_default();
    Ok(DISKS.map(|(disk, _)| {
        let one = controllers.iter().find(|one| one["ctrlr"] == disk);
        one.and_then(|one| one["cpumask"].as_str()).unwrap_or_default().to_owned()
    }))
}

#[test]
fn namespaces_are_served_at_once_with_one_queue_pair_on_two_cores_and_with_many_on_one_core()
-> Result<(), TestError> {
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("namespaces")?);
    let ssds = vec![ssd_of_two(&bench, "few", 1)?, ssd_of_two(&bench, "many", 64)?];
    let files: Vec<PathBuf> =
        ssds.iter().flat_map(|ssd| [&ssd.file, &ssd.more_namespaces[0]]).cloned().collect();
    let before = files.iter().map(|file| hash_outside(file)).collect::<Result<Vec<_>, _>>()?;
    let machine = sled::machine(&bench, ssds, &configuration())?;
    let mut sled = SledMachine::start(&bench, &machine)?;
    sled.ready()?;

    let output = &sled.running.process.output;
    let status = output.wait_line("LUGE-GUEST done status=", Deadline::within(WORK_SECONDS))?;
    assert_eq!(status, "0", "{}", output.tail());
    let mut written = Vec::new();
    for (name, before) in ["vda", "vdb", "vdc", "vdd"].into_iter().zip(before) {
        let used = Used::of(name, &output.text());
        assert_eq!(used.before, before, "{name}, before the VM wrote there");
        assert_eq!(used.read, used.written, "{name}, read back by the VM");
        written.push(used.written);
    }
    let [few, few_2, many, many_2] = masks(&mut sled)?;
    assert_eq!(few, few_2, "both namespaces are served where the queue pair is");
    let core = ["0x1", "0x2"].iter().position(|mask| *mask == few).expect("one core");
    assert_eq!(many, "0x2");
    assert_eq!(many_2, "0x2");
    let text = power_off(sled)?;
    let said = text.matches("all 1 that it grants are in use").count();
    assert_eq!(said, 2, "said of both namespaces:\n{text}");
    assert_eq!(text.matches(&format!("; cores [{core}] serve it")).count(), 2, "{text}");
    for (file, written) in files.iter().zip(written) {
        assert_eq!(hash_outside(file)?, written, "{}, from outside", file.display());
    }
    Ok(())
}
