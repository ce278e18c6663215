//! Rings by seed: legal ones, checked against what was put in, and hostile ones, which may
//! do no more than break their own queue.
//!
//! A second each by default; `LUGE_FUZZ_SECONDS` for longer, `LUGE_FUZZ_SEED` for a replay.

#![expect(unsafe_code, reason = "a queue is kept while its spans are in use")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_memory::{GuestAddress, GuestMemory, Iova, Span};
use luge_seeded::{Random, fuzz};
use luge_spec::virtio::split::{Descriptor, DescriptorFlags};
use luge_virtqueue::rig::{Driver, Form, Piece, RigMemory};
use luge_virtqueue::{
    Batch, CHAIN_MAX, ChainLayout, Direction, FixedPiece, Head, LongChain, Notifications, ResponseFirst,
    ResponseLast, ResponsePlace, SplitQueue,
};
use std::collections::{HashMap, HashSet};
use std::ptr::NonNull;
use zerocopy::{FromBytes, IntoBytes};

const REGIONS: [(u64, u64); 4] =
    [RigMemory::RINGS, RigMemory::DATA, RigMemory::MORE_DATA, RigMemory::FAR_DATA];
/// Tables are kept apart from data, one place per head.
const TABLES: u64 = RigMemory::FAR_DATA.0;
const TABLE_STRIDE: u64 = 128 * 16;

fn notifications(random: &mut Random) -> Notifications {
    random.pick(&[Notifications::Flags, Notifications::EventIndex])
}

/// The bytes of guest memory that a piece stands for: (address, length) without empty ones.
fn flat(pieces: &[Piece], writable: bool) -> Vec<(u64, u32)> {
    let of_kind = pieces.iter().filter(|piece| piece.writable == writable && piece.len > 0);
    of_kind.map(|piece| (piece.at.0, piece.len)).collect()
}

/// Address for SSDs of a header or response, which only the CPU uses.
const NONE: Iova = Iova(u64::MAX);

/// Whether spans are these parts of guest memory, where a part may be cut at a region's end.
fn flat_spans<L: ChainLayout>(memory: &GuestMemory, spans: &[Span], pieces: &[(u64, u32)]) -> bool {
    let mut spans = spans.iter();
    pieces.iter().all(|&(at, len)| {
        let mut done = 0;
        while done < len {
            // SAFETY: only addresses are compared.
            let real = unsafe { memory.span(GuestAddress(at + u64::from(done)), len - done) };
            let (Some(real), Some(span)) = (real, spans.next()) else { return false };
            let is_for_the_cpu =
                span.iova() == NONE && [L::Header::LEN, L::Response::LEN].contains(&span.len());
            let is_same = real.host() == span.host() && real.len() == span.len();
            if !is_same || real.iova() != span.iova() && !is_for_the_cpu {
                return false;
            }
            done += span.len();
        }
        true
    }) && spans.next().is_none()
}

fn some_pieces<L: ChainLayout>(random: &mut Random) -> Vec<Piece> {
    let (readable, writable) = (random.below(6_u32), random.below(6_u32));
    let piece = |random: &mut Random, writable| {
        let at = RigMemory::DATA.0 + random.number() % (RigMemory::DATA.1 + RigMemory::MORE_DATA.1 - 70_000);
        let len = random.pick(&[0, 1, 2, 16, 511, 4096, 65_536]);
        Piece { at: GuestAddress(at), len, writable }
    };
    if random.once_in(2) {
        let written = random.once_in(2);
        let data = (0..=random.below(4_u32)).map(|_| piece(random, written));
        let data: Vec<_> = data.collect();
        let header = Piece { len: L::Header::LEN, ..piece(random, false) };
        let response = Piece { len: L::Response::LEN, ..piece(random, true) };
        if L::RESPONSE == ResponsePlace::First && written {
            return [header, response].into_iter().chain(data).collect();
        }
        return [header].into_iter().chain(data).chain([response]).collect();
    }
    let mut pieces: Vec<_> = (0..readable).map(|_| piece(random, false)).collect();
    pieces.extend((0..writable.max(u32::from(readable == 0))).map(|_| piece(random, true)));
    pieces
}

/// Parts of a request, found by this test or by the queue.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    header: Location,
    data: Vec<Location>,
    direction: Direction,
    response: Location,
}

