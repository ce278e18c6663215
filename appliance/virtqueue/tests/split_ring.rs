//! The split ring against a driver that keeps to the specification, and one that does not.

#![expect(unsafe_code, reason = "a queue is dropped before its memory")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod pair;

use luge_memory::GuestAddress;
use luge_spec::virtio::split::{Descriptor, DescriptorFlags};
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use luge_virtqueue::{BATCH, Broken, Fault, Notifications, QueueSize, RingError, SplitQueue};
use pair::{DATA, HOLE, INDIRECT, NEXT, Pair, TABLE, WRITE, raw, taken};

#[test]
fn a_chain_comes_with_its_pieces_and_goes_back_with_its_length() {
    for form in [Form::Direct, Form::Indirect(TABLE), Form::Mixed(2, TABLE)] {
        let mut pair = Pair::small();
        let pieces =
            [Piece::readable(DATA, 16), Piece::readable(DATA + 64, 0), Piece::writable(DATA + 512, 3)];
        let head = pair.driver.add(&pieces, form).unwrap();
        assert_eq!(pair.take_one(), taken(None, &[16], &[3]), "{form:?}");
        pair.batch.chain(0).unwrap().writable[0].write(b"abc");
        pair.queue.complete(head, 3);
        assert_eq!(pair.driver.take_used(), None, "nothing is seen before it is published");
        assert!(pair.queue.publish());
        assert_eq!(pair.driver.take_used(), Some((head, 3)));
        assert_eq!(pair.memory.bytes(GuestAddress(DATA + 512), 3), b"abc");
    }
}

#[test]
fn a_buffer_across_regions_comes_in_pieces() {
    let mut pair = Pair::small();
    let end = RigMemory::DATA.0 + RigMemory::DATA.1;
    pair.driver.add(&[Piece::readable(end - 10, 30), Piece::writable(end - 1, 2)], Form::Direct).unwrap();
    assert_eq!(pair.take_one(), taken(None, &[10, 20], &[1, 1]));
}

#[test]
fn an_indirect_table_may_lie_across_regions_and_anywhere() {
    let mut pair = Pair::small();
    let end = RigMemory::DATA.0 + RigMemory::DATA.1;
    let pieces = [Piece::readable(DATA, 1), Piece::readable(DATA, 2), Piece::writable(DATA, 3)];
    pair.driver.add(&pieces, Form::Indirect(GuestAddress(end - 21))).unwrap();
    assert_eq!(pair.take_one(), taken(None, &[1, 2], &[3]));
}

#[test]
fn indices_go_on_after_they_wrap() {
    let mut pair = Pair::new(4, Notifications::EventIndex, 0xfffe);
    for round in 0..10_u32 {
        let head = pair.driver.add(&[Piece::writable(DATA, round + 1)], Form::Direct).unwrap();
        assert_eq!(pair.take_one(), taken(None, &[], &[round + 1]));
        pair.queue.complete(head, round);
        let _ = pair.queue.publish();
        assert_eq!(pair.driver.take_used(), Some((head, round)));
    }
    assert_eq!(pair.queue.next_available(), 8);
}

#[test]
fn a_take_is_a_batch_at_most_and_no_more_than_asked_for() {
    let mut pair = Pair::new(256, Notifications::Flags, 0);
    (0..100).for_each(|_| assert!(pair.driver.add(&[Piece::readable(DATA, 1)], Form::Direct).is_some()));
    pair.queue.take(&mut pair.batch, 3).unwrap();
    assert_eq!(pair.batch.len(), 3);
    assert_eq!([pair.take(), pair.take(), pair.take()], [BATCH, 33, 0]);
}

