//! State of the boot: what its phases share and change, and the end of the machine.

use super::screens::Screens;
use crate::appliance::Appliance;
use crate::config::Config;
use luge_init::{Ending, PowerRequest, PowerSwitch, Reaper, Settings, end_machine, say};
use luge_vfio::PciAddress;
use std::sync::mpsc::Receiver;

/// Results of the phases so far.
pub struct BootState {
    pub settings: Settings,
    /// The configuration, and the name of its source.
    pub config: Option<(String, Config)>,
    /// Names and addresses of the SSDs to attach.
    pub ssds: Vec<(String, PciAddress)>,
    pub screens: Screens,
    pub power: PowerSwitch,
    pub requests: Receiver<PowerRequest>,
    pub reaper: Option<Reaper>,
    /// None where the start failed: then the consoles have only their own commands.
    pub appliance: Option<Appliance>,
}

impl BootState {
    pub fn new() -> Self {
        let (power, requests) = PowerSwitch::new();
        Self {
            settings: Settings::default(),
            config: None,
            ssds: Vec::new(),
            screens: Screens::default(),
            power,
            requests,
            reaper: None,
            appliance: None,
        }
    }

    /// Serves until the machine is to end, and ends it.
    pub fn serve(self) -> ! {
        // Never closed: the sender is in this structure.
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
