//! A configuration: RPC calls in SPDK's `save_config` format.
//!
//! ```json
//! {"subsystems": [{"subsystem": "bdev", "config": [{"method": "bdev_null_create", "params": {}}]}]}
//! ```
//!
//! Other members are ignored, and files may have comments. Entries that wait for the start are
//! ignored too: the configuration is loaded at the start.
//!
//! Not here: the order in which the calls are made (`run`).

mod run;

pub use run::Callers;

use crate::control::{Call, Control};
use luge_init::without_comments;
use luge_rpc::RpcError;
use run::OnFailure;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Maximum size of a file in bytes.
const FILE_BYTES: u64 = 64 << 20;

/// Error of a configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}; name a file that save_config wrote (-c)")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the kernel.
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("the configuration {0} is larger than 64 MiB: name a file that save_config wrote (-c)")]
    TooLarge(PathBuf),
    /// The text is not JSON, or not a configuration.
    #[error("the configuration is not of the form that save_config writes: {0}")]
    Format(#[from] serde_json::Error),
    /// The file's text is not JSON, or not a configuration.
    #[error("the configuration {path} is not of the form that save_config writes: {source}")]
    FileFormat {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        source: serde_json::Error,
    },
}

/// Methods that start Luge or wait for the start.
const START: [&str; 2] = ["framework_start_init", "framework_wait_init"];

#[derive(Deserialize)]
#[serde(expecting = "an object with the member `subsystems`")]
struct File {
    subsystems: Vec<Part>,
}

/// Calls of a subsystem.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with the members `subsystem` and `config`")]
pub struct Part {
    subsystem: String,
    config: Option<Vec<Entry>>,
}

/// A call, or a batch of calls.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "an entry is a call, or a list of calls, each with a `method` and its `params`"
)]
enum Entry {
    One(Call),
    Batch(Vec<Call>),
}

/// A configuration: calls with their places in the text.
#[derive(Debug, Default)]
pub struct Config(Vec<(String, Call)>);

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.into(), source };
        if std::fs::metadata(path).map_err(read)?.len() > FILE_BYTES {
            return Err(ConfigError::TooLarge(path.into()));
        }
        Self::of(&std::fs::read(path).map_err(read)?)
            .map_err(|source| ConfigError::FileFormat { path: path.into(), source })
    }

    /// Reads a configuration's text.
    ///
    /// # Errors
    /// [`ConfigError::Format`].
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        Ok(Self::of(text)?)
    }

    fn of(text: &[u8]) -> Result<Self, serde_json::Error> {
        let file: File = serde_json::from_slice(&without_comments(text))?;
        Ok(file.subsystems.into_iter().collect())
    }

    /// Calls in order.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.0.iter().map(|(_, call)| call)
    }

    /// Checks the method of each call.
    ///
    /// # Errors
    /// Error of `check`, with the call's place in the configuration.
    pub fn check(&self, check: impl Fn(&str) -> Result<(), RpcError>) -> Result<(), RpcError> {
        self.0.iter().try_for_each(|(place, entry)| {
            check(&entry.method).map_err(|error| at_place(place, &entry.method, error))
        })
    }

    /// Makes the calls, until one fails. A slow SSD delays only calls that need it.
    ///
    /// # Errors
    /// Error of the first of the calls that failed, with its place in the configuration. Calls after it may have
    /// been made.
    pub fn apply(&self, callers: &Callers<'_>) -> Result<(), RpcError> {
        self.run(callers, OnFailure::Stop).into_iter().next().map_or(Ok(()), Err)
    }

    /// Makes all calls, even after failures; returns the failures with their places. A slow SSD delays only
    /// calls that need it.
    pub fn apply_all(&self, callers: &Callers<'_>) -> Vec<String> {
        self.run(callers, OnFailure::GoOn).into_iter().map(|error| error.message).collect()
    }

    fn run(&self, callers: &Callers<'_>, on_failure: OnFailure) -> Vec<RpcError> {
        let calls: Vec<Call> = self.calls().cloned().collect();
        let failures = run::run(&calls, callers, on_failure).into_iter();
        let at_its_place = |(index, error): run::Failure| match self.0.get(index) {
            Some((place, call)) => at_place(place, &call.method, error),
            None => error,
        };
        failures.map(at_its_place).collect()
    }

    /// Lets a saved configuration have the calls in this order, however they were made.
    ///
    /// # Errors
    /// If Luge is stopping.
    pub fn keep_order(&self, control: &Control) -> Result<(), RpcError> {
        let calls: Vec<Call> = self.calls().cloned().collect();
        control.ask(move |sled| {
            sled.record.arrange(&calls);
            Ok(())
        })
    }

    /// Puts other calls, each with its place, before those of the configuration.
    #[must_use]
    pub fn after(self, calls: impl IntoIterator<Item = (String, Call)>) -> Self {
        Self(calls.into_iter().chain(self.0).collect())
    }
}

