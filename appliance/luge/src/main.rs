//! The `luge` binary.
fn main() {}
