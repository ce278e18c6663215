//! The end of the boot: the SSDs and the configuration, on a thread of its own.
//!
//! Invariant: an SSD that does not come up keeps neither the other disks nor the power switch waiting.

use super::report::{Notes, Report};
use super::state::BootState;
use crate::config::{Callers, Config};
use crate::control::{Call, Control};
use luge_rpc::{Caller, Dispatcher};
use luge_vfio::PciAddress;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

const ATTACH: &str = "bdev_nvme_attach_controller";

/// Calls that make what the machine serves.
pub struct Loading {
    control: Arc<Control>,
    dispatcher: Arc<Dispatcher>,
    /// Source of the configuration.
    place: Option<String>,
    calls: Config,
}

impl Loading {
    /// The chosen SSDs, then the configuration; none where Luge has not started.
    fn of(state: &mut BootState) -> Option<Self> {
        let appliance = state.appliance.as_ref()?;
        let (control, dispatcher) = (appliance.host().control.clone(), appliance.dispatcher().clone());
        let (place, config) = state.config.take().unzip();
        let ssds = state.ssds.iter().map(|(name, address)| (address.to_string(), attach(name, *address)));
        let calls = config.unwrap_or_default().after(ssds);
        Some(Self { control, dispatcher, place, calls })
    }

    /// Makes the calls. Each disk is served as soon as its own SSD is there.
    fn run(&self, notes: &mut Notes) {
        let attached = Mutex::new(Vec::new());
        let call = |method: &str, params: Value| {
            // Nothing waits for what is not there: the call is made again when more is there.
            let (caller, address) = (Caller::new(|| false), params["traddr"].clone());
            let prepared = self.dispatcher.prepare(self.dispatcher.stage(), method, params)?;
            let result = prepared.value(&caller)?;
            if method == ATTACH {
                let note = format!("{}: {result}", address.as_str().unwrap_or_default());
                attached.lock().unwrap_or_else(PoisonError::into_inner).push(note);
            }
            Ok(result)
        };
        let failures = self.calls.apply_all(&Callers { here: &call, beside: &call });
        // It fails only where the machine is on its way down.
        let _ = self.calls.keep_order(&self.control);
        let attached = attached.into_inner().unwrap_or_else(PoisonError::into_inner);
        attached.iter().for_each(|note| notes.note(note));
        failures.iter().for_each(|failure| notes.fault(failure));
        match &self.place {
            Some(place) => notes.note(format!("configuration from {place}")),
            None => notes.note("no configuration: what exists is made by RPC"),
        }
    }
}

/// Begins the last phase, and ends the report after it.
pub fn begin(state: &mut BootState, mut report: Report) {
    let Some(loading) = Loading::of(state) else { return report.end() };
    let finish = move || {
        report.phase("SSDs and configuration", |notes| loading.run(notes));
        report.end();
    };
    if let Err(error) = Builder::new().name("configuration".into()).spawn(finish) {
        state.screens.say(&format!("luge: nothing is served: no thread for the configuration: {error}"));
    }
}

/// Call that attaches an SSD.
fn attach(name: &str, address: PciAddress) -> Call {
    Call::new(ATTACH, json!({ "name": name, "trtype": "PCIe", "traddr": address.to_string() }))
}
