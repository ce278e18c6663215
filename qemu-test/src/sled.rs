//! The appliance in a virtual machine: its image, SSDs behind an IOMMU, configuration and serial
//! console.

use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use crate::lab::Bench;
use crate::machine::{Boot, Iommu, Machine, Ssd};
use crate::running::Running;
use serde_json::Value;
use std::fs;
use std::process::ExitStatus;

/// Name of the sled's configuration in QEMU's firmware configuration device.
const CONFIGURATION: &str = "opt/luge/config";

/// Time limit for firmware, kernel and all phases of the sled's boot.
const BOOT_SECONDS: u32 = 300;

/// Time limit for a command at the console.
const ANSWER_SECONDS: u32 = 120;

/// Time limit for draining, flushing and powering off.
const POWER_OFF_SECONDS: u32 = 120;

/// PCI address of the sled's first SSD.
pub const FIRST_SSD: &str = "0000:00:10.0";

/// PCI address of the sled's second SSD.
pub const SECOND_SSD: &str = "0000:00:11.0";

/// Memory for the appliance, its hugepages and a VM.
const MEMORY_MIB: u32 = 1536;

/// Machine of a sled that is booted directly, with an IOMMU and these SSDs.
///
/// # Errors
/// If the image does not build, or the configuration cannot be written.
pub fn machine(bench: &Bench<'_>, ssds: Vec<Ssd>, configuration: &Value) -> Result<Machine, TestError> {
    let image = bench.lab().image()?;
    let arguments = luge_image::command_line(luge_image::ISOLATED_CPUS);
    let boot = Boot::Kernel { kernel: image.kernel, initramfs: image.initramfs, arguments };
    let file = bench.path("luge.json");
    fs::write(&file, format!("{configuration:#}\n")).doing(|| format!("writing {}", file.display()))?;
    Ok(Machine {
        cpus: 2,
        memory_mib: MEMORY_MIB,
        iommu: Iommu::Intel,
        ssds,
        firmware_files: vec![(CONFIGURATION.to_owned(), file)],
        ..Machine::new("sled", boot)
    })
}

/// A running sled. Dropping it cuts its power.
pub struct SledMachine {
    /// Machine of the sled.
    pub running: Running,
}

impl SledMachine {
    /// Starts the machine of a sled.
    ///
    /// # Errors
    /// If QEMU does not start.
    pub fn start(bench: &Bench<'_>, machine: &Machine) -> Result<Self, TestError> {
        Ok(Self { running: machine.start(bench)? })
    }

    /// Waits until the sled has booted; returns its message about faults, empty if there are none.
    ///
    /// # Errors
    /// If the sled does not boot.
    pub fn booted(&self) -> Result<String, TestError> {
        let console = &self.running.process.output;
        let after = console.wait_line("luge: ready after ", Deadline::within(BOOT_SECONDS))?;
        Ok(after.split_once(" ms").map(|(_, faults)| faults.to_owned()).unwrap_or_default())
    }

    /// Waits until the sled has booted without a fault.
    ///
    /// # Errors
    /// If the sled does not boot, or reports a fault.
    pub fn ready(&self) -> Result<(), TestError> {
        if self.booted()?.is_empty() {
            return Ok(());
        }
        Err(TestError::Confused {
            who: "the sled's boot".to_owned(),
            said: self.running.process.output.tail(),
        })
    }

    /// Types a command at the console and returns its result.
    ///
    /// # Errors
    /// If the command is refused or not answered.
    pub fn call(&mut self, method: &str, params: &Value) -> Result<Value, TestError> {
        self.running.process.output.forget();
        self.running.process.send(format!("{method} {params} --json\r").as_bytes())?;
        let deadline = Deadline::within(ANSWER_SECONDS);
        let answer = self.running.process.output.wait(method, deadline, |text| {
            let text = String::from_utf8_lossy(text);
            Some((0, answer_in(&text)?))
        })?;
        let refused = |answer| TestError::Refused { command: method.to_owned(), answer };
        answer.map_err(refused)
    }

    /// Presses the power button and waits until the sled has powered off.
    ///
    /// # Errors
    /// If the sled does not power off.
    pub fn power_off(mut self) -> Result<ExitStatus, TestError> {
        self.running.qmp.power_button()?;
        self.ended()
    }

    /// Waits until the sled has powered off.
    ///
    /// # Errors
    /// If the sled does not power off.
    pub fn ended(&mut self) -> Result<ExitStatus, TestError> {
        self.running.process.wait(Deadline::within(POWER_OFF_SECONDS))
    }
}

/// Answer to a command: a JSON value in whole lines, or an error line. Log lines may precede it but do
/// not interrupt it.
fn answer_in(text: &str) -> Option<Result<Value, Value>> {
    let starts = text.match_indices('\n').map(|(at, _)| &text[at + 1..]);
    starts.into_iter().find_map(|rest| {
        // On a terminal an error is red.
        let rest = rest.strip_prefix("\x1b[31m").unwrap_or(rest);
        if let Some(error) = rest.strip_prefix("error: ") {
            let end = error.find(['\n', '\x1b'])?;
            return Some(Err(Value::String(error[..end].trim_end().to_owned())));
        }
        // An indented line is part of a value that has not ended.
        if rest.starts_with(' ') {
            return None;
        }
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let value = values.next()?.ok()?;
        rest[values.byte_offset()..].starts_with('\n').then_some(Ok(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_found_among_lines_of_the_log() {
        let text = "luge> vm_get_vms {} --json\n[    2.1] usb 1: new\n2026-11-21T07 INFO x\n[\n  {\n    \"a\": 1\n  }\n]\nluge> ";
        assert_eq!(answer_in(text), Some(Ok(json!([{ "a": 1 }]))));
        assert_eq!(answer_in("luge> vm_start {} --json\ntrue\nluge> "), Some(Ok(json!(true))));
    }

    #[test]
    fn half_an_answer_is_none() {
        assert_eq!(answer_in("luge> x {\"a\": 1} --json\n[\n  {\n"), None);
        assert_eq!(answer_in("luge> x {} --json\n[\n  \"a\"\n"), None);
        assert_eq!(answer_in("luge> x {} --json\ntru"), None);
        assert_eq!(answer_in("luge> x {} --json\nerror: no su"), None);
    }

    #[test]
    fn a_refusal_is_an_error_with_its_reason() {
        let text = "luge> x {} --json\nerror: no such thing (code -19)\nluge> ";
        assert_eq!(answer_in(text), Some(Err(json!("no such thing (code -19)"))));
        let red = "luge> x {} --json\n\x1b[31merror: no such thing (code -19)\x1b[0m\nluge> ";
        assert_eq!(answer_in(red), answer_in(text));
    }
}
