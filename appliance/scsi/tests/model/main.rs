//! Random commands, against a decoder from the tables of the standard and a model of a disk's content; and commands that
//! other targets have been hurt by.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attacks;
mod decoding;
mod disk;
mod plain;
#[path = "../rig/mod.rs"]
mod rig;
mod serving;
