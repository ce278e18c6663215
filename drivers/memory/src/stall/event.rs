//! The kernel's software event of page faults (`perf_event_open`), for the calling thread.

#![expect(unsafe_code, reason = "a system call that rustix has no name for")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// `struct perf_event_attr`, version 5.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_registers_user: u64,
    sample_stack_user: u32,
    clock_id: i32,
    sample_registers_interrupt: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

const SIZE: u32 = 112;
const _: () = assert!(size_of::<Attributes>() == SIZE as usize);

const KIND_SOFTWARE: u32 = 1;
const PAGE_FAULTS: u64 = 2;

const SAMPLE_TIME: u64 = 1 << 2;
const SAMPLE_ADDRESS: u64 = 1 << 3;

const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
/// Other records have a time, too.
const SAMPLE_ID_ALL: u64 = 1 << 18;
const USE_CLOCK_ID: u64 = 1 << 25;
const CONTEXT_SWITCHES: u64 = 1 << 26;
/// New records before old ones, in whose place they are when the ring is full.
const WRITE_BACKWARD: u64 = 1 << 27;

const FLAG_CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

/// Opens the event: each page fault in user space is a sample with time and address; context switches of
/// the thread are records, too.
pub(super) fn open() -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind: KIND_SOFTWARE,
        size: SIZE,
        config: PAGE_FAULTS,
        sample_period: 1,
        sample_type: SAMPLE_TIME | SAMPLE_ADDRESS,
        flags: EXCLUDE_KERNEL
            | EXCLUDE_HYPERVISOR
            | SAMPLE_ID_ALL
            | USE_CLOCK_ID
            | CONTEXT_SWITCHES
            | WRITE_BACKWARD,
        clock_id: libc::CLOCK_MONOTONIC_RAW,
        ..Attributes::default()
    };
    let (this_thread, any_cpu, no_group) = (0, -1, -1);
    // SAFETY: the kernel reads the attributes, of the size that they say.
    let event = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            this_thread,
            any_cpu,
            no_group,
            FLAG_CLOSE_ON_EXEC,
        )
    };
    let event = i32::try_from(event).ok().filter(|&event| event >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(event) })
}
