//! A chain at fault still has its last writable byte: room for a status.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod pair;

use luge_memory::GuestAddress;
use luge_spec::virtio::split::Descriptor;
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use luge_virtqueue::{Fault, Notifications};
use pair::{DATA, HOLE, INDIRECT, NEXT, Pair, TABLE, WRITE, raw, taken};
use zerocopy::IntoBytes;

/// Where a status is expected, and where another byte may not be touched.
const STATUS: u64 = DATA + 0x100;
const OTHER: u64 = DATA + 0x200;

/// Writes a table as it is, without links of its own.
fn write_raw(pair: &Pair, at: u64, table: &[Descriptor]) {
    pair.memory.write(GuestAddress(at), table.as_bytes());
}

/// A chain at fault, as it was taken.
#[derive(Debug, PartialEq, Eq)]
struct FaultyChain {
    fault: Option<Fault>,
    /// Guest address of the only writable byte.
    byte: Option<u64>,
}

fn found(fault: Fault, byte: impl Into<Option<u64>>) -> FaultyChain {
    FaultyChain { fault: Some(fault), byte: byte.into() }
}

/// Takes the only chain of the ring, by several takes if need be.
fn take_fault(pair: &mut Pair) -> FaultyChain {
    let taken = (0..200).find(|_| pair.take() == 1);
    assert!(taken.is_some(), "the chain is never taken");
    let chain = pair.batch.chain(0).unwrap();
    assert!(chain.readable.is_empty(), "{chain:?}");
    let marked = chain.writable.first().map(|span| {
        assert_eq!(span.len(), 1);
        span.fill(0x5a);
    });
    assert!(chain.writable.len() <= 1, "{:?}", chain.writable);
    let found = |at: &u64| pair.memory.bytes(GuestAddress(*at), 1) == [0x5a];
    let places = [STATUS, OTHER].into_iter().filter(found).collect::<Vec<_>>();
    assert_eq!(places.len(), usize::from(marked.is_some()), "a byte that is neither of the two");
    FaultyChain { fault: chain.fault, byte: places.first().copied() }
}

/// Result of a chain in the ring's own table.
fn of_ring(table: &[Descriptor]) -> FaultyChain {
    let mut pair = Pair::small();
    table.iter().zip(0..).for_each(|(wire, index)| pair.driver.write_descriptor(index, *wire));
    pair.driver.push_head(0);
    take_fault(&mut pair)
}

/// Result of a chain that is a table of these entries, which the descriptor's length says are
/// `bytes` long.
fn of_table(bytes: u32, table: &[Descriptor]) -> FaultyChain {
    let mut pair = Pair::small();
    write_raw(&pair, TABLE.0, table);
    pair.driver.write_descriptor(0, raw(TABLE.0, bytes, INDIRECT, 0));
    pair.driver.push_head(0);
    take_fault(&mut pair)
}

#[test]
fn of_a_chain_that_breaks_the_rules_the_last_writable_byte_is_found() {
    let status = raw(STATUS, 1, WRITE, 0);
    let data = |next| raw(OTHER, 1, NEXT | WRITE, next);
    let header = raw(DATA, 16, NEXT, 1);
    let cases: [(Fault, &[Descriptor]); 7] = [
        (Fault::Order, &[header, raw(STATUS, 1, NEXT | WRITE, 2), raw(DATA, 1, 0, 0)]),
        (Fault::Order, &[header, data(2), raw(DATA, 1, NEXT, 3), status]),
        (Fault::Index, &[header, data(2), raw(STATUS, 1, NEXT | WRITE, 8)]),
        (Fault::Index, &[header, data(2), raw(STATUS, 1, NEXT | WRITE, u16::MAX)]),
        (Fault::Address, &[header, raw(DATA, u32::MAX, NEXT, 2), status]),
        (Fault::Address, &[header, raw(HOLE, 512, NEXT | WRITE, 2), status]),
        (
            Fault::Address,
            &[header, raw(HOLE, 512, NEXT, 2), raw(STATUS, 1, NEXT | WRITE, 3), raw(HOLE, 0, WRITE, 0)],
        ),
    ];
    for (fault, table) in cases {
        assert_eq!(of_ring(table), found(fault, STATUS), "{table:?}");
    }
}

