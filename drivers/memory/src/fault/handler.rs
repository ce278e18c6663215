//! Handler of SIGBUS.
//!
//! ```text
//!   SIGBUS --- 1 a page that is missing, in a watched range ---> counted, connections shut down,
//!                                                                zeroes in place of the range, go on
//!          --- 2 anything else ---> what SIGBUS did before us, which ends the process
//! ```
//!
//! Invariants
//! - The handler only loads and stores atomics and makes a few system calls: it may interrupt anything.
//! - Hardware memory errors are not handled here: zeroes in place of data would be wrong data.

#![expect(unsafe_code, reason = "a signal handler")]

use super::ranges::{self, Loss};
use super::ties;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

/// Previous action of SIGBUS.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler, once.
pub(super) fn install() {
    BEFORE.get_or_init(replace_action);
}

/// Installs the handler; returns the previous action.
fn replace_action() -> libc::sigaction {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all of it zero is a valid `sigaction`: the default action.
    let mut ours = unsafe { before.assume_init() };
    ours.sa_sigaction = on_bus_error as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `ours` names a handler of the kind that its flags say.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, before.as_mut_ptr()) };
    // SAFETY: zeroes, or what the call has written.
    unsafe { before.assume_init() }
}

extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel hands a handler with SA_SIGINFO a `siginfo_t`.
    let info = unsafe { &*info };
    // SAFETY: SIGBUS from the kernel carries an address; from others it is not used.
    let address = unsafe { info.si_addr() }.addr();
    if info.si_code == libc::BUS_ADRERR && replace(address) {
        return;
    }
    give_up(info.si_code);
}

/// Has zeroes mapped in place of the range with a missing page; false if the address is in no watched
/// range, or that fails.
fn replace(address: usize) -> bool {
    let Some((index, range)) = ranges::find(address) else { return false };
    // Counted before the connections are shut down: who sees the end is to see why.
    range.lose(|| ties::cut_off(index)) != Loss::Refused
}

/// Restores the previous action of SIGBUS, for when the thread repeats its access. A signal that
/// was sent by a process has no access to repeat: it is raised again with the default action.
fn give_up(code: libc::c_int) {
    let default = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: as in `replace_action`.
    let default = unsafe { default.assume_init() };
    let sent = code <= 0;
    let next = BEFORE.get().copied().filter(|_| !sent).unwrap_or(default);
    // SAFETY: what was in force before, or the default.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const next, ptr::null_mut()) };
    if sent {
        // SAFETY: it is blocked until the handler returns.
        unsafe { libc::raise(libc::SIGBUS) };
    }
}
