//! The appliance in a machine: its image, its SSDs behind an IOMMU, and its configuration.

use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use crate::lab::Bench;
use crate::machine::{Boot, Iommu, Machine, Running, Ssd};
use luge_image::Artifacts;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;

/// The name under which the sled looks for its configuration in QEMU's firmware device.
const CONFIGURATION: &str = "opt/luge/config";

/// How long firmware, kernel and all of the sled's phases may take.
const BOOT_SECONDS: u32 = 300;

/// How long draining, flushing and powering off may take.
const POWER_OFF_SECONDS: u32 = 120;

/// Where the sled's first SSD is.
pub const FIRST_SSD: &str = "0000:00:10.0";

/// Where its second one is.
pub const SECOND_SSD: &str = "0000:00:11.0";

/// How much memory the appliance gets: itself, its hugepages, and a VM.
const MEMORY_MIB: u32 = 1536;

/// A sled to be started.
pub struct Sled {
    /// The machine it is, ready to be changed.
    pub machine: Machine,
}

impl Sled {
    /// A sled that is booted directly, with an IOMMU and these SSDs.
    ///
    /// # Errors
    /// Its configuration cannot be written.
    pub fn new(
        bench: &Bench<'_>,
        artifacts: &Artifacts,
        ssds: Vec<Ssd>,
        configuration: &Value,
    ) -> Result<Self, TestError> {
        let boot = Boot::Kernel {
            kernel: artifacts.kernel.clone(),
            initramfs: artifacts.initramfs.clone(),
            arguments: String::new(),
        };
        let firmware_files = vec![(CONFIGURATION.to_owned(), write(bench, configuration)?)];
        let sled = Machine::new("sled", boot);
        let machine =
            Machine { cpus: 2, memory_mib: MEMORY_MIB, iommu: Iommu::Intel, ssds, firmware_files, ..sled };
        Ok(Self { machine })
    }

    /// Boots it.
    ///
    /// # Errors
    /// QEMU does not start.
    pub fn start(&self, bench: &Bench<'_>) -> Result<Running, TestError> {
        self.machine.start(bench)
    }
}

/// Waits until the sled has booted without a fault.
///
/// # Errors
/// It did not, or not without.
pub fn ready(sled: &Running) -> Result<(), TestError> {
    let console = &sled.process.output;
    let after = console.wait_line("luge: ready after ", Deadline::within(BOOT_SECONDS))?;
    if after.contains("fault") {
        return Err(TestError::Confused { who: "the sled's boot".to_owned(), said: console.tail() });
    }
    Ok(())
}

/// Presses the power button and waits for the sled's orderly end.
///
/// # Errors
/// It did not end.
pub fn power_off(mut sled: Running) -> Result<ExitStatus, TestError> {
    sled.qmp.power_button()?;
    sled.process.wait(Deadline::within(POWER_OFF_SECONDS))
}

fn write(bench: &Bench<'_>, configuration: &Value) -> Result<PathBuf, TestError> {
    let path = bench.path("luge.json");
    fs::write(&path, format!("{configuration:#}\n")).doing(|| format!("writing {}", path.display()))?;
    Ok(path)
}
