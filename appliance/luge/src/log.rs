//! The log: on stderr or on the screens of consoles, with a level that can be changed at
//! run time.

use crate::trace::TraceLines;
use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::fmt::format::{DefaultFields, Format};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt;

/// Subscriber that prints the events of the filter's level.
type Filtered = Layered<Layer<LevelFilter, Registry>, Registry>;

/// Log levels, under SPDK's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Failures.
    Error,
    /// Warnings.
    Warning,
    /// Starts and ends.
    #[default]
    Notice,
    /// Equal to `Notice`: Luge does not tell notices from information.
    Info,
    /// All calls.
    Debug,
}

impl luge_rpc::ParamValue for LogLevel {
    const KIND: &'static str = "ERROR|WARNING|NOTICE|INFO|DEBUG";
}

impl FromStr for LogLevel {
    type Err = serde_json::Error;

    /// Parses a name, in upper or lower case.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        serde_json::from_value(name.to_ascii_uppercase().into())
    }
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warning => Self::WARN,
            LogLevel::Notice | LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
        }
    }
}

/// Log of the process.
pub struct Log {
    filter: Handle<LevelFilter, Registry>,
    level: Mutex<LogLevel>,
}

impl Log {
    /// Starts the log on stderr.
    #[must_use]
    pub fn to_stderr() -> Self {
        let colours = std::io::stderr().is_terminal();
        Self::start(fmt::layer().with_writer(std::io::stderr).with_ansi(colours))
    }

    /// Starts the log on another writer.
    #[must_use]
    pub fn to(writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) -> Self {
        Self::start(fmt::layer().with_writer(writer).with_ansi(false))
    }

    fn start<W>(printer: fmt::Layer<Filtered, DefaultFields, Format, W>) -> Self
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let level = LogLevel::default();
        let (filter, handle) = Layer::new(LevelFilter::from(level));
        // It fails where there is a log already; that goes on then.
        let _ = tracing_subscriber::registry()
            .with(filter)
            .with(printer.with_target(false))
            .with(TraceLines)
            .try_init();
        Self { filter: handle, level: Mutex::new(level) }
    }

    /// Current level.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the level.
    pub fn set_level(&self, level: LogLevel) {
        let mut now = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.filter.reload(LevelFilter::from(level)) {
            tracing::warn!("the log's level stays as it was: {error}");
            return;
        }
        *now = level;
    }
}
