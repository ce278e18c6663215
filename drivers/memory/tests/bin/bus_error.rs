//! Process for the tests of lost memory: survives the loss of guest memory, then meets a bus error that
//! its argument names.

#![expect(unsafe_code, reason = "a span of memory that this process maps")]

use luge_memory::{
    DmaSpace, DriverAddress, GuestAddress, GuestMemory, GuestRegion, Iova, Mapping, RegionLayout, Span,
};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use std::error::Error;
use std::os::fd::OwnedFd;

const LEN: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let file = memfd_create("guest", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, LEN)?;
    let watched = guest(&file)?;
    let not_watched = Mapping::new(&file, 0, LEN)?;
    ftruncate(&file, 0)?;
    // SAFETY: `watched` lives as long as this function.
    let lost = unsafe { watched.whole_span(GuestAddress(0), 8) }.ok_or("a span of the guest's memory")?;
    assert_eq!(read(lost), [0; 8]);
    match std::env::args().nth(1).as_deref() {
        Some("fault") => {
            // SAFETY: a live mapping, though its memory is gone.
            let gone = unsafe { Span::new(not_watched.host(), Iova(0), 8) };
            read(gone);
        }
        Some("signal") => kill_process(getpid(), Signal::BUS)?,
        _ => {}
    }
    Ok(())
}

fn guest(file: &OwnedFd) -> Result<GuestMemory, Box<dyn Error>> {
    let layout = RegionLayout { guest: GuestAddress(0), driver: DriverAddress(0), len: LEN, file_offset: 0 };
    Ok(GuestMemory::new([GuestRegion::map(&DmaSpace::new(), layout, file)?])?)
}

fn read(span: Span) -> [u8; 8] {
    let mut bytes = [0xff; 8];
    span.read(&mut bytes);
    bytes
}