/// Addresses and length of a span.
#[derive(Debug, PartialEq, Eq)]
struct Location {
    host: NonNull<u8>,
    iova: Iova,
    len: u32,
}

impl Location {
    fn of(span: &Span) -> Self {
        Self { host: span.host(), iova: span.iova(), len: span.len() }
    }

    /// Location of a header or response, which only the CPU uses: a request has no address of it for SSDs.
    fn for_the_cpu(span: &Span) -> Self {
        Self { iova: Iova(0), ..Self::of(span) }
    }
}

/// Parts of the request that the spans of a chain are in this layout, if they are one.
fn parts<L: ChainLayout>(readable: &[Span], writable: &[Span]) -> Option<Parts> {
    let (header, rest) = readable.split_first()?;
    let (data, direction, response) = if rest.is_empty() {
        let (response, data) = match L::RESPONSE {
            ResponsePlace::Last => writable.split_last()?,
            ResponsePlace::First => writable.split_first()?,
        };
        (data, Direction::Written, response)
    } else {
        let [response] = writable else { return None };
        (rest, Direction::Read, response)
    };
    let fits = header.len() == L::Header::LEN && response.len() == L::Response::LEN && !data.is_empty();
    fits.then(|| Parts {
        header: Location::for_the_cpu(header),
        data: data.iter().map(Location::of).collect(),
        direction,
        response: Location::for_the_cpu(response),
    })
}

/// Asserts that the queue presents chain `at` as a request exactly if its spans are one.
fn check_request<L: ChainLayout>(batch: &mut Batch<L>, at: usize) {
    let single = batch.single_segment(at, 1).next();
    let request = single.or_else(|| batch.scattered(at, 1).next());
    let head = request.as_ref().map(|request| request.head);
    let presented = request.map(|request| {
        assert_eq!(u64::from(request.bytes), Span::total(request.data));
        Parts {
            header: Location::for_the_cpu(&request.header.into()),
            data: request.data.iter().map(Location::of).collect(),
            direction: request.direction,
            response: Location::for_the_cpu(&request.response.into()),
        }
    });
    let chain = batch.chain(at).unwrap();
    let expected = parts::<L>(chain.readable, chain.writable).filter(|_| chain.fault.is_none());
    assert_eq!(presented, expected);
    assert!(head.is_none_or(|head| head == chain.head), "{head:?} is not {:?}", chain.head);
}

fn some_form(random: &mut Random) -> Form {
    let table = GuestAddress(TABLES + random.below(200) * TABLE_STRIDE + random.below(16));
    match random.below(3_u32) {
        0 => Form::Direct,
        1 => Form::Indirect(table),
        _ => Form::Mixed(1, table),
    }
}

#[test]
fn legal_chains_arrive_whole_in_order_and_once() {
    legal_chains::<ResponseLast<16, 1>>();
    legal_chains::<ResponseFirst<16, 108>>();
}

fn legal_chains<L: ChainLayout>() {
    let memory = RigMemory::standard();
    fuzz(|random| {
        let layout = RigMemory::ring(RigMemory::RINGS.0, 1 << random.below(9_u32));
        let (kind, base) = (notifications(random), random.between(0, u16::MAX));
        let mut driver = Driver::new(layout, kind, base, &memory.table);
        // SAFETY: the queue outlives the batch's use.
        let mut queue = unsafe { SplitQueue::new(&layout, kind, base, memory.table.clone()) }.unwrap();
        let mut batch = Batch::<L>::new(&layout);
        let (mut sent, mut held) = (std::collections::VecDeque::new(), Vec::new());
        let mut expected: HashMap<Head, u32> = HashMap::new();
        for _ in 0..200 {
            // Tables in use must not be overwritten: at most one indirect chain at a time.
            let form = if sent.is_empty() { some_form(random) } else { Form::Direct };
            let pieces = some_pieces::<L>(random);
            if let Some(head) = driver.add(&pieces, form) {
                sent.push_back((head, pieces));
            }
            if random.once_in(2) {
                queue.take(&mut batch, random.below(80)).unwrap();
            } else {
                queue.take(&mut batch, 0).unwrap();
            }
            for at in 0..batch.len() {
                check_request(&mut batch, at);
                let chain = batch.chain(at).unwrap();
                let (head, pieces) = sent.pop_front().expect("no chain out of nothing");
                assert_eq!(chain.head, head);
                assert_eq!(chain.fault, None);
                assert!(flat_spans::<L>(&memory.table, chain.readable, &flat(&pieces, false)));
                assert!(flat_spans::<L>(&memory.table, chain.writable, &flat(&pieces, true)));
                held.push(head);
            }
            while !held.is_empty() && random.once_in(2) {
                let head = held.swap_remove(random.below(held.len()));
                let written = random.below(1000);
                expected.insert(head, written);
                queue.complete(head, written);
            }
            let _ = queue.publish();
            while let Some((head, written)) = driver.take_used() {
                assert_eq!(expected.remove(&head), Some(written));
            }
            assert!(expected.is_empty());
        }
        assert_eq!(driver.lent(), sent.len() + held.len());
    });
}