#[test]
fn a_loop_has_the_byte_that_its_first_pass_comes_to_last() {
    let header = raw(DATA, 16, NEXT, 1);
    let data = raw(OTHER, 1, NEXT | WRITE, 2);
    let to = |next| raw(STATUS, 1, NEXT | WRITE, next);
    for (fault, next) in [(Fault::Order, 0), (Fault::Steps, 1), (Fault::Steps, 2)] {
        assert_eq!(of_ring(&[header, data, to(next)]), found(fault, STATUS), "back to {next}");
        assert_eq!(of_table(48, &[header, data, to(next)]), found(fault, STATUS), "table, {next}");
    }
    assert_eq!(of_ring(&[raw(DATA, 16, NEXT, 0)]), found(Fault::Steps, None), "nothing to write");
}

#[test]
fn a_table_that_is_cut_or_partly_missing_has_what_is_there_of_it() {
    let whole = [raw(DATA, 16, NEXT, 1), raw(OTHER, 1, NEXT | WRITE, 2), raw(STATUS, 1, WRITE, 0)];
    assert_eq!(of_table(49, &whole), found(Fault::Table, STATUS));
    assert_eq!(of_table(47, &whole), found(Fault::Table, OTHER), "its last entry is cut");
    assert_eq!(of_table(15, &whole), found(Fault::Table, None), "no entry is whole");
    assert_eq!(of_table(0, &whole), found(Fault::Table, None));
    let mut pair = Pair::small();
    let at = HOLE - 32;
    write_raw(&pair, at, &[raw(DATA, 16, NEXT, 1), raw(STATUS, 1, NEXT | WRITE, 2)]);
    pair.driver.write_descriptor(0, raw(at, 48, INDIRECT, 0));
    pair.driver.push_head(0);
    assert_eq!(take_fault(&mut pair), found(Fault::Table, STATUS), "the third entry is not there");
}

#[test]
fn a_table_in_a_table_is_no_piece_and_what_follows_a_table_counts() {
    let nested = raw(OTHER, 16, NEXT | WRITE | INDIRECT, 2);
    let table = [raw(DATA, 16, NEXT, 1), nested, raw(STATUS, 1, WRITE, 0)];
    assert_eq!(of_table(48, &table), found(Fault::Table, STATUS));
    let table = [raw(STATUS, 1, NEXT | WRITE, 1), raw(OTHER, 16, WRITE | INDIRECT, 0)];
    assert_eq!(of_table(32, &table), found(Fault::Table, STATUS));
    let later = GuestAddress(TABLE.0 + 0x1000);
    for (first, between, second) in
        [(OTHER, OTHER, STATUS), (OTHER, STATUS, 0), (STATUS, 0, 0), (0, 0, STATUS)]
    {
        let mut pair = Pair::small();
        let piece = |at: u64, flags, next| match at {
            0 => raw(DATA, 1, flags, next),
            at => raw(at, 1, flags | WRITE, next),
        };
        write_raw(&pair, TABLE.0, &[piece(first, 0, 0)]);
        // Tables that go round: the later one ends where it would go back.
        write_raw(&pair, later.0, &[raw(DATA, 1, NEXT, 1), piece(second, NEXT, 0)]);
        pair.driver.write_descriptor(0, raw(TABLE.0, 16, NEXT | INDIRECT, 1));
        pair.driver.write_descriptor(1, piece(between, NEXT, 2));
        pair.driver.write_descriptor(2, raw(later.0, 32, NEXT | INDIRECT, 0));
        pair.driver.push_head(0);
        assert_eq!(take_fault(&mut pair), found(Fault::Table, STATUS), "{first:#x} {between:#x} {second:#x}");
    }
}

