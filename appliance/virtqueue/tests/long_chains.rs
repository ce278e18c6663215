//! Chains of more descriptors than one take walks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod pair;

use luge_memory::{GuestAddress, Span};
use luge_spec::virtio::split::Descriptor;
use luge_virtqueue::rig::{Form, Piece};
use luge_virtqueue::{CHAIN_MAX, ChainBytes, Fault, LongChain, Notifications};
use pair::{DATA, INDIRECT, NEXT, Pair, TABLE, WRITE, raw, taken};
use zerocopy::IntoBytes;

/// The most descriptors of one step, and those of a ring that are walked again.
const STEP_MAX: usize = 1024 + 512;

struct Walked {
    chain: LongChain,
    steps: usize,
    list: Vec<Span>,
}

impl Walked {
    fn lengths(&self) -> Vec<u32> {
        self.list[..self.chain.end].iter().map(Span::len).collect()
    }
}

impl Pair {
    /// Takes a batch whose last chain is long, and walks that.
    fn walk_long(&mut self) -> Walked {
        let last = self.take() - 1;
        assert!(self.batch.is_long(last), "the last of {} chains is not long", last + 1);
        assert!(self.batch.chain(last).is_none());
        let mut list = vec![Span::EMPTY; usize::from(CHAIN_MAX) + 64];
        let mut steps = 0;
        loop {
            steps += 1;
            if let Some(chain) = self.queue.walk_long(&mut self.batch, &mut list) {
                return Walked { chain, steps, list };
            }
            assert!(steps < 1000, "a walk without end");
        }
    }
}

/// Lengths of a walked chain, by its spans.
fn counted(walked: &Walked) -> ChainBytes {
    let lengths = walked.lengths();
    let (readable, writable) = lengths.split_at(walked.chain.readable);
    ChainBytes { readable: readable.iter().sum(), writable: writable.iter().sum() }
}

fn pieces(count: usize) -> Vec<Piece> {
    let readable = (0..count / 2).map(|_| Piece::readable(DATA, 1));
    readable.chain((count / 2..count).map(|_| Piece::writable(DATA + 64, 2))).collect()
}

/// A table that is its entries, without links of its own, as the only chain of a ring of 64 entries.
fn table(entries: &[Descriptor]) -> Pair {
    let mut pair = Pair::new(64, Notifications::Flags, 0);
    pair.memory.write(TABLE, entries.as_bytes());
    let bytes = u32::try_from(entries.len() * 16).unwrap();
    pair.driver.write_descriptor(0, raw(TABLE.0, bytes, INDIRECT, 0));
    pair.driver.push_head(0);
    pair
}

#[test]
fn a_long_chain_can_be_refused_at_its_beginning_and_its_response_is_found() {
    let mut pair = Pair::new(64, Notifications::Flags, 0);
    pair.driver.add(&pieces(2000), Form::Indirect(TABLE)).unwrap();
    assert_eq!(pair.take(), 1);
    let beginning = pair.batch.beginning(0);
    assert_eq!(beginning.len(), 128);
    assert_eq!(beginning.iter().map(Span::len).sum::<u32>(), 128);
    let mut list = [Span::EMPTY; 1];
    let chain = (0..100).find_map(|_| {
        pair.queue.refuse_long(&mut pair.batch);
        pair.queue.walk_long(&mut pair.batch, &mut list)
    });
    let chain = chain.expect("the search ends");
    assert!(chain.fault.is_some());
    assert_eq!(chain.readable, 0);
    assert_eq!(chain.end, 1);
    assert_eq!(list[0].len(), 1);
}

#[test]
fn a_table_is_walked_to_its_end_in_rings_of_any_size() {
    for size in [2, 64, 1024] {
        for count in [513, 1024, 1025, 1536, usize::from(CHAIN_MAX)] {
            let mut pair = Pair::new(size, Notifications::Flags, 0);
            pair.driver.add(&pieces(count), Form::Indirect(TABLE)).unwrap();
            let walked = pair.walk_long();
            assert_eq!(walked.chain.fault, None);
            assert_eq!(walked.chain.readable, count / 2);
            let expected = [vec![1; count / 2], vec![2; count - count / 2]].concat();
            assert!(walked.lengths() == expected, "{count} descriptors in a ring of {size}");
            assert_eq!(walked.chain.bytes, counted(&walked));
            assert_eq!(walked.steps, count.div_ceil(1024));
            assert_eq!(pair.take(), 0);
        }
    }
}

