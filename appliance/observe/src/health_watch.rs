//! Watch of the SSDs' health, on a thread of its own, because an SSD may take long to tell it.
//!
//! Invariants
//! - An SSD is asked once in [`INTERVAL`] at most.
//! - Only the latest health of the SSDs that were enabled in the last snapshot is kept.

use crate::health::Health;
use crate::snapshot::Snapshot;
use crate::source::{Source, SourceError};
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two questions to an SSD. Its health changes slowly, and telling it costs it a command.
const INTERVAL: Duration = Duration::from_secs(30);

/// Handle of the thread. When dropped, the thread ends after its present call.
pub(crate) struct HealthWatch {
    names: SyncSender<Vec<String>>,
    known: Arc<Mutex<BTreeMap<String, Health>>>,
}

impl HealthWatch {
    /// Starts the thread, with a source that is its own.
    ///
    /// # Errors
    /// No thread can be made.
    pub(crate) fn start(source: Box<dyn Source + Send>) -> io::Result<Self> {
        let (names, wanted) = sync_channel(1);
        let known = Arc::default();
        let thread = HealthThread { source, known: Arc::clone(&known), asked: BTreeMap::new() };
        std::thread::Builder::new().name("health".into()).spawn(move || thread.run(&wanted))?;
        Ok(Self { names, known })
    }

    /// Adds the known health to the SSDs of a snapshot, and lets those be asked whose health is unknown or old. One that is
    /// being reset is not asked, because a command to it would delay its reset.
    pub(crate) fn add_to(&self, snapshot: &mut Snapshot) {
        let enabled = snapshot.ssds.iter().filter(|ssd| ssd.state.as_deref() == Some("enabled"));
        let names = enabled.map(|ssd| ssd.name.clone()).collect();
        // A thread that still asks has to ask for these later.
        let _ = self.names.try_send(names);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for ssd in &mut snapshot.ssds {
            ssd.health = known.get(&ssd.name).cloned();
        }
    }
}

/// State of the thread.
struct HealthThread {
    source: Box<dyn Source + Send>,
    known: Arc<Mutex<BTreeMap<String, Health>>>,
    /// Time of the last question to each SSD.
    asked: BTreeMap<String, Instant>,
}

impl HealthThread {
    fn run(mut self, wanted: &Receiver<Vec<String>>) {
        while let Ok(names) = wanted.recv() {
            self.asked.retain(|name, asked| names.contains(name) && asked.elapsed() < INTERVAL);
            self.lock_known(|known| known.retain(|name, _| names.contains(name)));
            for name in names {
                if !self.asked.contains_key(&name) {
                    self.ask(name);
                }
            }
        }
    }

    /// Asks an SSD. One that does not tell its health has none. While Luge is away, nothing is known, and it is asked again
    /// next time.
    fn ask(&mut self, name: String) {
        let params = json!({ "name": name });
        let health = match self.source.call("bdev_nvme_get_controller_health_info", params) {
            Ok(answer) => Health::read(&answer),
            Err(SourceError::Refused { .. }) => None,
            Err(SourceError::Away(_)) => {
                self.lock_known(|known| known.retain(|known, _| *known != name));
                return;
            }
        };
        self.asked.insert(name.clone(), Instant::now());
        self.lock_known(|known| match health {
            Some(health) => drop(known.insert(name, health)),
            None => drop(known.remove(&name)),
        });
    }

    fn lock_known(&self, change: impl FnOnce(&mut BTreeMap<String, Health>)) {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
