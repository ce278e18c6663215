//! The calls that made what exists, in their order: a saved configuration is made of them.

use luge_rpc::Unique;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::HashMap;

/// A part of the configuration, in the order of loading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subsystem {
    /// Block devices.
    Bdev,
    /// vhost-user-scsi controllers with their LUNs.
    VhostScsi,
    /// vhost-user-blk endpoints.
    VhostBlk,
    /// NVMe subsystems.
    Nvmf,
    /// Virtual machines.
    Vm,
}

impl Subsystem {
    /// All subsystems, each after those that it depends on.
    pub const ALL: [Self; 5] = [Self::Bdev, Self::VhostScsi, Self::VhostBlk, Self::Nvmf, Self::Vm];

    /// Name in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bdev => "bdev",
            Self::VhostScsi => "vhost_scsi",
            Self::VhostBlk => "vhost_blk",
            Self::Nvmf => "nvmf",
            Self::Vm => "vm",
        }
    }

    /// Names of the subsystems that must be loaded before.
    #[must_use]
    pub const fn depends_on(self) -> &'static [&'static str] {
        match self {
            Self::Bdev => &[],
            Self::VhostScsi | Self::VhostBlk | Self::Nvmf => &["bdev"],
            Self::Vm => &["vhost_scsi", "vhost_blk", "nvmf"],
        }
    }
}

/// Reads parameters, none of which is there twice.
fn unique<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Unique::deserialize(deserializer).map(|Unique(params)| params)
}

/// A call: an entry of a configuration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Call {
    /// The method.
    pub method: String,
    /// Parameters; null where there are none.
    #[serde(default, skip_serializing_if = "Value::is_null", deserialize_with = "unique")]
    pub params: Value,
}

impl Call {
    /// A call of `method`.
    pub fn new(method: &str, params: Value) -> Self {
        Self { method: method.into(), params }
    }

    /// Object that the call is about.
    fn object(&self) -> Option<Object<'_>> {
        let name = ["name", "ctrlr", "base_bdev"].iter().find_map(|key| self.params[*key].as_str())?;
        let number = |key: &str| self.params[key].as_i64();
        let lun = number("lun").unwrap_or(0);
        Some(Object { method: &self.method, name, target: number("scsi_target_num"), lun })
    }
}

/// Object of a call.
#[derive(PartialEq, Eq, Hash)]
struct Object<'c> {
    method: &'c str,
    name: &'c str,
    /// Target of a SCSI controller, and logical unit number there.
    target: Option<i64>,
    lun: i64,
}

struct Entry {
    subsystem: Subsystem,
    made: String,
    /// Name of a change of the object; none for the call that made it.
    detail: Option<String>,
    call: Call,
}

/// The calls that made what exists.
#[derive(Default)]
pub struct Record(Vec<Entry>);

impl Record {
    /// Adds the call that made the object `made`.
    pub fn add(&mut self, subsystem: Subsystem, made: &str, call: Call) {
        self.0.push(Entry { subsystem, made: made.into(), detail: None, call });
    }

    /// Adds a call that changed the object `made`, in place of an earlier one with the same detail. It goes with the
    /// object.
    pub fn set_detail(&mut self, subsystem: Subsystem, made: &str, detail: &str, call: Call) {
        self.remove_detail(subsystem, made, detail);
        self.0.push(Entry { subsystem, made: made.into(), detail: Some(detail.into()), call });
    }

    /// Removes the call that changed the object `made` in a detail.
    pub fn remove_detail(&mut self, subsystem: Subsystem, made: &str, detail: &str) {
        let is_it = |entry: &Entry| entry.made == made && entry.detail.as_deref() == Some(detail);
        self.0.retain(|entry| entry.subsystem != subsystem || !is_it(entry));
    }

