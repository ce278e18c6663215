//! The trace: the last events of each core and of all other threads, in memory, and in a place that survives the process.
//!
//! ```text
//!  core 0 ----> ring --.                    .--> file ----> `luge trace FILE`
//!  core 1 ----> ring ---+--> writer thread --+
//!  others ----> ring --'                    '--> function: the kernel's log, on the sled
//! ```
//!
//! A ring has a fixed number of entries of a cache line each; the oldest ones are overwritten. Events are rare: long
//! turns, sessions that start and stop, lines of the log. Requests leave none.
//!
//! Invariants
//! - Recording allocates nothing, locks nothing and waits for nothing.
//! - Only the writer's thread touches the file: a slow or full disk, or a file that somebody shortens, delays no core.
//! - What was recorded before a panic is written before the process ends. A process that is killed loses the
//!   events of the last moments, which the writer has not seen.
//!
//! Not here: where events come from; how they are printed.

mod assembly;
mod entry;
mod file;
mod reader;
mod record;
mod recorder;
mod ring;
mod sink;

pub use entry::{Event, Kind};
pub use file::FileError;
pub use reader::{Trace, TraceError};
pub use record::{Record, Source};
pub use recorder::{Recorder, current_trace, enter_core, flush_last_words, record};
