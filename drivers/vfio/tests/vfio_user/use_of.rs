//! Use of a function: registers, doorbells, memory, interrupts, reset.

use super::Rig;
use super::memory::{of_dma, of_mapping};
use super::server::{DOORBELLS, Doorbells, Script, Server};
use luge_memory::{DmaMemory, DmaSpace, Mapping, MemoryAccess, PageSize, PciId, SharedArray};
use luge_spec::vfio_user::Command;
use luge_vfio::VfioUser;
use rustix::event::{PollFd, PollFlags, poll};
use std::sync::atomic::Ordering;

#[test]
fn registers_are_read_and_written_by_messages() {
    let rig = Rig::new(Script::default());
    rig.function.write32(0x14, 0x0046_0001);
    assert_eq!(rig.function.read32(0x14), 0x0046_0001);
    assert_eq!(rig.server.state().bar[0x14..0x18], [1, 0, 0x46, 0]);
    assert_eq!(rig.function.id(), PciId { vendor: 0x4e4e, device: 1 });
    for offset in [0x2000, 0x1fff, 2, u32::MAX] {
        rig.function.write32(offset, 0);
        assert_eq!(rig.function.read32(offset), u32::MAX, "{offset:#x}");
    }
}

#[test]
fn a_socket_is_named_by_its_path_or_by_its_directory() {
    let server = Server::start(Script::default());
    let socket = server.folder().join("cntrl");
    let function = VfioUser::new(DmaSpace::new()).open_function(&socket).unwrap();
    assert_eq!(function.name(), socket.to_str().unwrap());
    assert_eq!(VfioUser::socket(&server.folder()), socket);
}

#[test]
fn mapped_doorbells_are_memory_of_the_server() {
    let rig = Rig::new(Script::default());
    let span = rig.function.registers(DOORBELLS + 8, 8).unwrap();
    SharedArray::<u32>::new(span).unwrap().store(1, 7, Ordering::Release);
    rig.function.write32(DOORBELLS, 5);
    let messages = rig.server.state().log.len();
    let shared = Mapping::new(&rig.server.state().doorbells, 0x1000, 0x1000).unwrap();
    let word = |at| of_mapping(&shared, at, 4).first::<4>().unwrap();
    assert_eq!(word(0), [5, 0, 0, 0]);
    assert_eq!(word(12), [7, 0, 0, 0]);
    assert_eq!(rig.server.state().log.len(), messages, "no message was needed");
    assert!(rig.function.registers(0x1ffc, 8).is_err());
}

#[test]
fn doorbells_that_cannot_be_mapped_are_sent_before_any_register_that_is_written_after_them() {
    for doorbells in [Doorbells::Messages, Doorbells::NotMemory, Doorbells::PastTheEnd] {
        let rig = Rig::new(Script { doorbells, ..Script::default() });
        let span = rig.function.registers(DOORBELLS + 8, 8).unwrap();
        let words = SharedArray::<u32>::new(span).unwrap();
        words.store(0, 3, Ordering::Release);
        rig.server.until("the doorbell comes by itself", |state| state.bar[0x1008] == 3);
        for round in 0..20 {
            words.store(1, round, Ordering::Release);
            rig.function.write32(0x14, round);
        }
        let state = rig.server.state();
        let writes =
            state.log.iter().filter(|(command, at, _)| *command == Command::REGION_WRITE && *at != 4);
        let writes: Vec<_> = writes.map(|&(_, at, value)| (at, value)).collect();
        let rounds = (0..20).flat_map(|round| [(0x100c, round), (0x14, round)]);
        assert!(writes.into_iter().eq([(0x1008, 3)].into_iter().chain(rounds)));
    }
}

#[test]
fn memory_is_announced_with_its_file_and_withdrawn_when_it_goes() {
    let (space, server) = (DmaSpace::new(), Server::start(Script::default()));
    let before = DmaMemory::allocate(&space, 8192, PageSize::Base, None).unwrap();
    let function = VfioUser::new(space.clone()).open_function(&server.folder()).unwrap();
    let after = DmaMemory::allocate(&space, 4096, PageSize::Base, None).unwrap();
    for (memory, at) in [(&before, 4096), (&after, 0)] {
        let ours = of_dma(memory, at, 16);
        ours.write(b"to the server...");
        let theirs = server.memory(ours.iova().0 - at);
        assert_eq!(&of_mapping(&theirs, at, 16).first::<16>().unwrap(), b"to the server...");
    }
    drop(after);
    assert_eq!(server.state().maps.len(), 1);
    function.hand_back().unwrap();
    drop(before);
    assert_eq!(server.state().maps.len(), 1, "a function that was handed back is told nothing more");
}

#[test]
fn an_interrupt_is_an_eventfd_that_the_server_signals() {
    let rig = Rig::new(Script::default());
    assert_eq!(rig.function.vectors(), 4);
    assert!(rig.function.enable_interrupts(5).is_err());
    rig.function.enable_interrupts(2).unwrap();
    let eventfds = rig.function.enable_interrupts(1).unwrap();
    assert_eq!(rig.server.state().eventfds.len(), 1, "earlier ones are routed nowhere");
    rustix::io::write(&rig.server.state().eventfds[0], &1u64.to_ne_bytes()).unwrap();
    let readable = poll(&mut [PollFd::new(&eventfds[0], PollFlags::IN)], None).unwrap();
    assert_eq!(readable, 1);
}

#[test]
fn a_reset_keeps_the_access_to_memory_that_the_driver_has_set() {
    let rig = Rig::new(Script::default());
    let command = || rig.server.state().config[4];
    assert_eq!(command(), 2, "it accesses no memory at first");
    rig.function.set_bus_master(MemoryAccess::Allowed).unwrap();
    rig.function.reset().unwrap();
    assert_eq!(rig.server.state().resets, 2, "one when it was attached");
    assert_eq!(command(), 6);
    rig.function.set_bus_master(MemoryAccess::Forbidden).unwrap();
    assert_eq!(command(), 2);
}
