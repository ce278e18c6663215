//! An interrupt that the kernel does not let through at first.
//!
//! One test alone: it looks for the io_uring that this process has just made.

#![expect(unsafe_code, reason = "the descriptor of an io_uring is taken away and given back")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::Geometry;
use luge_block::doubles::Scripted;
use luge_core::{Armed, Call, Session};
use luge_vhost::{Notifiers, QueueSession};
use rig::client::new_eventfd;
use rig::{Ask, Bench};
use std::collections::BTreeSet;
use std::fs::{File, read_dir, read_link};
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

/// The io_urings of this process.
fn rings() -> BTreeSet<RawFd> {
    let files = read_dir("/proc/self/fd").unwrap().map(|file| file.unwrap().path());
    let rings = files.filter(|file| read_link(file).is_ok_and(|to| to.ends_with("anon_inode:[io_uring]")));
    rings.map(|file| file.file_name().unwrap().to_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn an_interrupt_that_could_not_be_submitted_is_tried_again_before_the_core_sleeps() {
    let device = Scripted::new(Geometry::for_tests(), 8);
    let mut bench = Bench::new(Arc::new(device.clone()));
    let file = new_eventfd();
    let before = rings();
    let call = Call::new(file.try_clone().unwrap()).unwrap();
    let &ring = rings().difference(&before).next().expect("an io_uring: set kernel.io_uring_disabled to 0");
    bench.session.queue().connect(Notifiers { call: Some(call), ..Notifiers::default() });
    let mut count = [0; 8];
    rustix::io::read(&file, &mut count).expect("a call that is new is signalled");

    // SAFETY: the session keeps it open until the end of the test.
    let mut ring = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(ring) });
    let saved = ring.try_clone().unwrap();
    rustix::io::dup2(File::open("/dev/null").unwrap(), &mut ring).unwrap();
    let sent = bench.send(&Ask::flush());
    bench.turn();
    assert_eq!(device.complete_all(luge_block::Status::Success), 1);
    bench.turn();
    assert!(bench.take_answer(&sent).is_some());
    assert!(rustix::io::read(&file, &mut count).is_err(), "the kernel took nothing");
    assert_eq!(bench.session.arm(), Armed::Waiting, "a core must not sleep now");
    bench.session.disarm();

    rustix::io::dup2(&saved, &mut ring).unwrap();
    bench.turn();
    rustix::io::read(&file, &mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 1);
    assert_eq!(bench.session.arm(), Armed::Quiet);
}
