//! Get Features and Set Features. Base 2.0, clauses 5.15 and 5.27.

use super::dispatch::low;
use super::outcome::{INVALID_FIELD, INVALID_NAMESPACE, Outcome, Reply, refuse};
use crate::commands::CommandStatus;
use crate::controller::{Controller, Features, TEMPERATURE_K, TEMPERATURE_WARNING_K};
use crate::ids::NamespaceId;
use luge_spec::nvme::{AsyncEvent, FeatureId, QueueCounts, StatusCode, SubmissionEntry, event_config};
use std::time::{SystemTime, UNIX_EPOCH};

/// SV: the feature is to be saved.
const SAVE: u32 = 1 << 31;

/// Capabilities that Get Features tells with SEL 3.
mod capability {
    /// The feature has a value for each namespace.
    pub(super) const PER_NAMESPACE: u32 = 1 << 1;
    /// The feature can be changed.
    pub(super) const CHANGEABLE: u32 = 1 << 2;
}

/// SEL: value of a feature that is asked for.
enum Select {
    Current,
    Default,
    Capabilities,
}

/// Bits of events that can be enabled.
const EVENTS: u32 = event_config::CRITICAL_WARNINGS | event_config::NAMESPACES_CHANGED;

/// Bits of a threshold of Temperature Threshold, of its sensor, and of the kind of threshold.
const TEMPERATURE: u32 = 0xffff;
const SENSOR: u32 = 0xf;

/// Threshold from which the composite temperature is too high.
const OVER_COMPOSITE: u8 = 0;

/// Asynchronous Event Configuration: warnings of temperatures.
const TEMPERATURE_WARNING: u32 = 1 << 1;

/// Bytes of a timestamp.
const TIMESTAMP_BYTES: usize = 8;

/// Origin of a timestamp: set by the host.
const TIMESTAMP_OF_HOST: u64 = 1 << 49;

impl Controller {
    /// Get Features.
    pub(super) fn get_features(&mut self, entry: &SubmissionEntry) -> Reply {
        let [cdw10, ..] = entry.cdw10;
        let feature = FeatureId(cdw10.to_le_bytes()[0]);
        self.check_feature(feature)?;
        match cdw10 >> 8 & 7 {
            0 => self.get_feature(feature, entry, Select::Current),
            // None can be saved: saved values are the default ones.
            1 | 2 => self.get_feature(feature, entry, Select::Default),
            3 => self.get_feature(feature, entry, Select::Capabilities),
            _ => Err(INVALID_FIELD),
        }
    }

    /// Checks that there is a feature.
    fn check_feature(&self, feature: FeatureId) -> Result<(), CommandStatus> {
        let is_there = match feature {
            FeatureId::ARBITRATION
            | FeatureId::POWER_MANAGEMENT
            | FeatureId::TEMPERATURE_THRESHOLD
            | FeatureId::ERROR_RECOVERY
            | FeatureId::NUMBER_OF_QUEUES
            | FeatureId::INTERRUPT_COALESCING
            | FeatureId::INTERRUPT_VECTOR_CONFIGURATION
            | FeatureId::WRITE_ATOMICITY
            | FeatureId::ASYNC_EVENT_CONFIGURATION
            | FeatureId::TIMESTAMP
            | FeatureId::KEEP_ALIVE_TIMER
            | FeatureId::COMMAND_SET_PROFILE
            | FeatureId::HOST_IDENTIFIER
            | FeatureId::RESERVATION_NOTIFICATION_MASK
            | FeatureId::RESERVATION_PERSISTENCE => true,
            FeatureId::VOLATILE_WRITE_CACHE => self.has_write_cache(),
            _ => false,
        };
        if is_there { Ok(()) } else { Err(INVALID_FIELD) }
    }

