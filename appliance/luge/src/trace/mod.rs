//! The trace: its start in `luge serve`, lines of the log and panics that go into it, and the command `luge trace`.

mod print;
mod time;

use crate::cli::TraceArgs;
use luge_trace::{Event, FileError, Kind, Recorder, Trace, TraceError, record};
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Starts to record events of the process, with a ring for each of these cores.
///
/// # Errors
/// [`FileError`].
pub fn start(path: &Path, cores: impl IntoIterator<Item = u16>) -> Result<(), FileError> {
    Recorder::start(path, cores, |error| {
        tracing::warn!(
            "the trace cannot be written ({error}): Luge serves on, and goes on with it if it can"
        );
    })?;
    record(&Event::of_text(Kind::STARTED, env!("CARGO_PKG_VERSION")));
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        record(&Event::of_text(Kind::PANIC, &panic.to_string()));
        print(panic);
    }));
    Ok(())
}

/// Layer of the log that records its lines.
pub struct TraceLines;

impl<S: Subscriber> Layer<S> for TraceLines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let kind = match *event.metadata().level() {
            Level::ERROR => Kind::ERROR,
            Level::WARN => Kind::WARNING,
            _ => Kind::NOTICE,
        };
        let mut line = Line(String::new());
        event.record(&mut line);
        record(&Event::of_text(kind, &line.0));
    }
}

/// Text of an event: its message, and its fields as `name=value`.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let gap = if self.0.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{gap}{value:?}"),
            name => write!(self.0, "{gap}{name}={value:?}"),
        };
    }
}

/// Error of `luge trace`.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The file cannot be read as a trace.
    #[error("{path}: {source}")]
    Trace {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        source: TraceError,
    },
    /// The end of the file is missing.
    #[error("{path}: the last {bytes} bytes of the trace are missing; events that they had are not shown")]
    Missing {
        /// Path of the file.
        path: PathBuf,
        /// Number of bytes.
        bytes: u64,
    },
    /// Standard output does not take the text.
    #[error("the trace cannot be printed: {0}")]
    Output(#[from] io::Error),
}

/// Prints a trace.
///
/// # Errors
/// [`PrintError`]. Of a file whose end is missing, the rest is printed.
pub fn run(args: &TraceArgs) -> Result<(), PrintError> {
    let path = args.file.clone();
    let trace = Trace::read(&path).map_err(|source| PrintError::Trace { path: path.clone(), source })?;
    let mut out = io::stdout().lock();
    let text = match (args.json, out.is_terminal()) {
        (true, _) => print::json(&trace),
        (false, true) => print::lines(&trace, &print::COLOURED),
        (false, false) => print::lines(&trace, &print::PLAIN),
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        result => result?,
    }
    match trace.missing_bytes {
        0 => Ok(()),
        bytes => Err(PrintError::Missing { path, bytes }),
    }
}
