//! The log: to stderr, with a level that can be changed while running.

use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

/// How much is logged, by the names that operators of storage know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What may fail.
    Warning,
    /// What was begun and ended.
    #[default]
    Notice,
    /// The same: Luge makes no difference between notices and information.
    Info,
    /// Every call.
    Debug,
}

impl luge_rpc::ParamValue for LogLevel {
    const KIND: &'static str = "ERROR|WARNING|NOTICE|INFO|DEBUG";
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

/// The process's log.
pub struct Log {
    filter: Handle<LevelFilter, Registry>,
    level: Mutex<LogLevel>,
}

impl Log {
    /// Starts the log of the process. Where there is one already, as in tests, that goes on.
    #[must_use]
    pub fn start() -> Self {
        let level = LogLevel::default();
        let (filter, handle) = Layer::new(LevelFilter::from(level));
        let colours = std::io::stderr().is_terminal();
        let printer = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colours);
        let _ = tracing_subscriber::registry().with(filter).with(printer).try_init();
        Self { filter: handle, level: Mutex::new(level) }
    }

    /// The level in use.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses another level from now on.
    pub fn set_level(&self, level: LogLevel) {
        let mut now = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.filter.reload(LevelFilter::from(level)) {
            tracing::warn!("the log's level stays as it was: {error}");
            return;
        }
        *now = level;
    }
}
