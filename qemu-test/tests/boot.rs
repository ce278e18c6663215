//! `cargo boot` as a person runs it: what it refuses.

use luge_qemu_test::{Deadline, Lab, Process, TestError};
use std::process::Command;

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
