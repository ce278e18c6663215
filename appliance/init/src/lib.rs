//! PID 1: mounts, hugepages, signals, reaping, power, console.
//!
//! - [`mount_all`], [`reserve_hugepages`], [`serving_cpus`], [`set_hostname`] and their like:
//!   steps of a boot, each of which can fail without keeping the others from being made.
//! - [`Settings`]: what the machine was told, by whom.
//! - [`Reaper`]: children and orphans. [`PowerSwitch`]: who may end the machine.
//! - [`Console`]: RPC methods as commands.
//! - [`catch_panics`], [`say`]: last words.
//!
//! Invariants
//! - A mistake in a configuration is reported and never stops the boot.
//! - PID 1 ends with the machine, never before it, and never without a word.
//!
//! Not here: the order of the boot and what it starts (`luge`).

mod button;
mod comments;
mod console;
mod cpus;
mod emergency;
mod hugepages;
mod machine;
mod mounts;
mod power;
mod reaper;
mod settings;
mod words;

pub use button::watch_power_button;
pub use comments::without_comments;
pub use console::{Commands, Console, MethodHelp, ParameterHelp, Refusal, Screen, Terminal};
pub use cpus::serving_cpus;
pub use emergency::{catch_panics, say};
pub use hugepages::{HugepagesFault, Reserved, reserve_hugepages};
pub use machine::{set_hostname, set_kernel_log_level, use_console_as_stdio};
pub use mounts::{MountFault, mount_all};
pub use power::{Ending, PowerRequest, PowerSwitch, catch_ctrl_alt_del, end_machine};
pub use reaper::{Reaper, Ward};
pub use settings::{AfterPanic, Complaint, Hugepages, Settings, Ssds};
