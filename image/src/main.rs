//! Builds the bootable image.
fn main() {}