    /// Removes the call that made `made`, and those that changed it; returns whether there was one.
    pub fn remove(&mut self, subsystem: Subsystem, made: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| entry.subsystem != subsystem || entry.made != made);
        self.0.len() < before
    }

    /// Removes the calls that made objects whose names `are` says.
    pub fn remove_all(&mut self, subsystem: Subsystem, are: impl Fn(&str) -> bool) {
        self.0.retain(|entry| entry.subsystem != subsystem || !are(&entry.made));
    }

    /// Changes the parameters of the call that made `made`.
    pub fn change(&mut self, subsystem: Subsystem, made: &str, change: impl Fn(&mut Value)) {
        let is_it =
            |entry: &Entry| entry.subsystem == subsystem && entry.made == made && entry.detail.is_none();
        let entries = self.0.iter_mut().filter(|entry| is_it(entry));
        entries.for_each(|entry| change(&mut entry.call.params));
    }

    /// Brings calls into the order of the configuration that they come from, however they were made. Each other
    /// call stays behind its predecessor.
    pub fn arrange(&mut self, configuration: &[Call]) {
        let named =
            configuration.iter().enumerate().filter_map(|(place, call)| Some((call.object()?, place)));
        let places: HashMap<_, _> = named.collect();
        let place = |before: &mut usize, entry: &Entry| {
            *before = entry.call.object().and_then(|object| places.get(&object).copied()).unwrap_or(*before);
            Some(*before)
        };
        let keys: Vec<usize> = self.0.iter().scan(0, place).collect();
        let mut entries: Vec<(usize, Entry)> = keys.into_iter().zip(self.0.drain(..)).collect();
        entries.sort_by_key(|(key, _)| *key);
        self.0 = entries.into_iter().map(|(_, entry)| entry).collect();
    }

    /// The calls of a subsystem.
    pub fn calls(&self, subsystem: Subsystem) -> impl Iterator<Item = &Call> {
        self.0.iter().filter(move |entry| entry.subsystem == subsystem).map(|entry| &entry.call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn calls_are_kept_in_their_order_until_what_they_made_is_gone() {
        let mut record = Record::default();
        for name in ["z", "a", "m"] {
            record.add(Subsystem::Bdev, name, Call::new(name, Value::Null));
            record.add(Subsystem::Vm, name, Call::new("other", Value::Null));
        }
        record.remove(Subsystem::Bdev, "a");
        let left: Vec<_> = record.calls(Subsystem::Bdev).map(|call| call.method.as_str()).collect();
        assert_eq!(left, ["z", "m"]);
        assert_eq!(record.calls(Subsystem::Vm).count(), 3);
    }

    #[test]
    fn a_change_replaces_the_one_before_and_goes_with_its_object() {
        let mut record = Record::default();
        let methods = |record: &Record| -> Vec<String> {
            record.calls(Subsystem::VhostScsi).map(|call| call.method.clone()).collect()
        };
        record.add(Subsystem::VhostScsi, "c", Call::new("create", Value::Null));
        record.add(Subsystem::VhostScsi, "d", Call::new("other", Value::Null));
        for (detail, method) in [("lun 0", "first"), ("start", "start"), ("lun 0", "second")] {
            record.set_detail(Subsystem::VhostScsi, "c", detail, Call::new(method, Value::Null));
        }
        assert_eq!(methods(&record), ["create", "other", "start", "second"]);
        record.remove_detail(Subsystem::VhostScsi, "c", "start");
        assert_eq!(methods(&record), ["create", "other", "second"]);
        record.remove(Subsystem::VhostScsi, "c");
        assert_eq!(methods(&record), ["other"]);
    }

    #[test]
    fn calls_come_back_into_the_order_of_their_configuration_and_others_stay_behind_theirs() {
        let call = |method: &str, name: &str| Call::new(method, json!({ "name": name, "more": method }));
        let mut record = Record::default();
        for name in ["old", "c", "by RPC", "a", "b"] {
            record.add(Subsystem::Bdev, name, call("create", name));
        }
        let configuration = ["a", "gone", "b", "c"].map(|name| Call::new("create", json!({ "name": name })));
        record.arrange(&configuration);
        let names: Vec<_> = record.calls(Subsystem::Bdev).map(|call| call.params["name"].clone()).collect();
        assert_eq!(names, ["old", "a", "b", "c", "by RPC"]);
    }

    #[test]
    fn a_subsystem_comes_after_those_it_depends_on() {
        for (at, subsystem) in Subsystem::ALL.iter().enumerate() {
            let before: Vec<_> = Subsystem::ALL[..at].iter().map(|s| s.name()).collect();
            assert!(subsystem.depends_on().iter().all(|name| before.contains(name)));
        }
    }
}
