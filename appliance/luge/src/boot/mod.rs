//! PID 1: the boot of the appliance, as a list of named phases, and its end.
//!
//! Invariants
//! - A phase that fails is reported with its remedy, and the next one begins: there is
//!   always a console in the end.
//! - PID 1 never returns: its end would be a kernel panic.
//!
//! - `phases`: the phases; `state`: what they share. `ssds`, `origin`: the choice of SSDs. `loading`: the last
//!   phase, which takes as long as the slowest SSD.
//! - `report`, `screens`: output. `consoles`: input.
//!
//! Not here: the steps themselves (`luge-init`, `appliance`).

mod consoles;
mod loading;
mod origin;
mod phases;
mod report;
mod screens;
mod ssds;
mod state;

use luge_init::catch_panics;
use phases::PHASES;
use report::Report;
use state::BootState;

/// Boots, serves until a power-off or a reboot is asked for, and ends the machine.
pub fn run() -> ! {
    let mut state = BootState::new();
    // Until the settings are known.
    catch_panics(state.settings.panic);
    let mut report = Report::begin(state.screens.clone());
    for phase in PHASES {
        report.phase(phase.name, |notes| (phase.run)(&mut state, notes));
    }
    loading::begin(&mut state, report);
    state.serve()
}