#[test]
fn chains_that_do_not_fit_the_batch_come_with_the_next() {
    let mut pair = Pair::new(256, Notifications::Flags, 0);
    let pieces = [Piece::readable(DATA, 1); 100];
    (0..9).for_each(|_| assert!(pair.driver.add(&pieces, Form::Indirect(TABLE)).is_some()));
    let mut taken = Vec::new();
    while taken.iter().sum::<usize>() < 9 {
        taken.push(pair.take());
        (0..pair.batch.len()).for_each(|at| assert_eq!(pair.batch.chain(at).unwrap().readable.len(), 100));
    }
    assert!(taken.len() > 1, "{taken:?}");
}

#[test]
fn a_small_ring_takes_long_indirect_chains() {
    let mut pair = Pair::new(2, Notifications::Flags, 0);
    assert!(pair.driver.add(&[Piece::readable(DATA, 1); 128], Form::Indirect(TABLE)).is_some());
    assert_eq!(pair.take_one().readable.len(), 128);
}

#[test]
fn a_chain_that_breaks_the_rules_is_at_fault() {
    let table = |flags, len| raw(TABLE.0, len, flags, 0);
    let cases: [(Fault, &[Descriptor]); 8] = [
        (Fault::Steps, &[raw(DATA, 1, NEXT, 1), raw(DATA, 1, NEXT, 0)]),
        (Fault::Steps, &[raw(DATA, 0, NEXT, 0)]),
        (Fault::Index, &[raw(DATA, 1, NEXT, 8)]),
        (Fault::Order, &[raw(DATA, 1, NEXT | WRITE, 1), raw(DATA, 1, 0, 0)]),
        (Fault::Address, &[raw(DATA, u32::MAX, NEXT, 1), raw(DATA, 1, 0, 0)]),
        (Fault::Table, &[table(INDIRECT, 0)]),
        (Fault::Table, &[table(INDIRECT, 17)]),
        (Fault::Table, &[table(INDIRECT | NEXT, 16)]),
    ];
    for (fault, descriptors) in cases {
        assert_eq!(Pair::fault_of(descriptors), Some(fault), "{descriptors:?}");
    }
    assert_eq!(Pair::fault_of(&[raw(HOLE, 16, INDIRECT, 0)]), Some(Fault::Table));
    assert_eq!(Pair::fault_of(&[raw(u64::MAX - 7, 16, INDIRECT, 0)]), Some(Fault::Table));
}

#[test]
fn a_chain_of_more_than_4_gib_is_at_fault_where_there_is_that_much_memory_too() {
    let chain = |len| [raw(0, 16, NEXT, 1), raw(0, len, NEXT | WRITE, 2), raw(0, 1, WRITE, 0)];
    for (len, fault) in [(u32::MAX - 17, None), (u32::MAX - 16, Some(Fault::Length))] {
        let memory = RigMemory::new(&[(0, 5 << 30)]);
        let mut pair = Pair::with(memory, 8, Notifications::Flags, 0);
        chain(len).iter().zip(0..).for_each(|(wire, index)| pair.driver.write_descriptor(index, *wire));
        pair.driver.push_head(0);
        assert_eq!(pair.take_one().fault, fault, "{len:#x}");
    }
}

#[test]
fn buffers_that_lie_across_many_regions_and_end_in_a_hole_are_not_looked_up_without_end() {
    let page = 0x1000;
    let regions: Vec<_> = (0..64).map(|n| (DATA + n * page, page)).chain([RigMemory::RINGS]).collect();
    let [all, all_and_more] = [64, 65].map(|pages| u32::try_from(pages * page).unwrap());
    let chain: Vec<_> = (0..128).map(|n| raw(DATA, all, NEXT, (n + 1) % 128)).collect();
    assert_eq!(
        Pair::fault_in(RigMemory::new(&regions), &[raw(DATA, all_and_more, 0, 0)]),
        Some(Fault::Address)
    );
    assert_eq!(Pair::fault_in(RigMemory::new(&regions), &chain), Some(Fault::Spans));
}

