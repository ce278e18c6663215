//! `cargo boot --exit` as a person runs it: the whole path, judged by its exit code.

use luge_qemu_test::{Deadline, Lab, Process, TestError};
use std::process::Command;

/// Building is done before; a machine in an emulated machine takes minutes on a busy host.
const BOOT_SECONDS: u32 = 1200;

#[test]
fn cargo_boot_ends_well_when_all_checksums_match() -> Result<(), TestError> {
    let lab = Lab::shared();
    let _turn = lab.turn()?;
    lab.image()?;
    let bench = lab.bench("cargo-boot")?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_boot"));
    command.arg("--exit");
    let mut boot = Process::start("boot", command, &bench.log("boot"))?;
    let status = boot.wait(Deadline::within(BOOT_SECONDS))?;
    boot.output.wait_end(Deadline::within(10))?;
    assert!(status.success(), "{status}:\n{}", boot.output.tail());
    for witness in ["the VM's files:", "the VM's disk:", "the SSD, outside:"] {
        assert!(boot.output.has(witness), "{}", boot.output.tail());
    }
    Ok(())
}

#[test]
fn an_ssd_of_the_host_that_is_not_there_is_refused_by_name() -> Result<(), TestError> {
    let bench = Lab::shared().bench("cargo-boot-ssd")?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_boot"));
    command.args(["--exit", "--ssd", "fffe:1f:1f.7"]);
    let mut boot = Process::start("boot", command, &bench.log("boot"))?;
    let status = boot.wait(Deadline::within(60))?;
    boot.output.wait_line("there is no PCI device fffe:1f:1f.7", Deadline::within(10))?;
    assert_eq!(status.code(), Some(1));
    Ok(())
}
