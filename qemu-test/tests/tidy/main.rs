//! House rules that a program can check.
//!
//! A rule that a crate does not keep yet names that crate as exempt. The list can only become
//! shorter: a crate that keeps the rule has to leave it.
//!
//! Not here: formatting and lints, which `cargo fmt` and `cargo clippy` check.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test")]

mod arrows;
mod circles;
mod dependencies;
mod documents;
mod exempt;
mod language;
mod layout;
mod modules;
mod sizes;
mod tuples;
mod unsafe_modules;
mod workspace;
