//! `cargo boot` as a person runs it: the whole path, a look around at the console, the end.

use luge_qemu_test::{Deadline, Lab, Process, TestError};
use std::process::Command;

/// Building is done before; a machine in an emulated machine takes minutes on a busy host.
const BOOT_SECONDS: u32 = 1200;

/// Time limit for an answer of the console.
const ANSWER_SECONDS: u32 = 120;

/// Ctrl-].
const LEAVE: &[u8] = b"\x1d";

/// `cargo boot` at a terminal of its own.
fn boot_at_a_terminal() -> Command {
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", env!("CARGO_BIN_EXE_boot"), "/dev/null"]);
    script
}

#[test]
fn cargo_boot_shows_the_whole_path_and_hands_over_the_console() -> Result<(), TestError> {
    let lab = Lab::shared();
    let _turn = lab.turn()?;
    lab.image()?;
    let bench = lab.bench("cargo-boot")?;
    let mut boot = Process::start("boot", boot_at_a_terminal(), &bench.log("boot"))?;

    let verdict = |who: &str| boot.output.wait_line(who, Deadline::within(BOOT_SECONDS));
    assert!(verdict("the VM's files:")?.ends_with(": match"), "{}", boot.output.tail());
    assert!(verdict("the SSD, outside:")?.ends_with(": match"), "{}", boot.output.tail());
    assert!(verdict("the VM's NVMe disk:")?.ends_with(": match"), "{}", boot.output.tail());

    for (command, word) in [("help", "vhost_create_blk_controller"), ("bdev_get_iostat", "Nvme0n1p1")] {
        boot.output.wait_for("luge> ", Deadline::within(ANSWER_SECONDS))?;
        boot.send(format!("{command}\r").as_bytes())?;
        boot.output.wait_for(word, Deadline::within(ANSWER_SECONDS))?;
    }
    boot.output.wait_for("luge> ", Deadline::within(ANSWER_SECONDS))?;
    boot.send(b"top\r")?;
    boot.output.wait_for("VOLUME", Deadline::within(ANSWER_SECONDS))?;
    boot.send(b"q")?;
    boot.output.wait_for("luge> ", Deadline::within(ANSWER_SECONDS))?;
    boot.send(LEAVE)?;
    let status = boot.wait(Deadline::within(ANSWER_SECONDS))?;
    assert!(status.success(), "{status}:\n{}", boot.output.tail());
    assert!(boot.output.has("everything has stopped: power off"), "{}", boot.output.tail());
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
