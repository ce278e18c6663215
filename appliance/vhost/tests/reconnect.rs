//! Front ends come and go for ever, and leave nothing behind. Alone in its process, whose file
//! descriptors and mappings it counts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use rig::client::{Guest, Message, code, until};
use rig::house::{House, use_disk};

/// File descriptors and mappings of this process.
fn belongings() -> (usize, usize) {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mappings = std::fs::read_to_string("/proc/self/maps").unwrap();
    (files, mappings.lines().filter(|line| line.contains("memfd:guest")).count())
}

/// One front end: it connects, uses its disk, adds memory, and leaves, politely or not.
fn come_and_go(house: &House, round: usize) {
    let mut guest = Guest::new(2);
    let client = guest.connect(&house.path(0));
    use_disk(&mut guest);
    let (layout, file) = Guest::more_memory(0x2_0000_0000, 0x1000);
    client.tell(&Message::memory_region(code::ADD_MEM_REG, &layout, Some(&file))).unwrap();
    if round.is_multiple_of(2) {
        client.tell(&Message::get(code::GET_FEATURES, vec![])).unwrap();
    }
    if round.is_multiple_of(3) {
        client.send(&Message::set(99, vec![])).unwrap();
        assert!(client.is_cut_off());
    }
}

#[test]
fn nothing_is_left_of_front_ends_that_have_left() {
    let house = House::new();
    let settle = |count| {
        until(|| {
            let status = house.endpoint(0).status();
            status.counts.connections == count && status.front_end.is_none()
        });
    };
    come_and_go(&house, 0);
    settle(1);
    let (files, _) = belongings();
    (1..100).for_each(|round| come_and_go(&house, round));
    settle(100);
    // The endpoint drops its own descriptors of a connection soon after that has ended.
    until(|| belongings().0 <= files);
    assert_eq!(belongings().1, 0, "mappings are left");
}
