//! PID 1: mounts, hugepages, signals, reaping, power, console.

mod reaper;

pub use reaper::{Reaper, Ward};
