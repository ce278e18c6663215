//! Nothing allocates on the path of SCSI requests: commands of every kind, wrong ones too, in every layout, once the
//! session is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_core::Session;
use luge_measure::{CountingAllocator, allocations};
use luge_memory::GuestAddress;
use luge_spec::virtio::scsi::LunField;
use luge_vhost::{Cancelled, CancelledAs, CommandReply, Drain, Ended, Scope};
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use rig::scripted::memory_disk;
use rig::scsi::{Cmd, ScsiBench, address};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn cmds() -> Vec<Cmd> {
    let ranges: Vec<_> = (0..32).map(|n| (n * 8, 8)).collect();
    vec![
        Cmd::read(0, 8, 512),
        Cmd::read(3, 100, 512).to(address(1, 0)),
        Cmd::write(8, &[7; 4096], 512),
        Cmd { in_bytes: 100, ..Cmd::read(0, 1, 512) },
        Cmd { in_bytes: 1000, ..Cmd::read(0, 1, 512) },
        Cmd::read(u32::MAX, 1, 512),
        Cmd::synchronize_cache(),
        Cmd::unmap(&ranges),
        Cmd::new(&[0x7f; 32]),
        Cmd { out: vec![7; 512], ..Cmd::new(&[0x2f, 2, 0, 0, 0, 200, 0, 0, 1, 0]) },
        Cmd { lun: LunField([9; 8]), ..Cmd::read(0, 1, 512) },
        Cmd { out: vec![0; 9], ..Cmd::read(0, 1, 512) },
        Cmd::inquiry(96),
    ]
}

/// Serves all that is in the ring, and answers what is relayed.
fn serve(bench: &mut ScsiBench, reply: &CommandReply) {
    while bench.turn() || bench.in_flight() > 0 {
        let _ = bench.session.arm();
        bench.session.disarm();
        if let Some(relayed) = bench.relay.next() {
            bench.reply(&relayed, reply);
        }
    }
}

#[test]
fn serving_allocates_nothing() {
    let luns = vec![(address(0, 0), memory_disk(512, 8192)), (address(1, 0), memory_disk(512, 8192))];
    let mut bench = ScsiBench::with(luns, 256, None);
    let reply = CommandReply::Done(Ended { data_in: vec![1; 50], ..Ended::default() });
    let drain = Arc::new(Drain::default());
    for round in 0..50 {
        for cmd in cmds() {
            bench.send(&cmd);
        }
        // In single bytes; a buffer that is not there; no response.
        let table = GuestAddress(RigMemory::FAR_DATA.0);
        bench.send_as(&Cmd::read(0, 1, 512), |[out, len], [into, in_len]| {
            let readable = (out..out + len).map(|at| Piece::readable(at, 1));
            let writable = (into..into + in_len).map(|at| Piece::writable(at, 1));
            (readable.chain(writable).collect(), Form::Indirect(table))
        });
        assert!(bench.driver.add(&[Piece::writable(1, 200)], Form::Direct).is_some());
        assert!(bench.driver.add(&[Piece::readable(RigMemory::DATA.0, 51)], Form::Direct).is_some());
        let before = allocations();
        if round % 5 == 4 {
            let outcome = bench.session.cancel(Scope::All, CancelledAs::Reset, drain.clone());
            assert!(matches!(outcome, Cancelled::Waiting));
        }
        serve(&mut bench, &reply);
        assert_eq!(allocations() - before, 0, "round {round}");
        let answered = std::iter::from_fn(|| bench.driver.take_used()).count();
        assert_eq!(answered, cmds().len() + 3);
    }
    assert_eq!(Arc::strong_count(&drain), 1);
}
