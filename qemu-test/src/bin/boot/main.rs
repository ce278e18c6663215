//! `cargo boot`: shows all of Luge in one command.
//!
//! 1. Build what is missing: QEMU, kernel, luge, the image with its VM pack.
//! 2. Boot the image in QEMU with an NVMe SSD behind an IOMMU, an emulated one or one of the host.
//! 3. Wait while the sled serves two volumes of the SSD to a VM that it starts, one as a virtio disk and one by NVMe;
//!    the VM makes a file system, writes, reads back and prints checksums.
//! 4. Compare the checksums with the SSD's content as read from outside.
//! 5. Connect the terminal with the sled's console, or power the sled off.
//!
//! Not here: the work of the sled and the VM (`luge_qemu_test::selftest`).

mod host_ssd;
mod terminal;

use clap::Parser;
use host_ssd::HostSsd;
use luge_image::Progress;
use luge_qemu_test::{Bench, Lab, SelfTestResult, SledMachine, Ssd, TestError, accelerator, selftest, sled};
use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

/// Size of the emulated SSD in MiB; its file is sparse.
const SSD_MIB: u64 = 1024;

/// Boots Luge in QEMU, lets a VM write to an SSD through it, and checks the SSD's content.
#[derive(Parser)]
#[command(name = "cargo boot", version)]
struct Arguments {
    /// Power off when the VM is done, and exit with 0 only if all checksums match. The default
    /// without a terminal.
    #[arg(long)]
    exit: bool,
    /// Use this NVMe SSD of the host, a PCI address such as 0000:3b:00.0, instead of an emulated one.
    /// An SSD that is in use is refused. ITS CONTENT IS OVERWRITTEN, after a question.
    #[arg(long, value_name = "PCI-ADDRESS")]
    ssd: Option<String>,
    /// Overwrite the SSD without a question.
    #[arg(long, requires = "ssd")]
    overwrite: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo boot: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all checksums matched.
fn run(arguments: &Arguments) -> Result<bool, TestError> {
    let Some(address) = &arguments.ssd else { return boot(arguments, None) };
    let ssd = HostSsd::bind(address)?;
    let agreed = arguments.overwrite || terminal::agrees(&format!("overwrite the SSD {}", ssd.address()))?;
    let matched = if agreed {
        boot(arguments, Some(&ssd))
    } else {
        Err(TestError::Host(format!("{} was not overwritten: answer yes, or use --overwrite", ssd.address())))
    };
    ssd.restore()?;
    matched
}

fn boot(arguments: &Arguments, host_ssd: Option<&HostSsd>) -> Result<bool, TestError> {
    let lab = Lab::open(Progress::to_stderr())?;
    let bench = lab.bench("boot")?;
    let ssd = match host_ssd {
        Some(_) => None,
        None => Some(Ssd::create(bench.path("ssd.img"), SSD_MIB)?),
    };
    let sled = start(&bench, ssd.clone(), host_ssd)?;
    sled.running.process.output.show();
    let result = SelfTestResult::wait(&sled)?;
    let matched = compare(&result, ssd.as_ref())?;
    if arguments.exit || !std::io::stdin().is_terminal() {
        sled.power_off()?;
    } else {
        terminal::hand_over(sled)?;
    }
    Ok(matched)
}

fn start(bench: &Bench<'_>, ssd: Option<Ssd>, host_ssd: Option<&HostSsd>) -> Result<SledMachine, TestError> {
    let configuration = selftest::configuration_of_all_kinds(sled::FIRST_SSD);
    let mut machine = sled::machine(bench, ssd.into_iter().collect(), &configuration)?;
    machine.host_device = host_ssd.map(HostSsd::address);
    eprintln!("booting the sled ({}) ...", accelerator(bench.lab())?.name());
    SledMachine::start(bench, &machine)
}

/// Prints the VM's result beside the SSD's content; returns whether they match.
fn compare(result: &SelfTestResult, ssd: Option<&Ssd>) -> Result<bool, TestError> {
    let verdict = |matched: bool| if matched { "match" } else { "DO NOT MATCH" };
    let inside = result.files_match();
    let seen = ssd.map(|ssd| result.hash_outside(&ssd.file)).transpose()?;
    // The sled's console goes on meanwhile.
    let _console = stdout().lock();
    eprintln!(
        "\r\nthe VM's files:     written {}, read {}: {}\r",
        result.written,
        result.read,
        verdict(inside)
    );
    let Some(seen) = seen else {
        eprintln!("the SSD is the host's, and the sled uses it: not read from outside\r");
        return Ok(inside && compare_lun(result) && compare_nvme(result, None)?);
    };
    let outside = seen == result.device;
    eprintln!("the VM's disk:      {} MiB, {}\r", result.device_bytes >> 20, result.device);
    eprintln!("the SSD, outside:   {} MiB, {seen}: {}\r", result.device_bytes >> 20, verdict(outside));
    Ok(inside && outside && compare_lun(result) && compare_nvme(result, ssd)?)
}

/// Prints the result of the VM's LUN, which is in the sled's memory; returns whether it has read what it wrote.
fn compare_lun(result: &SelfTestResult) -> bool {
    let Some(lun) = &result.lun else {
        eprintln!("the VM's LUN:       NOT THERE\r");
        return false;
    };
    let matched = lun.written == lun.read;
    let verdict = if matched { "match" } else { "DO NOT MATCH" };
    eprintln!("the VM's LUN:       written {}, read {}: {verdict}\r", lun.written, lun.read);
    matched
}

/// Prints the result of the VM's NVMe disk beside the SSD's content; returns whether they match.
fn compare_nvme(result: &SelfTestResult, ssd: Option<&Ssd>) -> Result<bool, TestError> {
    let Some(nvme) = &result.nvme else {
        eprintln!("the VM's NVMe disk: NOT THERE\r");
        return Ok(false);
    };
    let seen = ssd.map(|ssd| nvme.hash_outside(&ssd.file)).transpose()?;
    let outside = seen.unwrap_or_else(|| nvme.read.clone());
    let matched = nvme.written == nvme.read && nvme.read == outside;
    let verdict = if matched { "match" } else { "DO NOT MATCH" };
    eprintln!(
        "the VM's NVMe disk: written {}, read {}, outside {outside}: {verdict}\r",
        nvme.written, nvme.read
    );
    Ok(matched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_qemu_test::selftest::DiskResult;
    use std::fs::File;

    #[test]
    fn the_verdict_is_a_match_only_if_files_and_ssd_match() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ssd");
        File::create(&file).and_then(|file| file.set_len(128 << 20)).unwrap();
        let ssd = Ssd { file, ..Ssd::create(folder.path().join("other"), 1).unwrap() };
        let [written, other] = ["ab", "cd"].map(|byte| byte.repeat(32));
        let blind = SelfTestResult {
            written: written.clone(),
            read: written,
            device: String::new(),
            device_bytes: 4096,
            nvme: None,
            lun: Some(DiskResult { written: "ab".into(), read: "ab".into(), bytes: 4096 }),
        };
        let nvme = DiskResult { written: String::new(), read: String::new(), bytes: 4096 };
        let seen = nvme.hash_outside(&ssd.file).unwrap();
        let nvme = DiskResult { written: seen.clone(), read: seen, ..nvme };
        let both = SelfTestResult {
            device: blind.hash_outside(&ssd.file).unwrap(),
            nvme: Some(nvme.clone()),
            ..blind
        };
        let verdict = |result: &SelfTestResult| compare(result, Some(&ssd)).unwrap();
        assert!(verdict(&both));
        assert!(!verdict(&SelfTestResult { read: other.clone(), ..both.clone() }));
        assert!(!verdict(&SelfTestResult { device: other.clone(), ..both.clone() }));
        assert!(!verdict(&SelfTestResult { nvme: None, ..both.clone() }));
        assert!(!verdict(&SelfTestResult { lun: None, ..both.clone() }));
        let lun = DiskResult { written: "ab".into(), read: "cd".into(), bytes: 4096 };
        assert!(!verdict(&SelfTestResult { lun: Some(lun), ..both.clone() }));
        let other = DiskResult { read: other, ..nvme };
        assert!(!verdict(&SelfTestResult { nvme: Some(other), ..both.clone() }));
        std::fs::remove_file(&ssd.file).unwrap();
        assert!(compare(&both, Some(&ssd)).is_err());
    }
}