/// An address that is likely to be interesting: near an edge of something.
fn hostile_address(random: &mut Random) -> u64 {
    let (start, len) = random.pick(&REGIONS);
    let edge = random.pick(&[start, start + len, 0, u64::MAX, TABLES]);
    let near = random.number() % 64;
    if random.once_in(2) { edge.wrapping_add(near) } else { edge.wrapping_sub(near) }
}

fn hostile_descriptor(random: &mut Random, size: u16) -> Descriptor {
    let len = random.pick(&[0, 1, 15, 16, 17, 32, 4096, 1 << 20, 0x7fff_ffff, u32::MAX]);
    let flags = random.below(8);
    let next = if random.once_in(8) { random.number() } else { random.number() % u64::from(size) };
    Descriptor {
        address: hostile_address(random).into(),
        len: len.into(),
        flags: DescriptorFlags(flags.into()),
        next: u16::try_from(next & 0xffff).unwrap().into(),
    }
}

/// Touches the first and the last byte of each span: all of it is in the guest's memory.
fn touch(spans: &[Span]) {
    for span in spans {
        assert!(!span.is_empty());
        let last = span.slice(span.len() - 1, 1).unwrap();
        let mut byte = [0];
        span.read(&mut byte);
        last.read(&mut byte);
        last.write(&byte);
    }
}

/// A descriptor in guest memory, if all of it is there.
fn load(memory: &RigMemory, at: u64) -> Option<Descriptor> {
    // SAFETY: only its presence is looked at.
    let there = |at| unsafe { memory.table.span(GuestAddress(at), 1) }.is_some();
    let all = (0..16).all(|n| at.checked_add(n).is_some_and(there));
    all.then(|| Descriptor::read_from_bytes(&memory.bytes(GuestAddress(at), 16)).unwrap())
}

/// A table in guest memory: its address, and its number of entries.
type TableAt = (u64, u32);

/// The table that a model is in: the ring's own, or an indirect one, with its number and the entry of the
/// ring's that follows it.
#[derive(Clone, Copy)]
enum Table {
    Ring,
    Indirect(TableAt, u32, Option<u16>),
}

/// The writable buffers of a chain, by address and length in bytes, by a walk that remembers every entry of the ring's
/// table and of the first indirect one, and goes through others forward only.
fn writable_buffers(memory: &RigMemory, ring: TableAt, head: u16) -> Vec<(u64, u32)> {
    let (mut buffers, mut seen, mut place, mut next) = (vec![], HashSet::new(), Table::Ring, Some(head));
    let (mut tables, mut forward) = (0, 0);
    loop {
        let (number, (at, entries)) = match place {
            Table::Ring => (0, ring),
            Table::Indirect(table, number, _) => (number, table),
        };
        let entry = next.filter(|&index| {
            let new = if number < 2 { seen.insert((number, index)) } else { u32::from(index) >= forward };
            u32::from(index) < entries && new
        });
        let wire = entry.and_then(|index| load(memory, at.checked_add(16 * u64::from(index))?));
        let (Some(wire), Some(index)) = (wire, entry) else {
            let Table::Indirect(_, _, rest) = place else { return buffers };
            (place, next) = (Table::Ring, rest);
            continue;
        };
        forward = u32::from(index) + 1;
        let (flags, len) = (wire.flags.0.get(), wire.len.get());
        next = (flags & DescriptorFlags::NEXT != 0).then(|| wire.next.get());
        let refers = flags & DescriptorFlags::INDIRECT != 0;
        if refers && number == 0 {
            (tables, forward) = (tables + 1, 0);
            (place, next) = (Table::Indirect((wire.address.get(), len / 16), tables, next), Some(0));
        } else if !refers && flags & DescriptorFlags::WRITE != 0 && len > 0 {
            buffers.push((wire.address.get(), len));
        }
    }
}

