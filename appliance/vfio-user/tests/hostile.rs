//! Clients that break off, say what cannot be, or say nothing. Each harms itself only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_memory::stall::{PageFault, note};
use luge_seeded::{Random, fuzz};
use luge_spec::vfio_user::{
    Command, DmaMap, Header, InterruptIndex, MessageFlags, RegionAccess, RegionIndex, RegionInfo,
    SetInterrupts, SetInterruptsFlags, WriteMulti,
};
use luge_vfio_user::EndpointError;
use rig::client::{Client, command, map, memory_file, message, unmap};
use rig::{House, endpoint, until};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::ftruncate;
use rustix::io::Errno;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

const PAGE: u64 = 0x1000;

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A good session: messages, each with the number of its files.
fn script() -> Vec<Part> {
    let irqs = SetInterrupts {
        argsz: 20.into(),
        flags: SetInterruptsFlags(
            (SetInterruptsFlags::DATA_EVENTFD | SetInterruptsFlags::ACTION_TRIGGER).into(),
        ),
        index: InterruptIndex::MSIX,
        start: 0.into(),
        count: 4.into(),
    };
    let info = RegionInfo { argsz: 64.into(), ..Default::default() };
    let access = RegionAccess { offset: 0.into(), region: RegionIndex::BAR0, count: 8.into() };
    let write = [access.as_bytes(), &[7; 8]].concat();
    let json = b"\0\0\0\0{\"capabilities\":{\"max_msg_fds\":16}}\0";
    let part = |bytes: Vec<u8>, files| Part { bytes, files };
    vec![
        part(command(Command::VERSION, &json[..]), 0),
        part(command(Command::GET_INFO, &[0_u8; 16]), 0),
        part(command(Command::GET_REGION_INFO, &info), 0),
        part(command(Command::GET_REGION_IO_FDS, &[0_u8; 16]), 0),
        part(command(Command::GET_IRQ_INFO, &[0_u8; 16]), 0),
        part(command(Command::DMA_MAP, &map(0, PAGE, 0)), 1),
        part(command(Command::SET_IRQS, &irqs), 4),
        part(command(Command::REGION_READ, &access), 0),
        part(command(Command::REGION_WRITE, &write[..]), 0),
        part(command(Command::REGION_WRITE_MULTI, &WriteMulti::default()), 0),
        part(command(Command::DMA_UNMAP, &unmap(0, PAGE)), 0),
        part(command(Command::DEVICE_RESET, &[0_u8; 0]), 0),
    ]
}

/// Message of a session.
struct Part {
    bytes: Vec<u8>,
    files: usize,
}

/// Plays the first messages of a good session.
fn play(house: &House, count: usize) -> Client {
    let client = Client::connect(&house.path());
    for part in script().iter().take(count) {
        assert_eq!(ask(&client, part), 0);
    }
    client
}

fn ask(client: &Client, part: &Part) -> i32 {
    let files: Vec<_> = (0..part.files).map(|_| memory_file(PAGE)).collect();
    client.ask_with(&part.bytes, &files.iter().map(AsFd::as_fd).collect::<Vec<_>>()).error()
}

/// Waits until no function is left.
fn until_all_left(house: &House) {
    until(|| {
        let state = house.record.state();
        state.departures == state.connections
    });
}

/// A new client is served.
fn check(house: &House) {
    drop(play(house, script().len()));
    until_all_left(house);
}

#[test]
fn a_client_may_leave_in_the_middle_of_each_message() {
    let house = House::new();
    for (index, part) in script().iter().enumerate() {
        for cut in [1, 8, 15, 16, 17, part.bytes.len() - 1].into_iter().filter(|&cut| cut < part.bytes.len())
        {
            let client = play(&house, index);
            let file = memory_file(PAGE);
            client.send(&part.bytes[..cut], &[file.as_fd()]).unwrap();
            drop(client);
        }
        check(&house);
    }
    assert_eq!(house.protocol_errors(), 0, "leaving is no fault");
    assert_eq!(house.record.regions(), 0);
}

