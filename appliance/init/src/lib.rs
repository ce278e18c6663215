//! PID 1: mounts, hugepages, signals, child processes, power, console.
//!
//! - [`mount_all`], [`reserve_hugepages`], [`serving_cpus`], [`quieten`], [`set_hostname`] and others: steps of a
//!   boot. A step that fails does not prevent the others.
//! - [`Settings`]: the machine's settings, read from their sources.
//! - [`Reaper`]: child processes and orphans.
//! - [`PowerSwitch`]: requests to end the machine.
//! - [`Console`]: RPC methods as commands at a terminal.
//! - [`units`]: numbers as a person reads them.
//! - [`catch_panics`], [`say`]: last words. [`crashes()`]: those that the firmware has kept.
//!
//! Invariants
//! - A mistake in a configuration is reported and never stops the boot.
//! - PID 1 ends with the machine, never before it, and never without a message.
//!
//! Not here: the order of the boot, and the parts that it starts (`luge`).

mod button;
mod command_line;
mod comments;
mod console;
mod cpus;
mod crashes;
mod hugepages;
mod last_words;
mod machine;
mod mounts;
mod panics;
mod power;
mod quiet;
mod reaper;
mod settings;
pub mod units;

pub use button::watch_power_button;
pub use comments::without_comments;
pub use console::{
    Commands, Console, Decoder, Key, MethodError, MethodHelp, ParameterHelp, Screen, Terminal, TerminalSize,
};
pub use cpus::{one_of_each_core, serving_cpus};
pub use crashes::{Crash, CrashCause, crashes, keep_newest_crashes, remove_crash};
pub use hugepages::{HugepagesError, Reserved, reserve_hugepages};
pub use last_words::say;
pub use machine::{open_kvm_to_vms, set_hostname, set_kernel_log_level, use_console_as_stdio};
pub use mounts::{MountError, mount_all};
pub use panics::catch_panics;
pub use power::{Ending, PowerRequest, PowerSwitch, catch_ctrl_alt_del, end_machine};
pub use quiet::{QuietError, quieten};
pub use reaper::{ChildProcess, Reaper};
pub use settings::{AfterPanic, Hugepages, Settings, SettingsError, Ssds};
