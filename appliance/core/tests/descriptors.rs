//! Test of a call that finds no file descriptor left. Alone in its process, because it uses them up.

use luge_core::{Call, NotifyError};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};

#[test]
fn a_call_without_a_descriptor_for_its_ring_is_refused_rather_than_one_that_may_block_a_core() {
    let file = eventfd(0, EventfdFlags::empty()).unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
    let mut files = Vec::new();
    let end = loop {
        match eventfd(0, EventfdFlags::empty()) {
            Ok(file) => files.push(file),
            Err(errno) => break errno,
        }
    };
    assert_eq!(end, Errno::MFILE);
    let refusal = Call::new(file).err().unwrap();
    assert!(matches!(refusal, NotifyError::System(Errno::MFILE)), "{refusal}");
}
