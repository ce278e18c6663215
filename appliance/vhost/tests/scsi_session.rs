//! Answers of a request queue to the commands of its guest.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use rig::scsi::{Answered, Cmd, ScsiBench, memory_unit};

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect()
}

#[test]
fn what_is_written_is_read_back() {
    for block_bytes in [512, 4096] {
        let mut bench = ScsiBench::new(memory_unit(block_bytes, 256));
        let bytes = pattern(8192, 3);
        assert_eq!(bench.ask(&Cmd::write(8, &bytes, block_bytes)), Answered::good(&[]));
        assert_eq!(bench.ask(&Cmd::synchronize_cache()), Answered::good(&[]));
        let blocks = u16::try_from(8192 / block_bytes).unwrap();
        assert_eq!(bench.ask(&Cmd::read(8, blocks, block_bytes)), Answered::good(&bytes));
    }
}
