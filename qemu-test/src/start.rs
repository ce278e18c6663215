//! Start of machines, with the accelerator that works on this host.
//!
//! A `/dev/kvm` may exist and still not run a guest, so a guest is booted under it with a time limit.
//! The result is kept until the host reboots or QEMU changes.

use crate::accelerator::Accelerator;
use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use crate::lab::{Bench, Lab};
use crate::machine::{Boot, Machine};
use crate::running::Running;
use luge_image::GuestKit;
use std::fs;
use std::path::Path;

/// Time limit for a guest under KVM to start its first process, which takes about two seconds.
const PROBE_SECONDS: u32 = 20;

impl Machine {
    /// Starts the machine.
    ///
    /// # Errors
    /// If QEMU does not start; the error contains its output.
    pub fn start(&self, bench: &Bench) -> Result<Running, TestError> {
        Running::start(self, bench, accelerator(bench.lab())?)
    }
}

/// Accelerator that works on this host.
///
/// # Errors
/// If the accelerator cannot be determined.
pub fn accelerator(lab: &Lab) -> Result<Accelerator, TestError> {
    lab.accelerator(that_works)
}

/// Determines the accelerator: `LUGE_ACCELERATOR` if it is set, else KVM if a guest boots under it,
/// else TCG.
fn that_works(lab: &Lab) -> Result<Accelerator, TestError> {
    if let Ok(wanted) = std::env::var("LUGE_ACCELERATOR") {
        return Accelerator::named(&wanted).ok_or_else(|| {
            TestError::Host(format!("LUGE_ACCELERATOR is {wanted}; it has to be kvm or tcg"))
        });
    }
    if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(Accelerator::Tcg);
    }
    let (memory, question) = (lab.folder().join("accelerator"), question(lab)?);
    if let Some(known) = remembered(&memory, &question) {
        return Ok(known);
    }
    let answer = if kvm_boots_a_guest(lab)? { Accelerator::Kvm } else { Accelerator::Tcg };
    fs::write(&memory, format!("{question}{}", answer.name()))
        .doing(|| format!("writing {}", memory.display()))?;
    Ok(answer)
}

/// Text of all that the answer depends on: this boot of the host, and QEMU.
fn question(lab: &Lab) -> Result<String, TestError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let boot = fs::read_to_string(path).doing(|| format!("reading {path}"))?;
    Ok(format!("{}\n{}\n", boot.trim(), lab.qemu().path("").display()))
}

fn remembered(memory: &Path, question: &str) -> Option<Accelerator> {
    let text = fs::read_to_string(memory).ok()?;
    Accelerator::named(text.strip_prefix(question)?)
}

fn kvm_boots_a_guest(lab: &Lab) -> Result<bool, TestError> {
    let GuestKit { kernel, initramfs } = lab.guest()?;
    let bench = lab.bench("probe")?;
    let boot = Boot::Kernel { kernel, initramfs, arguments: "luge.guest=shell".to_owned() };
    let Ok(guest) = Running::start(&Machine::new("probe", boot), &bench, Accelerator::Kvm) else {
        return Ok(false);
    };
    Ok(guest.process.output.wait_for("LUGE-GUEST ready", Deadline::within(PROBE_SECONDS)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_for_the_same_question_only() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("accelerator");
        assert_eq!(remembered(&memory, "boot 1\nqemu\n"), None);
        fs::write(&memory, "boot 1\nqemu\ntcg").unwrap();
        assert_eq!(remembered(&memory, "boot 1\nqemu\n"), Some(Accelerator::Tcg));
        assert_eq!(remembered(&memory, "boot 2\nqemu\n"), None);
    }
}