#[test]
fn a_message_that_is_shorter_than_its_command_needs_is_refused() {
    let house = House::new();
    let client = house.client();
    for part in script().iter().skip(1) {
        for len in (0..part.bytes.len() - size_of::<Header>()).step_by(3) {
            let payload = &part.bytes[size_of::<Header>()..][..len];
            let number = Command(u16::from_le_bytes([part.bytes[2], part.bytes[3]]).into());
            let reply = client.ask(&command(number, payload));
            assert_eq!(reply.error(), Errno::INVAL.raw_os_error(), "{number} of {len} bytes");
        }
    }
    assert_eq!(client.ask(&command(Command::GET_INFO, &[0_u8; 16])).error(), 0);
}

#[test]
fn a_message_of_an_impossible_size_ends_the_connection() {
    let house = House::new();
    for size in [0, 15, 1 << 17, u32::MAX] {
        let client = house.client();
        let mut bytes = command(Command::GET_INFO, &[0_u8; 16]);
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        client.send(&bytes, &[]).unwrap();
        assert!(client.has_ended(), "{size}");
    }
    until(|| house.protocol_errors() == 4);
    check(&house);
}

#[test]
fn who_begins_with_anything_but_a_version_is_cut_off() {
    let house = House::new();
    for part in script().iter().skip(1) {
        let client = Client::connect(&house.path());
        client.send(&part.bytes, &[]).unwrap();
        assert!(client.has_ended());
    }
    for (bytes, error) in [
        (command(Command::VERSION, &[1_u8, 0, 0, 0]), Errno::NOTSUP),
        (command(Command::VERSION, b"\0\0\0\0{\"capabilities\":7}\0"), Errno::INVAL),
        (command(Command::VERSION, &[0_u8; 3]), Errno::INVAL),
    ] {
        let client = Client::connect(&house.path());
        assert_eq!(client.ask(&bytes).error(), error.raw_os_error());
        assert!(client.has_ended());
    }
    check(&house);
}

#[test]
fn who_sends_replies_or_what_is_no_command_is_cut_off() {
    let house = House::new();
    for flags in [1, 2, 15, 0x21] {
        let client = house.client();
        client.send(&message(Command::DMA_READ, MessageFlags(flags.into()), &[0; 16]), &[]).unwrap();
        assert!(client.has_ended(), "{flags:#x}");
    }
    check(&house);
}

#[test]
fn files_that_nobody_wants_are_closed() {
    let house = House::new();
    let client = house.client();
    let before = open_files();
    for count in [1, 16, 17, 100] {
        let files: Vec<OwnedFd> = (0..count).map(|_| eventfd(0, EventfdFlags::CLOEXEC).unwrap()).collect();
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        for _ in 0..50 {
            for part in script().iter().filter(|part| part.files == 0).skip(1) {
                client.send(&part.bytes, &files).unwrap();
                client.receive().expect("it is answered all the same");
            }
        }
        for number in [Command::DMA_MAP, Command::SET_IRQS] {
            let part = script().into_iter().find(|part| part.bytes[2..4] == *number.0.as_bytes()).unwrap();
            if count > 1 {
                let error = client.ask_with(&part.bytes, &files).error();
                assert_eq!(error, Errno::INVAL.raw_os_error(), "{number} with {count} files");
            }
        }
    }
    // Other tests of this process open files, too.
    assert!(open_files() < before + 500, "{before} before, {} now", open_files());
}

#[test]
fn a_client_that_stops_in_a_header_keeps_its_function_alive_and_others_out_for_a_second() {
    let house = House::new();
    let silent = Client::connect(&house.path());
    silent.send(&command(Command::VERSION, &[0_u8; 4])[..7], &[]).unwrap();
    until(|| house.record.state().connections == 1);
    house.record.signal();
    until(|| house.record.state().events > 0);
    let start = Instant::now();
    let next = house.client();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(silent.has_ended());
    assert_eq!(next.ask(&command(Command::GET_INFO, &[0_u8; 16])).error(), 0);
}

#[test]
fn a_client_that_reads_no_replies_delays_only_itself() {
    let house = House::new();
    let client = house.client();
    client.stream.set_nonblocking(true).unwrap();
    let access = RegionAccess { offset: 0.into(), region: RegionIndex::BAR0, count: 0x1000.into() };
    let bytes = command(Command::REGION_READ, &access);
    while (&client.stream).write_all(&bytes).is_ok() {}
    let events = house.record.state().events;
    house.record.signal();
    until(|| house.record.state().events > events);
    let departures = house.record.state().departures;
    drop(client);
    until(|| house.record.state().departures > departures);
    check(&house);
}