#[test]
fn an_indirect_table_in_an_indirect_table_is_refused_also_if_it_is_itself() {
    let mut pair = Pair::small();
    let own = pair.driver.write_table(TABLE, &[Piece::readable(TABLE.0, 16)]);
    let nested = raw(TABLE.0, 16, INDIRECT, 0);
    pair.memory.write(TABLE, zerocopy::IntoBytes::as_bytes(&nested));
    pair.driver.write_descriptor(0, own);
    pair.driver.push_head(0);
    assert_eq!(pair.take_one(), taken(Some(Fault::Table), &[], &[]));
}

#[test]
fn a_descriptor_in_a_table_that_points_past_it_is_refused() {
    let mut pair = Pair::small();
    pair.memory.write(TABLE, zerocopy::IntoBytes::as_bytes(&raw(DATA, 1, NEXT, 1)));
    pair.driver.write_descriptor(0, raw(TABLE.0, 16, INDIRECT, 0));
    pair.driver.push_head(0);
    assert_eq!(pair.take_one().fault, Some(Fault::Index));
}

#[test]
fn memory_that_is_not_there_costs_the_buffer_but_not_the_status_behind_it() {
    for lost in [Piece::readable(HOLE, 8), Piece::writable(HOLE - 4, 8), Piece::writable(u64::MAX, 9)] {
        let mut pair = Pair::small();
        let pieces = [Piece::readable(DATA, 16), lost, Piece::writable(DATA + 64, 1)];
        pair.driver.add(&pieces, Form::Direct).unwrap();
        assert_eq!(pair.take_one(), taken(Some(Fault::Address), &[], &[1]), "{lost:?}");
    }
    let mut pair = Pair::small();
    let pieces = [Piece::readable(DATA, 16), Piece::writable(DATA, 512), Piece::writable(HOLE, 1)];
    pair.driver.add(&pieces, Form::Direct).unwrap();
    assert_eq!(pair.take_one(), taken(Some(Fault::Address), &[], &[]), "no other byte is the status");
}

/// Descriptors from `first` on, each with its successor, the last one without.
fn chain_of(pieces: &[(u64, u32, u16)], first: u16) -> Vec<Descriptor> {
    let last = pieces.len() - 1;
    let wire = |(at, &(address, len, flags))| {
        let next = first + u16::try_from(at).unwrap() + 1;
        raw(address, len, flags | if at < last { NEXT } else { 0 }, next)
    };
    pieces.iter().enumerate().map(wire).collect()
}

#[test]
fn a_chain_at_fault_still_has_the_last_byte_that_the_device_may_write() {
    let status = (DATA + 64, 1, WRITE);
    let header = (DATA, 16, 0);
    let cases: [(Fault, Vec<Descriptor>); 6] = [
        (Fault::Address, chain_of(&[header, (HOLE, 8, 0), status], 0)),
        (Fault::Order, chain_of(&[(DATA, 8, WRITE), header, status], 0)),
        (Fault::Order, chain_of(&[header, status, (DATA, 8, 0)], 0)),
        (Fault::Address, chain_of(&[header, (DATA, u32::MAX, WRITE), status], 0)),
        (Fault::Index, vec![raw(DATA, 16, NEXT, 1), raw(DATA + 64, 1, NEXT | WRITE, 99)]),
        (Fault::Steps, vec![raw(DATA, 16, NEXT, 1), raw(DATA + 64, 1, NEXT | WRITE, 1)]),
    ];
    for (fault, descriptors) in cases {
        let mut pair = Pair::small();
        descriptors.iter().zip(0..).for_each(|(wire, index)| pair.driver.write_descriptor(index, *wire));
        pair.driver.push_head(0);
        pair.memory.write(GuestAddress(DATA + 64), &[0]);
        assert_eq!(pair.take(), 1);
        let chain = pair.batch.chain(0).unwrap();
        assert_eq!(chain.fault, Some(fault), "{descriptors:?}");
        assert!(chain.readable.is_empty(), "{descriptors:?}");
        let [byte] = chain.writable else { panic!("{descriptors:?}: no byte") };
        assert_eq!(byte.len(), 1);
        byte.write(&[7]);
        let mut status = [0];
        pair.memory.read(GuestAddress(DATA + 64), &mut status);
        assert_eq!(status, [7], "{descriptors:?}");
    }
}

