//! Device files for unit tests: files in memory.

use crate::reply::Region;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::fs::File;

/// A file of `len` zeroes.
pub fn device_file(len: u64) -> File {
    let file = memfd_create("device", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, len).unwrap();
    file.into()
}

pub fn region(offset: u64, len: u64, mappable: &[(u64, u64)]) -> Region {
    Region { offset, len, mappable: mappable.to_vec() }
}
