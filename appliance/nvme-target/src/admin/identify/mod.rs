//! Identify. Base 2.0, clause 5.17.

mod controller;
mod lists;
mod namespace;
mod pages;
mod text;

pub(super) use text::pad;