#[test]
fn a_second_client_is_told_that_another_is_served() {
    let house = House::new();
    let first = house.client();
    for _ in 0..3 {
        let second = Client::connect(&house.path());
        let reply = second.ask(&command(Command::VERSION, &[0_u8; 4]));
        assert_eq!(reply.error(), Errno::BUSY.raw_os_error());
        assert!(second.has_ended());
    }
    assert_eq!(first.ask(&command(Command::GET_INFO, &[0_u8; 16])).error(), 0);
    until(|| house.endpoint.clients().counts.refused == 3);
    assert_eq!(house.endpoint.clients().counts.connections, 1);
    drop(first);
    until(|| house.record.state().departures == 1);
    house.client();
}

#[test]
fn the_client_after_one_that_was_killed_is_not_refused() {
    let house = House::new();
    for _ in 0..50 {
        // The connection before may still be ending.
        drop(house.client());
    }
    assert_eq!(house.endpoint.clients().counts.refused, 0);
}

#[test]
fn memory_files_beyond_the_file_descriptors_are_refused_and_taken_when_others_have_gone() {
    // Those of the endpoint, and for three files.
    let house = House::with_descriptors(224 + 33 + 3);
    let client = house.client();
    let files: Vec<OwnedFd> = (0..4).map(|_| memory_file(2 * PAGE)).collect();
    let place = |n: u64| map(n * 2 * PAGE, PAGE, 0);
    for (n, file) in (0..3).zip(&files) {
        assert_eq!(client.map(place(n), file), 0);
    }
    assert_eq!(client.map(place(3), &files[3]), Errno::MFILE.raw_os_error());
    assert_eq!(client.unmap(unmap(0, PAGE)), 0);
    assert_eq!(client.map(place(3), &files[3]), 0);
    assert_eq!(client.unmap(unmap(2 * PAGE, PAGE)), 0);
    assert_eq!(
        client.map(map(16 * PAGE, PAGE, PAGE), &files[2]),
        0,
        "another piece of a file that is mapped"
    );
}

#[test]
fn tens_of_thousands_of_pieces_are_mapped_in_reasonable_time_and_no_more_than_that() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(65536));
    let (before, start) = (open_files(), Instant::now());
    let send = |n: u64| {
        let piece = map(n * 3 * 64 + 1, 63, n * 8 % 65000);
        let bytes = message(Command::DMA_MAP, MessageFlags::COMMAND_WITHOUT_REPLY, piece.as_bytes());
        client.send(&bytes, &[file.as_fd()]).unwrap();
    };
    (0..65_535).for_each(send);
    assert_eq!(client.ask(&command(Command::GET_INFO, &[0_u8; 16])).error(), 0);
    assert_eq!(house.record.regions(), 65_535);
    assert_eq!(client.map(map(1 << 40, PAGE, 0), &file), Errno::NOSPC.raw_os_error());
    assert_eq!(client.unmap(unmap(1, 63)), 0);
    assert_eq!(client.map(map(1 << 40, PAGE, 0), &file), 0);
    assert!(open_files() < before + 500, "{} files", open_files());
    drop(client);
    until(|| house.record.state().departures == 1);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_client_that_takes_its_memory_away_is_cut_off() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(2 * PAGE));
    assert_eq!(client.map(map(0, 2 * PAGE, 0), &file), 0);
    ftruncate(&file, 0).unwrap();
    assert_eq!(house.record.word_at(PAGE), Some(0), "zeroes of ours");
    assert!(client.has_ended());
    until(|| house.protocol_errors() == 1);
    check(&house);
}

#[test]
fn two_endpoints_in_one_folder_and_a_folder_that_is_not_there_are_refused_by_name() {
    let house = House::new();
    let error = endpoint(&house.path(), &house.record).err().unwrap();
    assert!(matches!(error, EndpointError::Socket(_)), "{error}");
    assert!(error.to_string().contains("cntrl"), "{error}");
    let nowhere = house.path().with_file_name("none").join("cntrl");
    let error = endpoint(&nowhere, &house.record).err().unwrap();
    assert!(error.to_string().contains("none"), "{error}");
    check(&house);
}

#[test]
fn an_endpoint_stops_while_its_client_is_in_the_middle_of_a_message() {
    let house = House::new();
    let client = house.client();
    client.send(&command(Command::GET_INFO, &[0_u8; 16])[..20], &[]).unwrap();
    let path = house.path();
    house.endpoint.stop();
    assert!(client.has_ended());
    assert!(!path.exists());
}

