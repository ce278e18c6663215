//! PID 1: the boot of the appliance, as a list of named phases, and its end.
//!
//! Invariants
//! - A phase that fails is reported with its remedy, and the next one begins: whatever is
//!   broken, there is a console in the end.
//! - PID 1 never returns. Its end is the machine's.
//!
//! - `phases`: what each phase does. `ssds`, `boot_ssd`: which SSDs are taken.
//! - `voice`, `report`: what is said, and where. `commands`: what the consoles can do.
//! - `follow`: what virtual machines print.
//!
//! Not here: how any of it is done (`luge-init`, `appliance`).

mod boot_ssd;
mod commands;
mod follow;
mod phases;
mod report;
mod ssds;
mod voice;

use crate::appliance::Appliance;
use luge_init::{Ending, PowerRequest, PowerSwitch, Reaper, Settings, catch_panics, end_machine, say};
use phases::PHASES;
use report::Report;
use std::sync::mpsc::Receiver;
use voice::Voice;

/// Whether this process was started by the kernel, as the first one.
#[must_use]
pub fn is_first_process() -> bool {
    std::process::id() == 1
        && std::env::args_os().next().is_some_and(|name| std::path::Path::new(&name).ends_with("init"))
}

/// What the phases have brought about so far.
pub struct Sled {
    settings: Settings,
    voice: Voice,
    power: PowerSwitch,
    requests: Receiver<PowerRequest>,
    reaper: Option<Reaper>,
    /// None where it could not be started: then the consoles have only their own commands.
    appliance: Option<Appliance>,
}

/// Boots, serves until somebody ends it, and ends the machine.
pub fn run() -> ! {
    let mut sled = Sled::new();
    // Until the settings are known.
    catch_panics(sled.settings.panic);
    let mut report = Report::begin(sled.voice.clone());
    for phase in PHASES {
        report.phase(phase.name, |notes| (phase.run)(&mut sled, notes));
    }
    report.end();
    sled.serve()
}

impl Sled {
    fn new() -> Self {
        let (power, requests) = PowerSwitch::new();
        Self {
            settings: Settings::default(),
            voice: Voice::default(),
            power,
            requests,
            reaper: None,
            appliance: None,
        }
    }

    fn serve(self) -> ! {
        // The switch that could ask is in this very structure: there is always somebody left to.
        let request = self.requests.recv();
        let request = request.unwrap_or(PowerRequest { ending: Ending::PowerOff, from: "nobody".into() });
        let end = match request.ending {
            Ending::PowerOff => "power off",
            Ending::Reboot => "reboot",
        };
        self.voice.say(&format!("luge: {end}, asked for by {}: stopping in order", request.from));
        if let Some(appliance) = self.appliance {
            appliance.stop();
        }
        say(&format!("everything has stopped: {end}"));
        end_machine(request.ending)
    }
}