fn at_place(place: &str, method: &str, error: RpcError) -> RpcError {
    error.at(format_args!("{place} ({method})"))
}

impl FromIterator<Part> for Config {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Self {
        let mut calls = Vec::new();
        for part in parts {
            for (at, entry) in part.config.into_iter().flatten().enumerate() {
                let place = format!("subsystem {}, entry {at}", part.subsystem);
                let entries = match entry {
                    Entry::One(call) => vec![call],
                    Entry::Batch(batch) => batch,
                };
                let entries = entries.into_iter().filter(|call| !START.contains(&call.method.as_str()));
                calls.extend(entries.map(|call| (place.clone(), call)));
            }
        }
        Self(calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::cell::RefCell;

    const TEXT: &str = r#"{"subsystems": [
        {"subsystem": "bdev", "config": [{"method": "a", "params": {"x": 1}}, [{"method": "b"}, {"method": "c"}]]},
        {"subsystem": "vhost_blk", "config": null},
        {"subsystem": "vm", "config": [{"method": "d"}]}]}"#;

    /// Callers for a configuration without slow calls.
    fn here(call: &dyn Fn(&str, Value) -> Result<Value, RpcError>) -> Callers<'_> {
        Callers { here: call, beside: &|method, _| Err(RpcError::internal(method)) }
    }

    #[test]
    fn calls_are_made_in_order_and_batches_one_by_one() {
        let made = RefCell::new(String::new());
        let call = |method: &str, _| {
            made.borrow_mut().push_str(method);
            Ok(Value::Null)
        };
        Config::parse(TEXT.as_bytes()).unwrap().apply(&here(&call)).unwrap();
        assert_eq!(made.into_inner(), "abcd");
    }

    #[test]
    fn the_call_that_fails_is_named_with_its_place_and_those_after_it_are_not_made() {
        let made = RefCell::new(String::new());
        let call = |method: &str, _| {
            made.borrow_mut().push_str(method);
            if method == "c" { Err(RpcError::busy("no")) } else { Ok(Value::Null) }
        };
        let config = Config::parse(TEXT.as_bytes()).unwrap();
        let error = config.apply(&here(&call)).unwrap_err();
        assert_eq!(error.message, "subsystem bdev, entry 1 (c): Device or resource busy: no");
        assert_eq!(error.code.0, -16);
        assert_eq!(
            config.apply_all(&here(&call)),
            ["subsystem bdev, entry 1 (c): Device or resource busy: no"]
        );
        assert_eq!(made.into_inner(), "abcabcd");
    }

    #[test]
    fn comments_members_of_others_and_what_waits_for_the_start_are_passed_over() {
        let text = r#"// saved
            {"by": "x", "subsystems": [{"subsystem": "a", "when": 1, "config": [ // none
                {"method": "framework_wait_init"}, [{"method": "framework_start_init"}],
                {"method": "b", "note": {}, "params": {"x": "// y"}}]}] /* end */}"#;
        let config = Config::parse(text.as_bytes()).unwrap();
        let calls: Vec<_> = config.calls().cloned().collect();
        assert_eq!(calls, [Call::new("b", serde_json::json!({"x": "// y"}))]);
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            "{\"subsystems\": 1}",
            "{\"subsystems\": [{}]}",
            "{\"subsystems\": [{\"subsystem\": \"bdev\", \"config\": [7]}]}",
            "{\"subsystems\": [{\"subsystem\": \"bdev\", \"config\": [{\"params\": {}}]}]}",
            "{\"subsystems\": [{\"subsystem\": \"bdev\", \"config\": [{\"method\": \"a\", \"params\": {\"x\": 1, \"x\": 2}}]}]}",
        ] {
            let error = Config::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("save_config") && !error.contains("struct"), "{text}: {error}");
        }
        assert!(Config::parse(b"{\"subsystems\": []}").is_ok());
        let error = Config::read(Path::new("/nowhere/c.json")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/c.json"), "{error}");
    }
}