    fn get_feature(&self, feature: FeatureId, entry: &SubmissionEntry, select: Select) -> Reply {
        let default = Features::default();
        let features = match select {
            Select::Current => &self.state.features,
            Select::Default => &default,
            Select::Capabilities => return Ok(Outcome::Completed(capabilities(feature).into())),
        };
        let [_, cdw11, ..] = entry.cdw10;
        let value = match feature {
            FeatureId::ARBITRATION => features.arbitration,
            FeatureId::TEMPERATURE_THRESHOLD => temperature(features, cdw11)?,
            FeatureId::ERROR_RECOVERY => self.error_recovery(features, entry.namespace)?,
            FeatureId::VOLATILE_WRITE_CACHE => features.write_cache.into(),
            FeatureId::NUMBER_OF_QUEUES => self.queue_counts(features).0,
            FeatureId::INTERRUPT_COALESCING => features.coalescing,
            FeatureId::INTERRUPT_VECTOR_CONFIGURATION => self.vector_configuration(features, cdw11)?,
            FeatureId::WRITE_ATOMICITY => features.atomicity_off.into(),
            FeatureId::ASYNC_EVENT_CONFIGURATION => features.events,
            FeatureId::KEEP_ALIVE_TIMER => features.keep_alive_ms,
            FeatureId::TIMESTAMP => return self.get_timestamp(features, entry),
            FeatureId::HOST_IDENTIFIER => return self.get_host_id(features, entry),
            FeatureId::RESERVATION_NOTIFICATION_MASK => self.reservation_mask(features, entry.namespace)?,
            FeatureId::RESERVATION_PERSISTENCE => self.reservation_persistence(entry.namespace)?,
            // One power state, one combination of command sets.
            _ => 0,
        };
        Ok(Outcome::Completed(value.into()))
    }

    /// Set Features.
    pub(super) fn set_features(&mut self, entry: &SubmissionEntry) -> Reply {
        let [cdw10, cdw11, ..] = entry.cdw10;
        let feature = FeatureId(cdw10.to_le_bytes()[0]);
        self.check_feature(feature)?;
        if cdw10 & SAVE != 0 {
            return refuse(StatusCode::FEATURE_NOT_SAVEABLE);
        }
        let is_of_namespace = capabilities(feature) & capability::PER_NAMESPACE != 0;
        if !is_of_namespace && !matches!(NamespaceId(entry.namespace), NamespaceId(0) | NamespaceId::ALL) {
            return refuse(StatusCode::FEATURE_NOT_PER_NAMESPACE);
        }
        match feature {
            FeatureId::ARBITRATION => self.set_arbitration(cdw11),
            FeatureId::POWER_MANAGEMENT => set_power(cdw11),
            FeatureId::TEMPERATURE_THRESHOLD => self.set_temperature(cdw11),
            FeatureId::ERROR_RECOVERY => self.set_error_recovery(entry.namespace, cdw11),
            FeatureId::VOLATILE_WRITE_CACHE => self.set_write_cache(cdw11),
            FeatureId::NUMBER_OF_QUEUES => self.set_queue_counts(QueueCounts(cdw11)),
            FeatureId::INTERRUPT_COALESCING => self.set_coalescing(cdw11),
            FeatureId::INTERRUPT_VECTOR_CONFIGURATION => self.set_vector_configuration(cdw11),
            FeatureId::WRITE_ATOMICITY => self.set_atomicity(cdw11),
            FeatureId::ASYNC_EVENT_CONFIGURATION => self.set_events(cdw11),
            FeatureId::TIMESTAMP => self.set_timestamp(entry),
            FeatureId::KEEP_ALIVE_TIMER => self.set_keep_alive(cdw11),
            FeatureId::COMMAND_SET_PROFILE => set_command_sets(cdw11),
            FeatureId::HOST_IDENTIFIER => self.set_host_id(entry),
            FeatureId::RESERVATION_NOTIFICATION_MASK => self.set_reservation_mask(entry.namespace, cdw11),
            FeatureId::RESERVATION_PERSISTENCE => self.set_reservation_persistence(entry.namespace, cdw11),
            _ => Err(INVALID_FIELD),
        }
    }

    fn set_arbitration(&mut self, cdw11: u32) -> Reply {
        self.state.features.arbitration = cdw11;
        self.apply_arbitration();
        Ok(Outcome::DONE)
    }

    fn set_temperature(&mut self, cdw11: u32) -> Reply {
        let key = temperature_key(cdw11)?;
        // TMPSEL of all ones: all sensors that there are, which is the composite temperature.
        let key = if cdw11 >> 16 & SENSOR == SENSOR { key & 1 } else { key };
        self.state.features.temperature_thresholds.insert(key, low(cdw11 & TEMPERATURE));
        let is_told = self.state.features.events & TEMPERATURE_WARNING != 0;
        if is_told && self.temperature_warns() {
            self.add_event(AsyncEvent::TEMPERATURE_THRESHOLD);
        }
        Ok(Outcome::DONE)
    }

