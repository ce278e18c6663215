//! Servers that end, fall silent, or take memory away while they are used.

use super::Rig;
use super::memory::of_dma;
use super::server::{DOORBELLS, Lie, Script};
use luge_memory::{DmaMemory, MemoryAccess, PageSize, SharedArray};
use luge_spec::vfio_user::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Asserts that a lost server costs nobody time, and that registers show its loss.
fn is_lost(rig: &Rig) {
    let start = Instant::now();
    assert_eq!(rig.function.read32(0x1c), u32::MAX);
    assert_eq!(rig.function.read32(DOORBELLS), u32::MAX);
    rig.function.write32(0x14, 1);
    let memory = DmaMemory::allocate(&rig.space, 4096, PageSize::Base, None).unwrap();
    drop(memory);
    assert!(rig.function.reset().is_err());
    assert!(rig.function.enable_interrupts(1).is_err());
    assert!(rig.function.set_bus_master(MemoryAccess::Allowed).is_err());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_server_that_ends_accesses_no_memory_any_more() {
    let rig = Rig::new(Script::default());
    rig.server.state().script.lie = Some((Command::REGION_READ, Lie::HangUp));
    is_lost(&rig);
    rig.function.set_bus_master(MemoryAccess::Forbidden).unwrap();
}

#[test]
fn a_silent_server_may_access_memory_until_it_closes_the_connection() {
    let rig = Rig::impatient(Script::default());
    rig.server.state().script.lie = Some((Command::REGION_READ, Lie::Silence));
    let stopped = rig.server.state();
    // The server does nothing at all while its state is locked.
    assert_eq!(rig.function.read32(0x1c), u32::MAX);
    let refusal = rig.function.set_bus_master(MemoryAccess::Forbidden).unwrap_err();
    assert!(refusal.to_string().contains("end its process"), "{refusal}");
    drop(stopped);
    let start = Instant::now();
    while rig.function.set_bus_master(MemoryAccess::Forbidden).is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "it sees that nothing more comes, and closes");
        std::thread::yield_now();
    }
    is_lost(&rig);
}

#[test]
fn memory_of_doorbells_that_is_taken_away_ends_the_function_and_nothing_else() {
    let rig = Rig::new(Script::default());
    let span = rig.function.registers(DOORBELLS, 8).unwrap();
    rustix::fs::ftruncate(&rig.server.state().doorbells, 0).unwrap();
    SharedArray::<u32>::new(span).unwrap().store(0, 1, Ordering::Release);
    is_lost(&rig);
}

#[test]
fn memory_that_a_server_refuses_is_an_error_that_names_it() {
    let rig = Rig::new(Script::default());
    rig.server.state().script.lie = Some((Command::DMA_MAP, Lie::Refusal(28)));
    let error = DmaMemory::allocate(&rig.space, 4096, PageSize::Base, None).err().unwrap().to_string();
    assert!(error.contains("cntrl: the server refused DMA_MAP"), "{error}");
    assert!(error.contains("No space left"), "{error}");
    assert_eq!(rig.function.read32(0), 0, "the function is used on");
}

#[test]
fn memory_that_a_server_does_not_let_go_of_is_not_used_again() {
    let rig = Rig::new(Script::default());
    let memory = || DmaMemory::allocate(&rig.space, 4096, PageSize::Base, None).unwrap();
    let iova = |memory: &DmaMemory| of_dma(memory, 0, 1).iova();
    let first = memory();
    let kept = iova(&first);
    rig.server.state().script.lie = Some((Command::DMA_UNMAP, Lie::Refusal(16)));
    drop(first);
    rig.server.state().script.lie = None;
    assert_ne!(iova(&memory()), kept);
}