/// A message that is a good one with some bytes changed, or noise.
fn mutated(random: &mut Random) -> Vec<u8> {
    let script = script();
    let mut bytes = script[random.below(script.len())].bytes.clone();
    for _ in 0..random.below(4_u32) {
        let at = random.below(bytes.len());
        bytes[at] = random.pick(&[0, 1, 0x7f, 0xff, bytes[at] ^ 1, bytes[at].wrapping_add(1)]);
    }
    if random.once_in(4) {
        let len = random.below(100_usize);
        bytes.extend(random.bytes(len));
    }
    if !random.once_in(8) {
        let size = u32::try_from(bytes.len()).unwrap();
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
    }
    bytes
}

#[test]
fn whatever_a_client_sends_the_next_one_is_served() {
    let house = House::new();
    fuzz(|random| {
        let client = house.client();
        let file = memory_file(16 * PAGE);
        client.stream.set_nonblocking(true).unwrap();
        for _ in 0..random.below(40_u32) {
            let files = vec![file.as_fd(); random.pick(&[0, 0, 1, 1, 4, 20])];
            if client.send(&mutated(random), &files).is_err() {
                break;
            }
            if random.once_in(2) {
                let mut replies = [0; 4096];
                let _ = rustix::net::recv(&client.stream, &mut replies, rustix::net::RecvFlags::DONTWAIT);
            }
        }
        drop(client);
        until_all_left(&house);
        let next = house.client();
        assert_eq!(house.record.regions(), 0);
        assert_eq!(
            next.ask(&command(Command::DMA_MAP, &DmaMap::default())).error(),
            Errno::INVAL.raw_os_error()
        );
        drop(next);
        until_all_left(&house);
    });
}

/// Notes that a core has waited for a client's memory at an address, as a core does.
fn stall(house: &House, at: u64) {
    let address = house.record.host_address(at).unwrap();
    let fault = PageFault { address, took: Duration::from_millis(390) };
    assert!(note(&fault), "memory that a client shares");
}

#[test]
fn a_function_whose_client_keeps_a_core_waiting_is_told_once_to_leave_the_cores_and_others_are_not() {
    let (house, other) = (House::new(), House::new());
    let (client, bystander) = (house.client(), other.client());
    for client in [&client, &bystander] {
        assert_eq!(client.map(map(0, 2 * PAGE, 0), &memory_file(2 * PAGE)), 0);
    }
    stall(&house, PAGE);
    until(|| house.record.state().moves == 1);
    assert_eq!(house.endpoint.clients().stalls.longest, Duration::from_millis(390));
    stall(&house, PAGE);
    assert_eq!(bystander.ask(&command(Command::GET_INFO, &[0_u8; 16])).error(), 0);
    assert_eq!(client.ask(&command(Command::GET_INFO, &[0_u8; 16])).error(), 0);
    assert_eq!(house.record.state().moves, 1);
    assert_eq!(other.record.state().moves, 0);
    drop(client);
    check(&house);
    assert_eq!(house.endpoint.clients().stalls.count, 0, "the next client has done nothing");
}

#[test]
fn a_client_that_comes_with_memory_that_has_kept_a_core_waiting_is_not_served_by_one() {
    let (house, other) = (House::new(), House::new());
    let (first, second, file) = (house.client(), other.client(), memory_file(2 * PAGE));
    assert_eq!(first.map(map(0, 2 * PAGE, 0), &file), 0);
    stall(&house, 0);
    assert_eq!(second.map(map(0, 2 * PAGE, 0), &file), 0);
    until(|| other.record.state().moves >= 1);
    // The watch may have come to the second client after it mapped the memory, too.
    stall(&house, 0);
    assert_eq!(second.map(map(2 * PAGE, PAGE, 0), &file), 0);
    for client in [&first, &second] {
        assert_eq!(client.ask(&command(Command::GET_INFO, &[0_u8; 16])).error(), 0);
    }
    assert_eq!(other.record.state().moves, 1);
}

#[test]
fn a_client_whose_function_fails_is_cut_off() {
    let house = House::new();
    let client = house.client();
    house.record.state().failure = Some("no core".into());
    house.record.signal();
    assert!(client.has_ended());
    until(|| house.protocol_errors() == 1);
}
