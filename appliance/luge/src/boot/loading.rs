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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::control;
    use luge_rpc::{Method, Param, Params, RpcError, Stage};
    use serde::Deserialize;
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;

    /// Parameters of any kind.
    #[derive(Deserialize)]
    struct Anything(Value);

    impl Params for Anything {
        const LIST: &'static [Param] = &[];
    }

    /// A boot with two SSDs and a configuration that serves the second; the first fails when `hanging` is closed.
    fn loading(hanging: Receiver<()>, served: std::sync::mpsc::Sender<Value>) -> Loading {
        let hanging = Mutex::new(hanging);
        let attach_one = move |Anything(params): Anything| match params["name"].as_str() {
            Some("nvme0") => {
                let _ = hanging.lock().unwrap().recv();
                Err(RpcError::busy("it does not become ready"))
            }
            name => Ok(vec![format!("{}n1", name.unwrap())]),
        };
        let serve = move |Anything(params): Anything| {
            served.send(params["ctrlr"].clone()).unwrap();
            Ok(true)
        };
        let dispatcher = Arc::new(Dispatcher::new([
            Method::new(ATTACH, "", &[Stage::Runtime], attach_one),
            Method::new("vhost_create_blk_controller", "", &[Stage::Runtime], serve),
        ]));
        dispatcher.enter(Stage::Runtime);
        let serve = json!({ "method": "vhost_create_blk_controller", "params": { "ctrlr": "v" } });
        let config = json!({ "subsystems": [{ "subsystem": "vhost_blk", "config": [serve] }] });
        let ssds = ["nvme0", "nvme1"].into_iter().zip(["0000:01:00.0", "0000:02:00.0"]);
        let ssds = ssds.map(|(name, address)| (address.into(), attach(name, address.parse().unwrap())));
        let calls = Config::parse(config.to_string().as_bytes()).unwrap().after(ssds);
        Loading { control: control(), dispatcher, place: Some("luge.json".into()), calls }
    }

    #[test]
    fn an_ssd_that_hangs_keeps_no_disk_waiting_and_is_named_in_the_end() {
        let ((hang, hanging), (serve, served)) = (channel(), channel());
        let loading = loading(hanging, serve);
        let lines = thread::scope(|scope| {
            let loaded = scope.spawn(|| {
                let mut notes = Notes::default();
                loading.run(&mut notes);
                notes.lines()
            });
            assert_eq!(served.recv().unwrap(), "v");
            assert!(!loaded.is_finished(), "the first SSD still hangs");
            drop(hang);
            loaded.join().unwrap()
        });
        assert_eq!(
            lines,
            [
                "0000:02:00.0: [\"nvme1n1\"]",
                "configuration from luge.json",
                "! 0000:01:00.0 (bdev_nvme_attach_controller): Device or resource busy: it does not become ready",
            ]
        );
    }
}
