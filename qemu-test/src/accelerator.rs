//! Which of QEMU's accelerators works here: found out by booting a guest, not by looking.
//!
//! A `/dev/kvm` can be there and yet never run a guest, so the question is put with a time
//! limit. The answer is kept until the host boots again or QEMU changes.

use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use crate::lab::Lab;
use crate::machine::{Boot, Machine};
use luge_image::GuestKit;
use std::fs;
use std::path::Path;

/// How long a guest may take under KVM to reach its first process. It takes about two seconds.
const PROBE_SECONDS: u32 = 20;

/// How QEMU runs a guest's instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accelerator {
    /// By the processor itself.
    Kvm,
    /// By translating them.
    Tcg,
}

impl Accelerator {
    /// QEMU's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// The processor with all that the accelerator can do.
    pub(crate) const fn cpu(self) -> &'static str {
        match self {
            Self::Kvm => "host",
            Self::Tcg => "max",
        }
    }

    /// Where interrupt controllers must be for the IOMMU to remap interrupts.
    pub(crate) const fn irqchip_beside_iommu(self) -> &'static str {
        match self {
            Self::Kvm => "split",
            Self::Tcg => "off",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Kvm, Self::Tcg].into_iter().find(|one| one.name() == name)
    }

    /// The best that works: `LUGE_ACCELERATOR` where it is set, else KVM if a guest boots
    /// under it, else TCG.
    pub(crate) fn that_works(lab: &Lab) -> Result<Self, TestError> {
        if let Ok(wanted) = std::env::var("LUGE_ACCELERATOR") {
            return Self::named(&wanted).ok_or_else(|| {
                TestError::Host(format!("LUGE_ACCELERATOR is {wanted}: not kvm and not tcg"))
            });
        }
        if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Self::Tcg);
        }
        let (memory, question) = (lab.folder().join("accelerator"), question(lab)?);
        if let Some(known) = remembered(&memory, &question) {
            return Ok(known);
        }
        let answer = if kvm_boots_a_guest(lab)? { Self::Kvm } else { Self::Tcg };
        fs::write(&memory, format!("{question}{}", answer.name()))
            .doing(|| format!("writing {}", memory.display()))?;
        Ok(answer)
    }
}

/// What the answer depends on: this boot of the host, and QEMU.
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
    let Ok(guest) = Machine::new("probe", boot).start_with(&bench, Accelerator::Kvm) else {
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
