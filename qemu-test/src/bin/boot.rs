//! `cargo boot`.
fn main() {}