#[test]
fn the_last_writable_byte_is_found_in_and_behind_tables_that_break_the_rules() {
    let table = chain_of(&[(DATA, 16, 0), (DATA + 64, 1, WRITE)], 0);
    let nested = [raw(TABLE.0, 32, INDIRECT | NEXT, 1), raw(DATA + 64, 1, WRITE, 0)];
    let bytes = |table: &[Descriptor]| zerocopy::IntoBytes::as_bytes(table).to_vec();
    for (entries, ring) in [
        (bytes(&table), vec![raw(TABLE.0, 33, INDIRECT, 0)]),
        (bytes(&table), chain_of(&[(TABLE.0, 32, INDIRECT), (DATA, 16, 0)], 0)),
        (bytes(&nested), vec![raw(TABLE.0, 32, INDIRECT, 0)]),
        (vec![], chain_of(&[(HOLE, 32, INDIRECT), (DATA + 64, 1, WRITE)], 0)),
    ] {
        let mut pair = Pair::small();
        pair.memory.write(TABLE, &entries);
        ring.iter().zip(0..).for_each(|(wire, index)| pair.driver.write_descriptor(index, *wire));
        pair.driver.push_head(0);
        assert_eq!(pair.take_one(), taken(Some(Fault::Table), &[], &[1]), "{ring:?}");
    }
}

#[test]
fn a_queue_whose_index_jumps_is_broken_for_ever() {
    let mut pair = Pair::small();
    pair.driver.set_available_index(9);
    assert_eq!(pair.queue.take(&mut pair.batch, 1), Err(Broken::Index));
    pair.driver.set_available_index(0);
    assert_eq!(pair.queue.take(&mut pair.batch, 1), Err(Broken::Index));
}

#[test]
fn a_queue_with_a_head_past_its_table_is_broken_and_what_it_lent_can_go_back() {
    let mut pair = Pair::small();
    let head = pair.driver.add(&[Piece::readable(DATA, 1)], Form::Direct).unwrap();
    assert_eq!(pair.take(), 1);
    pair.driver.push_head(8);
    assert_eq!(pair.queue.take(&mut pair.batch, 1), Err(Broken::Head));
    assert!(pair.batch.is_empty());
    pair.queue.complete(head, 1);
    let _ = pair.queue.publish();
    assert_eq!(pair.driver.take_used(), Some((head, 1)));
}

#[test]
fn rings_that_cannot_be_are_refused() {
    let memory = RigMemory::standard();
    let good = RigMemory::ring(RigMemory::RINGS.0, 8);
    // SAFETY: the queue is dropped at once.
    let refusal =
        |layout| unsafe { SplitQueue::new(&layout, Notifications::Flags, 0, memory.table.clone()) }.err();
    assert_eq!(refusal(good), None);
    for size in [0, 3, 32769, 65536, u32::MAX] {
        assert_eq!(QueueSize::new(size), Err(RingError::Size(size)));
    }
    let mut bad = Vec::new();
    for at in [good.descriptors.0 + 8, HOLE, HOLE - 16, u64::MAX - 15, RigMemory::MORE_DATA.0 - 16] {
        bad.push(luge_virtqueue::RingLayout { descriptors: GuestAddress(at), ..good });
    }
    bad.push(luge_virtqueue::RingLayout { available: GuestAddress(good.available.0 + 1), ..good });
    bad.push(luge_virtqueue::RingLayout { used: GuestAddress(good.used.0 + 2), ..good });
    bad.push(luge_virtqueue::RingLayout { used: GuestAddress(HOLE - 8), ..good });
    for layout in bad {
        assert!(refusal(layout).is_some(), "{layout:?}");
    }
}

