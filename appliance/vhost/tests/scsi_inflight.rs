//! SCSI requests that a process had in flight when it ended.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Geometry, Status};
use luge_core::{Session, SessionId};
use luge_memory::PeerMemory;
use luge_spec::vhost_user::inflight_bytes;
use luge_vhost::{CommandReply, Ended};
use luge_virtqueue::InflightRegion;
use luge_virtqueue::rig::inflight_file;
use rig::scsi::{Cmd, ScsiBench, address};
use std::sync::Arc;

const SIZE: u16 = 64;

/// A bench on a device, and a way to the region in which it notes what it has in flight.
fn tracked(device: &Scripted) -> (ScsiBench, impl Fn() -> InflightRegion) {
    let memory = PeerMemory::map(inflight_file(1, SIZE), 0, inflight_bytes(SIZE)).unwrap();
    let memory = Arc::new(memory);
    let region = move || InflightRegion::new(&memory, 0, SIZE).unwrap();
    let luns = vec![(address(0, 0), Arc::new(device.clone()) as _)];
    (ScsiBench::with(luns, SIZE, Some(region())), region)
}

#[test]
fn requests_at_a_volume_and_at_the_thread_are_taken_again() {
    let device = Scripted::new(Geometry::for_tests(), 64);
    let (mut bench, region) = tracked(&device);
    let read = bench.send(&Cmd::read(7, 1, 512));
    let flush = bench.send(&Cmd::synchronize_cache());
    let inquiry = bench.send(&Cmd::inquiry(36));
    bench.turn();
    assert_eq!(device.taken().len(), 2);
    assert!(bench.relayed().is_some());
    let later = bench.send(&Cmd::read(8, 1, 512));

    bench.restart(region(), SessionId(1));
    assert_eq!(bench.in_flight(), 0, "without a table, nothing is owed");
    bench.set_table();
    assert_eq!(bench.in_flight(), 3);
    bench.turn();
    bench.turn();
    let again: Vec<_> = device.taken().into_iter().filter(|request| request.tag.session() == 1).collect();
    assert_eq!(again.len(), 3);
    again.iter().for_each(|request| assert!(device.complete(request.tag, Status::Success)));
    let (relayed, _) = bench.relayed().unwrap();
    bench.reply(&relayed, &CommandReply::Done(Ended::default()));
    bench.turn();
    let used: Vec<_> = std::iter::from_fn(|| bench.driver.take_used()).map(|(head, _)| head).collect();
    assert_eq!(used.len(), 4);
    for sent in [read, flush, inquiry, later] {
        assert!(used.contains(&sent.head), "{sent:?}");
    }
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn a_session_that_leaves_before_it_has_a_table_leaves_them_to_the_next_one() {
    let device = Scripted::new(Geometry::for_tests(), 64);
    let (mut bench, region) = tracked(&device);
    bench.send(&Cmd::read(7, 1, 512));
    bench.turn();
    bench.restart(region(), SessionId(1));
    bench.session.quiesce();
    assert_eq!(bench.in_flight(), 0);
    bench.restart(region(), SessionId(2));
    bench.set_table();
    assert_eq!(bench.in_flight(), 1);
    bench.turn();
    assert_eq!(device.taken().len(), 2);
}