#[test]
fn a_search_through_tables_without_end_ends() {
    let mut pair = Pair::new(64, Notifications::Flags, 0);
    let table = RigMemory::FAR_DATA.0;
    let links: Vec<_> = (1..=0x8000).map(|next| raw(STATUS, 1, NEXT | WRITE, next)).collect();
    write_raw(&pair, table, &links);
    for index in 0..64 {
        pair.driver.write_descriptor(index, raw(table, 0x8_0000, NEXT | INDIRECT, (index + 1) % 64));
    }
    pair.driver.push_head(0);
    assert_eq!(take_fault(&mut pair), found(Fault::Table, STATUS));
}

#[test]
fn a_byte_that_is_not_in_memory_or_not_writable_is_never_the_last_one() {
    let header = raw(DATA, 16, NEXT, 1);
    let lost = [raw(HOLE, 1, WRITE, 0), raw(HOLE - 1, 2, WRITE, 0), raw(u64::MAX, 2, WRITE, 0)];
    for last in lost {
        let table = [header, raw(OTHER, 1, NEXT | WRITE, 2), last];
        assert_eq!(of_ring(&table), found(Fault::Address, None), "{last:?}");
    }
    let across = raw(STATUS.wrapping_sub(1 << 21), (1 << 21) + 1, WRITE, 0);
    assert_eq!(of_ring(&[header, across]), found(Fault::Address, STATUS), "it begins in a hole");
    assert_eq!(of_ring(&[raw(DATA, 16, NEXT, 9), raw(OTHER, 1, 0, 0)]), found(Fault::Index, None));
}

#[test]
fn a_long_search_goes_on_take_by_take_and_holds_up_nothing_but_its_own_ring() {
    let entries = 0x8000_u32;
    let table = RigMemory::FAR_DATA.0;
    let mut pair = Pair::new(64, Notifications::Flags, 0);
    // The second one is out of order.
    let flags = |n| if n == 1 { NEXT } else { NEXT | WRITE };
    let link = |n: u32| raw(OTHER, 1, flags(n), u16::try_from(n + 1).unwrap());
    let links: Vec<_> = (0..entries - 1).map(link).chain([raw(STATUS, 1, WRITE, 0)]).collect();
    write_raw(&pair, table, &links);
    pair.driver.add(&[Piece::readable(DATA, 16)], Form::Direct).unwrap();
    pair.driver.write_descriptor(32, raw(table, entries * 16, INDIRECT, 0));
    pair.driver.push_head(32);
    assert_eq!(pair.take(), 1, "the chain before it");
    let idle = (0..).take_while(|_| pair.take() == 0).count();
    assert!((30..40).contains(&idle), "{idle} takes of 1024 descriptors each");
    let chain = pair.batch.chain(0).unwrap();
    assert_eq!(chain.fault, Some(Fault::Order));
    assert_eq!(chain.writable.len(), 1);
    chain.writable[0].fill(0x5a);
    assert_eq!(pair.memory.bytes(GuestAddress(STATUS), 1), [0x5a]);
    assert_eq!(pair.take(), 0, "and once only");
}

#[test]
fn a_chain_that_becomes_good_while_it_is_searched_is_taken_as_it_is() {
    let mut pair = Pair::small();
    let own = RigMemory::FAR_DATA.0;
    let flags = |n| if n == 1 { NEXT } else { NEXT | WRITE };
    write_raw(&pair, own, &(0..0x2000).map(|n| raw(OTHER, 1, flags(n), n + 1)).collect::<Vec<_>>());
    pair.driver.write_descriptor(0, raw(own, 0x2_0000, INDIRECT, 0));
    pair.driver.push_head(0);
    assert_eq!(pair.take(), 0);
    let good = [raw(DATA, 16, NEXT, 1), raw(OTHER, 8, NEXT, 2), raw(STATUS, 1, WRITE, 0)];
    good.iter().zip(0..).for_each(|(wire, index)| pair.driver.write_descriptor(index, *wire));
    assert_eq!(pair.take_one(), taken(None, &[16, 8], &[1]));
    pair.driver.write_descriptor(2, raw(STATUS, 1, NEXT | WRITE, 9));
    pair.driver.push_head(0);
    assert_eq!(take_fault(&mut pair), found(Fault::Index, STATUS));
}
