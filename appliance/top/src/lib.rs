//! Full-screen view of a running Luge at a terminal: volumes, SSDs, endpoints, VMs and cores.
//!
//! Path: source -> **looker -> state -> frame -> terminal**. No guest I/O passes here.
//!
//! - `looker`: takes the snapshots, on a thread of its own.
//! - `state`: what is known, and what the user has chosen; keys change it.
//! - `tables`: a table of each kind of thing. `table`: sorting, filtering, and the columns that fit.
//! - `frame`: draws all of it. `backend`: the escape sequences of a terminal.
//! - `run`: the loop.
//!
//! Invariants
//! - A key is obeyed at once, whether or not Luge answers.
//! - Only characters that changed are written, and a slow line is asked to take less.
//! - The terminal is never queried.
//!
//! Not here: the numbers themselves (`luge-observe`); the mode of the terminal (`luge-init`).

mod backend;
mod frame;
mod looker;
mod pace;
#[cfg(test)]
mod rig;
mod run;
mod state;
mod table;
mod tables;

pub use run::{Top, run};