/// A chain's last writable byte is the one that the model finds, whatever is wrong with the chain; of a chain at fault
/// whose response is first, its writable bytes are the first that the model finds.
fn check_writable<L: ChainLayout>(memory: &RigMemory, ring: TableAt, chain: &luge_virtqueue::Chain<'_>) {
    // SAFETY: only addresses are compared.
    let host = |at| unsafe { memory.table.span(GuestAddress(at), 1) }.map(|span| span.host());
    let buffers = writable_buffers(memory, ring, chain.head.0);
    if L::RESPONSE == ResponsePlace::First && chain.fault.is_some() {
        let all = buffers.iter().flat_map(|&(at, len)| (0..len.into()).map(move |n| at.checked_add(n)));
        let expected = all.take(L::Response::LEN as usize).map_while(|at| host(at?));
        let byte = |span: &Span, at| span.slice(at, 1).unwrap().host();
        let found = chain.writable.iter().flat_map(|span| (0..span.len()).map(move |at| byte(span, at)));
        return assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{:?}", chain.fault);
    }
    let last = buffers.last().and_then(|&(at, len)| at.checked_add(u64::from(len) - 1));
    let found = chain.writable.last().map(|span| span.slice(span.len() - 1, 1).unwrap().host());
    assert_eq!(found, last.and_then(host), "{:?}", chain.fault);
}

#[test]
fn whatever_a_guest_writes_spans_stay_in_its_memory_takes_end_and_the_response_is_found() {
    hostile_chains::<ResponseLast<16, 1>>();
    hostile_chains::<ResponseFirst<16, 108>>();
}

fn hostile_chains<L: ChainLayout>() {
    let memory = RigMemory::standard();
    let mut list = vec![Span::EMPTY; CHAIN_MAX.into()];
    fuzz(|random| {
        let layout = RigMemory::ring(RigMemory::RINGS.0, 1 << random.below(8_u32));
        let (kind, size) = (notifications(random), layout.size.get());
        let mut driver = Driver::new(layout, kind, 0, &memory.table);
        // SAFETY: the queue outlives the batch's use.
        let mut queue = unsafe { SplitQueue::new(&layout, kind, 0, memory.table.clone()) }.unwrap();
        let mut batch = Batch::<L>::new(&layout);
        for _ in 0..64 {
            for index in 0..size {
                driver.write_descriptor(index, hostile_descriptor(random, size));
            }
            for entry in 0..64 {
                let wire = hostile_descriptor(random, 64);
                memory.write(GuestAddress(TABLES + entry * 16), wire.as_bytes());
            }
            let claims = random.below(size) + 1;
            (0..claims).for_each(|_| driver.push_head(random.below(size)));
            match random.below(64_u32) {
                0 => driver.push_head(random.between(0, u16::MAX)),
                1 => driver.set_available_index(random.between(0, u16::MAX)),
                _ => {}
            }
            let Ok(()) = queue.take(&mut batch, usize::MAX) else { return };
            // Before anything is used: a chain may lie in the used ring.
            for at in 0..batch.len() {
                let Some(chain) = batch.chain(at) else { continue };
                check_writable::<L>(&memory, (layout.descriptors.0, size.into()), &chain);
            }
            for at in 0..batch.len() {
                if batch.is_long(at) {
                    let walked = std::iter::repeat_with(|| queue.walk_long(&mut batch, &mut list));
                    let LongChain { head, end, bytes, .. } = walked.flatten().next().unwrap();
                    let total = u64::from(bytes.readable) + u64::from(bytes.writable);
                    assert_eq!(Span::total(&list[..end]), total);
                    touch(&list[..end]);
                    queue.complete(head, 0);
                    continue;
                }
                check_request(&mut batch, at);
                let chain = batch.chain(at).unwrap();
                touch(chain.readable);
                touch(chain.writable);
                let head = chain.head;
                queue.complete(head, 0);
            }
            let _ = queue.publish();
            let _ = queue.arm();
            queue.disarm();
        }
    });
}
