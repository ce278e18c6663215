//! PID 1: the boot of the appliance, as a list of named phases, and its end.
//!
//! Invariants
//! - A phase that fails is reported with its remedy, and the next one begins: whatever is
//!   broken, there is a console in the end.
//! - PID 1 never returns. Its end is the machine's.
//!
//! - `phases`: what each phase does. `ssds`, `origin`: which SSDs are taken.
//! - `report`, `screens`: what is said, and where. `consoles`: what can be said back.
//!
//! Not here: how any of it is done (`luge-init`, `appliance`).

mod consoles;
mod origin;
mod phases;
mod report;
mod screens;
mod ssds;

use crate::appliance::Appliance;
use crate::config::Config;
use luge_init::{Ending, PowerRequest, PowerSwitch, Reaper, Settings, catch_panics, end_machine, say};
use phases::PHASES;
use report::Report;
use screens::Screens;
use std::sync::mpsc::Receiver;

/// What the phases have brought about so far.
pub struct Sled {
    settings: Settings,
    /// The configuration, and where it is from.
    config: Option<(String, Config)>,
    screens: Screens,
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
    let mut report = Report::begin(sled.screens.clone());
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
            config: None,
            screens: Screens::default(),
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
        self.screens.say(&format!("luge: {end}, asked for by {}: stopping in order", request.from));
        if let Some(appliance) = self.appliance {
            appliance.stop();
        }
        say(&format!("everything has stopped: {end}"));
        end_machine(request.ending)
    }
}