#[test]
fn a_chain_of_the_ring_itself_is_walked_to_its_end() {
    for form in [Form::Direct, Form::Mixed(700, TABLE)] {
        let mut pair = Pair::new(2048, Notifications::Flags, 0);
        pair.driver.add(&pieces(1500), form).unwrap();
        let walked = pair.walk_long();
        assert_eq!(walked.chain.fault, None);
        assert_eq!(walked.lengths(), [[1; 750], [2; 750]].concat());
        assert_eq!(walked.chain.bytes, counted(&walked));
    }
}

#[test]
fn chains_before_a_long_one_come_with_it_and_those_after_it_later() {
    let mut pair = Pair::new(64, Notifications::Flags, 0);
    for count in [1, 600, 2] {
        pair.driver.add(&pieces(count), Form::Indirect(GuestAddress(TABLE.0 + count as u64 * 64))).unwrap();
    }
    let walked = pair.walk_long();
    assert_eq!(walked.chain.end, 600);
    assert_eq!(pair.batch.len(), 2);
    assert_eq!(pair.batch.chain(0).unwrap().writable.len(), 1);
    assert_eq!(pair.take_one(), taken(None, &[1], &[2]));
}

#[test]
fn a_fault_of_a_long_chain_has_its_last_writable_byte() {
    let links = |count: u16, flags: fn(u16) -> u16| -> Vec<Descriptor> {
        (0..count).map(|n| raw(DATA + u64::from(n), 1, flags(n), n + 1)).collect()
    };
    let order = links(3000, |n| if n == 2500 { NEXT } else { NEXT | WRITE });
    let index = links(3000, |_| NEXT | WRITE);
    let mut address = links(3000, |_| NEXT | WRITE);
    address[2000] = raw(u64::MAX, 1, NEXT | WRITE, 2001);
    address[2999] = raw(DATA + 2999, 1, WRITE, 0);
    let mut looping = links(3000, |_| NEXT | WRITE);
    looping[2999] = raw(DATA + 2999, 1, NEXT | WRITE, 0);
    for (fault, table_of) in
        [(Fault::Order, order), (Fault::Index, index), (Fault::Address, address), (Fault::Steps, looping)]
    {
        let mut pair = table(&table_of);
        let walked = pair.walk_long();
        assert_eq!(walked.chain.fault, Some(fault));
        assert_eq!(walked.chain.readable, 0);
        assert_eq!(walked.lengths(), [1], "{fault:?}");
        walked.list[0].fill(0x5a);
        assert_eq!(pair.memory.bytes(GuestAddress(DATA + 2999), 1), [0x5a], "{fault:?}");
        assert_eq!(pair.take(), 0);
    }
}

#[test]
fn a_loop_ends_after_as_many_descriptors_as_a_chain_may_have() {
    let mut pair = table(&[raw(DATA, 1, NEXT, 0); 3000]);
    let walked = pair.walk_long();
    assert_eq!(walked.chain.fault, Some(Fault::Steps));
    assert_eq!(walked.chain.end, 0, "there is nothing to write");
    assert!(walked.steps * STEP_MAX < 3000 + 64 + 3 * STEP_MAX, "{} steps", walked.steps);
}

#[test]
fn what_was_loaded_once_is_not_loaded_again_when_the_guest_changes_it() {
    let mut pair = Pair::new(64, Notifications::Flags, 0);
    pair.driver.add(&pieces(4000), Form::Indirect(TABLE)).unwrap();
    pair.take();
    let mut list = vec![Span::EMPTY; usize::from(CHAIN_MAX) + 64];
    assert!(pair.queue.walk_long(&mut pair.batch, &mut list).is_none());
    pair.memory.write(TABLE, &[0xff; 1024 * 16]);
    let chain = loop {
        if let Some(chain) = pair.queue.walk_long(&mut pair.batch, &mut list) {
            break chain;
        }
    };
    assert_eq!(chain.fault, None);
    assert_eq!(chain.end, 4000);
}