    fn set_error_recovery(&mut self, namespace: u32, cdw11: u32) -> Reply {
        // DULBE: no namespace reports deallocated blocks.
        if cdw11 >> 16 != 0 {
            return Err(INVALID_FIELD);
        }
        let all: Vec<u32> = self.namespaces().keys().map(|id| id.0).collect();
        let namespaces = match NamespaceId(namespace) {
            NamespaceId::ALL => all,
            NamespaceId(id) if all.contains(&id) => vec![id],
            _ => return Err(INVALID_NAMESPACE),
        };
        self.state.features.error_recovery.extend(namespaces.into_iter().map(|id| (id, cdw11)));
        Ok(Outcome::DONE)
    }

    fn error_recovery(&self, features: &Features, namespace: u32) -> Result<u32, CommandStatus> {
        if !self.namespaces().contains_key(&NamespaceId(namespace)) {
            return Err(INVALID_NAMESPACE);
        }
        Ok(features.error_recovery.get(&namespace).copied().unwrap_or(0))
    }

    fn set_write_cache(&mut self, cdw11: u32) -> Reply {
        self.state.features.write_cache = cdw11 & 1 == 1;
        self.apply_write_cache();
        Ok(Outcome::DONE)
    }

    fn set_queue_counts(&mut self, counts: QueueCounts) -> Reply {
        let has_io_queues = self.state.completion_queues.len() > 1;
        if has_io_queues {
            return refuse(StatusCode::COMMAND_SEQUENCE_ERROR);
        }
        if counts.submission_z() == u16::MAX || counts.completion_z() == u16::MAX {
            return Err(INVALID_FIELD);
        }
        let most_z = self.parts.config.io_queues.saturating_sub(1);
        let granted = [counts.submission_z().min(most_z), counts.completion_z().min(most_z)];
        self.state.features.queues_z = Some(granted);
        Ok(Outcome::Completed(self.queue_counts(&self.state.features).0.into()))
    }

    fn queue_counts(&self, features: &Features) -> QueueCounts {
        let most_z = self.parts.config.io_queues.saturating_sub(1);
        let [submission_z, completion_z] = features.queues_z.unwrap_or([most_z; 2]);
        QueueCounts(u32::from(submission_z) | u32::from(completion_z) << 16)
    }

    fn set_coalescing(&mut self, cdw11: u32) -> Reply {
        self.state.features.coalescing = cdw11 & 0xffff;
        self.apply_coalescing();
        Ok(Outcome::DONE)
    }

    fn set_vector_configuration(&mut self, cdw11: u32) -> Reply {
        let (vector, is_off) = (low(cdw11), cdw11 >> 16 & 1 == 1);
        // Interrupts of the admin queue never wait.
        if vector >= self.vectors() || (vector == 0 && !is_off) {
            return Err(INVALID_FIELD);
        }
        self.state.features.without_coalescing.insert(vector, is_off);
        self.apply_coalescing();
        Ok(Outcome::DONE)
    }

    fn vector_configuration(&self, features: &Features, cdw11: u32) -> Result<u32, CommandStatus> {
        let vector = low(cdw11);
        if vector >= self.vectors() {
            return Err(INVALID_FIELD);
        }
        let is_off = vector == 0 || features.without_coalescing.get(&vector).copied().unwrap_or(false);
        Ok(u32::from(vector) | u32::from(is_off) << 16)
    }

    fn set_atomicity(&mut self, cdw11: u32) -> Reply {
        self.state.features.atomicity_off = cdw11 & 1 == 1;
        Ok(Outcome::DONE)
    }

    fn set_events(&mut self, cdw11: u32) -> Reply {
        self.state.features.events = cdw11 & EVENTS;
        Ok(Outcome::DONE)
    }

    fn set_keep_alive(&mut self, cdw11: u32) -> Reply {
        let unit_ms = u32::from(crate::controller::KEEP_ALIVE_UNIT_100MS).saturating_mul(100);
        self.state.features.keep_alive_ms = cdw11.checked_next_multiple_of(unit_ms).unwrap_or(u32::MAX);
        self.kept_alive();
        Ok(Outcome::DONE)
    }

