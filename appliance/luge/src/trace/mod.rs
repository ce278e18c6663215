//! The trace: its start, and what goes into it from the log and from panics.
//!
//! - `command`: the command `luge trace`. `client`: the trace of a running Luge. `print`, `time`: events as text.
//! - `kernel_log`: the place that events go to on the sled.

mod client;
mod command;
mod kernel_log;
mod print;
mod time;

pub use command::run;
pub use print::event;
pub use time::rfc3339;

use kernel_log::KernelLog;
use luge_trace::{Event, FileError, Kind, Recorder, flush_last_words, record};
use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Starts to record events of a daemon, with a ring for each of these cores: in memory, and in a file if there is one.
///
/// # Errors
/// [`FileError`].
pub fn start(file: Option<&Path>, cores: impl IntoIterator<Item = u16>) -> Result<(), FileError> {
    match file {
        Some(path) => Recorder::start_with_file(path, cores, |error| {
            tracing::warn!(
                "the trace cannot be written ({error}): Luge serves on, and goes on with it if it can"
            );
        })?,
        None => Recorder::start(cores),
    }
    begin(|panic| record(&Event::of_text(Kind::PANIC, panic)));
    Ok(())
}

/// Starts to record events of the sled. They go to the kernel's log, whose end the firmware keeps after a crash.
///
/// # Errors
/// The kernel's: events are recorded in memory alone then.
pub fn start_on_sled(cores: impl IntoIterator<Item = u16>) -> io::Result<()> {
    let started = match KernelLog::open() {
        Ok(mut log) => Recorder::start_with_events(cores, move |record| log.write(record)),
        Err(error) => {
            Recorder::start(cores);
            Err(error)
        }
    };
    // PID 1 writes the message of a panic to the kernel's log itself.
    begin(|_| flush_last_words());
    started
}

/// Records the start, and from now on calls `last` with the message of a panic, before anything else is done about it.
fn begin(last: fn(&str)) {
    record(&Event::of_text(Kind::STARTED, env!("CARGO_PKG_VERSION")));
    let rest = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        last(&panic.to_string());
        rest(panic);
    }));
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
