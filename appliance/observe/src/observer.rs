//! Observer of a Luge: takes snapshots, with the health of the SSDs.

use crate::health_watch::HealthWatch;
use crate::snapshot::Snapshot;
use crate::source::{Source, SourceError};
use std::io;

/// Observer of a Luge.
pub struct Observer {
    source: Box<dyn Source + Send>,
    health: HealthWatch,
}

impl Observer {
    /// Starts an observer with two sources of the same Luge. The second one asks for the health of the SSDs: an SSD that
    /// answers late delays all calls of its source.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn start(source: Box<dyn Source + Send>, of_health: Box<dyn Source + Send>) -> io::Result<Self> {
        Ok(Self { source, health: HealthWatch::start(of_health)? })
    }

    /// Takes a snapshot. The health of an SSD is not in the first one.
    ///
    /// # Errors
    /// [`SourceError::Away`].
    pub fn look(&mut self) -> Result<Snapshot, SourceError> {
        let mut snapshot = Snapshot::take(&mut *self.source)?;
        self.health.add_to(&mut snapshot);
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A Luge with SSDs `a` and `b`, and `c`, which is being reset.
    struct ThreeSsds;

    impl Source for ThreeSsds {
        fn call(&mut self, method: &str, _: Value) -> Result<Value, SourceError> {
            let ssd = |name: &str, state: &str| json!({ "name": name, "ctrlrs": [{ "state": state }] });
            let ssds = json!([ssd("a", "enabled"), ssd("b", "enabled"), ssd("c", "resetting")]);
            Ok(if method == "bdev_nvme_get_controllers" { ssds } else { Value::Null })
        }
    }

    /// Source of the health: says which SSD it is asked for, and answers with the next temperature that it gets.
    struct Temperatures {
        asked: Sender<String>,
        answers: Receiver<i64>,
    }

    impl Source for Temperatures {
        fn call(&mut self, _: &str, params: Value) -> Result<Value, SourceError> {
            let _ = self.asked.send(params["name"].as_str().unwrap_or_default().into());
            let refused = |_| SourceError::Refused { code: -5, message: "it does not answer".into() };
            let temperature = self.answers.recv().map_err(refused)?;
            Ok(json!({ "temperature_celsius": temperature }))
        }
    }

    /// Temperatures of a snapshot's SSDs.
    fn temperatures(observer: &mut Observer) -> Vec<Option<i64>> {
        let ssds = observer.look().unwrap().ssds;
        ssds.iter().map(|ssd| ssd.health.as_ref()?.temperature_celsius).collect()
    }

    #[test]
    fn an_ssd_that_is_slow_to_tell_its_health_delays_no_snapshot_and_is_asked_once() {
        let ((asked, asks), (answer, answers)) = (channel(), channel());
        let mut observer =
            Observer::start(Box::new(ThreeSsds), Box::new(Temperatures { asked, answers })).unwrap();
        assert_eq!(temperatures(&mut observer), [None; 3]);
        assert_eq!(asks.recv().unwrap(), "a");
        assert_eq!(temperatures(&mut observer), [None; 3], "a has not answered");
        answer.send(41).unwrap();
        assert_eq!(asks.recv().unwrap(), "b");
        assert_eq!(temperatures(&mut observer), [Some(41), None, None]);
        drop(answer);
        drop(observer);
        assert_eq!(asks.iter().collect::<Vec<_>>(), [""; 0], "each that is enabled was asked");
    }
}
