//! The trace: the last events of each core and of all other threads, in a file that survives the process.
//!
//! ```text
//!  core 0 ----> ring --.
//!  core 1 ----> ring ---+--> writer thread ----> file ----> `luge trace`
//!  others ----> ring --'
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

mod entry;
mod file;
mod reader;
mod recorder;
mod ring;

pub use entry::{Event, Kind};
pub use file::FileError;
pub use reader::{Record, Source, Trace, TraceError};
pub use recorder::{Recorder, enter_core, record};