    fn set_timestamp(&mut self, entry: &SubmissionEntry) -> Reply {
        let bytes = self.host_data::<TIMESTAMP_BYTES>(entry)?;
        let time_ms = u64::from_le_bytes(bytes) & 0xffff_ffff_ffff;
        self.state.features.timestamp = Some([time_ms, now_ms()]);
        Ok(Outcome::DONE)
    }

    /// The time in milliseconds, from what the host has set, or else from the last reset.
    fn get_timestamp(&self, features: &Features, entry: &SubmissionEntry) -> Reply {
        let time = match features.timestamp {
            Some([time_ms, set_at]) => {
                let passed = now_ms().saturating_sub(set_at);
                time_ms.saturating_add(passed) & 0xffff_ffff_ffff | TIMESTAMP_OF_HOST
            }
            None => 0,
        };
        self.to_host(entry, &time.to_le_bytes())?;
        Ok(Outcome::DONE)
    }

    /// Host Identifier: of 128 bits with EXHID, else of 64.
    fn set_host_id(&mut self, entry: &SubmissionEntry) -> Reply {
        let [_, cdw11, ..] = entry.cdw10;
        let is_long = cdw11 & 1 == 1;
        let mut host_id = [0; 16];
        if is_long {
            host_id = self.host_data::<16>(entry)?;
        } else {
            let short = self.host_data::<8>(entry)?;
            host_id.iter_mut().zip(short).for_each(|(to, from)| *to = from);
        }
        // What is in flight was sent under the identifier that there is, until a reset.
        let known = self.state.features.host_id;
        if known != [0; 16] && known != host_id {
            return refuse(StatusCode::COMMAND_SEQUENCE_ERROR);
        }
        self.set_host(host_id, !is_long);
        Ok(Outcome::DONE)
    }

    fn get_host_id(&self, features: &Features, entry: &SubmissionEntry) -> Reply {
        let [_, cdw11, ..] = entry.cdw10;
        let bytes = if cdw11 & 1 == 1 { 16 } else { 8 };
        self.to_host(entry, features.host_id.get(..bytes).unwrap_or_default())?;
        Ok(Outcome::DONE)
    }
}

/// Power Management: there is one power state.
fn set_power(cdw11: u32) -> Reply {
    if cdw11 & 0x1f == 0 { Ok(Outcome::DONE) } else { Err(INVALID_FIELD) }
}

/// I/O Command Set Profile: there is one combination.
fn set_command_sets(cdw11: u32) -> Reply {
    if cdw11 & 0x1ff == 0 {
        return Ok(Outcome::DONE);
    }
    refuse(StatusCode::COMMAND_SET_COMBINATION_REJECTED)
}

/// Sensor and kind of a temperature threshold, in a byte.
fn temperature_key(cdw11: u32) -> Result<u8, CommandStatus> {
    let (sensor, kind) = (cdw11 >> 16 & SENSOR, cdw11 >> 20 & 3);
    if kind > 1 || (9..SENSOR).contains(&sensor) {
        return Err(INVALID_FIELD);
    }
    u8::try_from(sensor << 4 | kind).map_err(|_| INVALID_FIELD)
}

/// Threshold of a temperature. Where none was set: WCTEMP for the composite temperature, and for others what no
/// temperature reaches.
fn temperature(features: &Features, cdw11: u32) -> Result<u32, CommandStatus> {
    let key = temperature_key(cdw11)?;
    let default = match key {
        OVER_COMPOSITE => TEMPERATURE_WARNING_K,
        key if key & 1 == 0 => u16::MAX,
        _ => 0,
    };
    Ok(features.temperature_thresholds.get(&key).copied().unwrap_or(default).into())
}

impl Controller {
    /// Whether the composite temperature has reached a threshold.
    pub(super) fn temperature_warns(&self) -> bool {
        let threshold = |kind: u32| temperature(&self.state.features, kind << 20).unwrap_or(0);
        let temperature = u32::from(TEMPERATURE_K);
        temperature >= threshold(0) || temperature <= threshold(1)
    }
}

fn capabilities(feature: FeatureId) -> u32 {
    match feature {
        FeatureId::ERROR_RECOVERY
        | FeatureId::RESERVATION_NOTIFICATION_MASK
        | FeatureId::RESERVATION_PERSISTENCE => capability::CHANGEABLE | capability::PER_NAMESPACE,
        _ => capability::CHANGEABLE,
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