/// Uses `count` chains of one byte each in one batch; whether the guest wants an interrupt.
fn use_up(pair: &mut Pair, count: usize) -> bool {
    for _ in 0..count {
        pair.driver.add(&[Piece::readable(DATA, 1)], Form::Direct).unwrap();
    }
    assert_eq!(pair.take(), count);
    for at in 0..count {
        let head = pair.batch.chain(at).unwrap().head;
        pair.queue.complete(head, 0);
    }
    let wanted = pair.queue.publish();
    (0..count).for_each(|_| assert!(pair.driver.take_used().is_some()));
    wanted
}

#[test]
fn interrupts_come_when_the_driver_wants_them_and_not_else() {
    for notifications in [Notifications::Flags, Notifications::EventIndex] {
        let mut pair = Pair::new(8, notifications, 0xfff9);
        assert!(!pair.queue.publish(), "nothing was used");
        assert!(use_up(&mut pair, 1));
        pair.driver.want_no_interrupt();
        assert!(!use_up(&mut pair, 3));
        pair.driver.want_interrupt_after(0);
        assert!(use_up(&mut pair, 3));
    }
}

#[test]
fn with_an_event_index_an_interrupt_comes_once_the_batch_passes_it() {
    let mut pair = Pair::new(8, Notifications::EventIndex, 0xfffd);
    use_up(&mut pair, 1);
    pair.driver.want_interrupt_after(4);
    assert!(!use_up(&mut pair, 2) && !use_up(&mut pair, 2) && use_up(&mut pair, 2));
    assert!(!use_up(&mut pair, 2), "it has been passed");
}

#[test]
fn an_armed_queue_is_kicked_for_the_next_chain() {
    for notifications in [Notifications::Flags, Notifications::EventIndex] {
        let mut pair = Pair::new(8, notifications, 0xffff);
        use_up(&mut pair, 2);
        pair.driver.must_kick();
        assert!(!pair.queue.arm(), "nothing waits");
        pair.driver.add(&[Piece::readable(DATA, 1)], Form::Direct).unwrap();
        assert!(pair.driver.must_kick());
        assert!(pair.queue.arm(), "something waits");
        pair.queue.disarm();
        assert_eq!(pair.take(), 1);
        pair.driver.add(&[Piece::readable(DATA, 1)], Form::Direct).unwrap();
        pair.driver.must_kick();
        pair.driver.add(&[Piece::readable(DATA, 1)], Form::Direct).unwrap();
        assert!(!pair.driver.must_kick(), "a polling device needs no kick");
    }
}

#[test]
fn memory_can_be_added_under_a_running_queue() {
    let mut pair = Pair::small();
    let piece = Piece::writable(HOLE, 4);
    let (layout, file) = RigMemory::file(HOLE, 0x1000);
    let region = luge_memory::GuestRegion::map(&luge_memory::DmaSpace::new(), layout, file).unwrap();
    let more = std::sync::Arc::new(pair.memory.table.with(region).unwrap());
    pair.driver.add(&[piece], Form::Direct).unwrap();
    assert_eq!(pair.take_one().fault, Some(Fault::Address));
    // SAFETY: all regions of the table before are in the new one.
    drop(unsafe { pair.queue.replace_memory(more) });
    pair.driver.add(&[piece], Form::Direct).unwrap();
    assert_eq!(pair.take_one(), taken(None, &[], &[4]));
}

#[test]
fn a_take_ends_early_where_chains_are_endless() {
    let mut pair = Pair::new(64, Notifications::Flags, 0);
    let itself = Descriptor { flags: DescriptorFlags(DescriptorFlags::NEXT.into()), ..Descriptor::default() };
    pair.driver.write_descriptor(0, itself);
    (0..64).for_each(|_| pair.driver.push_head(0));
    // 128 steps of the walk and one of the search for an ending each, of 1024 a take.
    for _ in 0..8 {
        assert_eq!(pair.take(), 8);
        assert!((0..8).all(|at| pair.batch.chain(at).unwrap().fault == Some(Fault::Steps)));
    }
    assert_eq!(pair.take(), 0);
}
