//! Faults between the driver and an SSD, drawn by seeds: every request ends once, no read returns other data than was
//! written, and the SSD serves on or is given up.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use luge_block::{CoreId, Device, Lba};
use luge_memory::DmaSpace;
use luge_nvme::doubles::{Fault, FaultControl, Faults, FaultyFunction, Place, VerifiedLoad};
use luge_nvme::scripted::{Rig, Script, ScriptedSsd};
use luge_nvme::{Controller, ControllerError, ControllerState, Options};
use luge_seeded::Random;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A scripted SSD on a thread of its own, with faults between it and its driver.
struct World {
    controller: Arc<Controller>,
    control: FaultControl,
    ssd: Running,
    space: Arc<DmaSpace>,
}

/// SSD that serves until it is dropped.
struct Running {
    ssd: Arc<ScriptedSsd>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(space: &DmaSpace) -> Self {
        let ssd = ScriptedSsd::new(Script::default(), space);
        let (serving, stop) = (ssd.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if serving.step() == 0 {
                    std::thread::sleep(Duration::from_micros(20));
                }
            }
        });
        Self { ssd, stop, thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().unwrap().join();
        assert!(joined.is_ok() || std::thread::panicking());
    }
}

impl World {
    fn new(faults: Faults) -> Result<Self, ControllerError> {
        Self::with_timeout(faults, Duration::from_millis(60))
    }

    fn with_timeout(faults: Faults, command_timeout: Duration) -> Result<Self, ControllerError> {
        let space = DmaSpace::new();
        let ssd = Running::start(&space);
        let (function, control) = FaultyFunction::wrap(ssd.ssd.function(), &space, faults);
        let options = Options { command_timeout, ..Rig::options() };
        let controller = Controller::start(function, space.clone(), options)?;
        Ok(Self { controller, control, ssd, space })
    }

    fn load(&self, core: u16, seed: u64) -> VerifiedLoad {
        let channel = self.controller.namespaces()[0].open(CoreId(core)).unwrap();
        let place = Place { first: Lba(u64::from(core) * 1000), depth: 6, block_bytes: 512 };
        VerifiedLoad::new(channel, &self.space, place, seed)
    }

    /// Ends the faults; asserts that all requests end, and that more succeed unless the SSD was given up.
    fn recovers(&self, load: &mut VerifiedLoad) {
        self.control.end();
        Rig::until("all requests have ended", || load.drain() == 0);
        let before = load.tally();
        Rig::until("it serves on, or is given up", || {
            load.turn();
            load.tally().good > before.good + 20 || self.controller.state() == ControllerState::Gone
        });
        Rig::until("all requests have ended", || load.drain() == 0);
        // An address register that was not written leads anywhere.
        let lost = self.control.injected(Fault::WriteDropped);
        let injected: Vec<_> =
            Fault::ALL.into_iter().map(|fault| (fault, self.control.injected(fault))).collect();
        let faults = self.ssd.ssd.dma_faults();
        assert!(faults == 0 || lost > 0, "{faults} accesses to memory that was not mapped: {injected:?}");
    }
}

/// Asserts that a kind of fault ends no request wrongly; returns the world after it.
fn survives(fault: Fault, one_in: u32) -> World {
    let world = World::new(Faults::new(1)).unwrap();
    let mut load = world.load(0, 1);
    world.control.set(Faults::new(fault as u64).with(fault, one_in));
    Rig::until("the fault was injected", || {
        load.turn();
        world.control.injected(fault) > 0 && load.tally().good > 20
    });
    world.recovers(&mut load);
    world
}

#[test]
fn doorbells_that_are_lost_or_late_lose_no_request() {
    survives(Fault::DoorbellDropped, 20);
    survives(Fault::DoorbellLate, 5);
}

#[test]
fn completions_that_are_lost_or_late_lose_no_request() {
    survives(Fault::CompletionDropped, 20);
    survives(Fault::CompletionLate, 5);
}

#[test]
fn completions_that_are_no_answer_end_no_request_and_the_ssd_is_reset() {
    for fault in [Fault::CompletionTwice, Fault::WrongIdentifier] {
        let world = survives(fault, 20);
        assert!(world.ssd.ssd.account().controller_resets > 0, "{fault:?}");
    }
}

#[test]
fn an_ssd_that_reports_a_fatal_error_is_reset() {
    let world = survives(Fault::Fatal, 2);
    assert!(world.ssd.ssd.account().controller_resets > 0);
}

#[test]
fn an_ssd_that_is_absent_for_a_moment_is_reset_or_given_up() {
    let world = World::new(Faults::new(1)).unwrap();
    let mut load = world.load(0, 1);
    world.control.set(Faults::new(0).with(Fault::ReadOfOnes, 2));
    Rig::until("it was reset, or given up", || {
        load.turn();
        let account = world.ssd.ssd.account();
        account.controller_resets + account.function_resets > 0
            || world.controller.state() == ControllerState::Gone
    });
    world.recovers(&mut load);
}

#[test]
fn register_writes_that_are_lost_or_late_while_an_ssd_is_reset_end_no_request_wrongly() {
    for seed in 0..4 {
        let world = World::new(Faults::new(1)).unwrap();
        let mut load = world.load(0, seed);
        let faults = Faults::new(seed).with(Fault::Fatal, 3).with(Fault::WriteDropped, 8);
        world.control.set(faults.with(Fault::WriteLate, 4));
        Rig::until("it was reset", || {
            load.turn();
            world.ssd.ssd.account().controller_resets > 0 || world.controller.state() != ControllerState::Live
        });
        world.recovers(&mut load);
    }
}

#[test]
fn resets_that_are_torn_end_no_request_before_the_ssd_is_stopped() {
    for seed in 0..6 {
        let world = World::new(Faults::new(1)).unwrap();
        let mut load = world.load(0, seed);
        world.ssd.ssd.script(|script| script.disable_works = false);
        let faults = Faults::new(seed).with(Fault::Fatal, 2).with(Fault::ResetTorn, 2);
        world.control.set(faults.with(Fault::BusMasterKept, 2));
        Rig::until("it was reset, or given up", || {
            load.turn();
            let account = world.ssd.ssd.account();
            account.function_resets > 0 || world.controller.state() == ControllerState::Gone
        });
        world.ssd.ssd.script(|script| script.disable_works = true);
        world.recovers(&mut load);
    }
}

#[test]
fn one_of_two_ssds_that_fails_again_and_again_disturbs_the_other_not_at_all() {
    let long = Duration::from_secs(60);
    let (good, bad) =
        (World::with_timeout(Faults::new(0), long).unwrap(), World::new(Faults::new(0)).unwrap());
    let (mut on_good, mut on_bad) = (good.load(0, 1), bad.load(0, 2));
    bad.control.set(Faults::new(3).with(Fault::WrongIdentifier, 40));
    Rig::until("several resets", || {
        on_good.turn();
        on_bad.turn();
        bad.ssd.ssd.account().controller_resets >= 3 || bad.controller.state() == ControllerState::Gone
    });
    Rig::until("all requests have ended", || on_good.drain() == 0);
    assert!(on_good.tally().good > 0);
    assert_eq!(on_good.tally().aborted, 0);
    assert_eq!(good.ssd.ssd.account().controller_resets, 0);
    bad.recovers(&mut on_bad);
}

#[test]
fn an_ssd_that_is_taken_out_among_faults_ends_every_request_once() {
    let world = World::new(Faults::new(0)).unwrap();
    let mut load = world.load(0, 1);
    world.control.set(Faults::new(5).with(Fault::CompletionLate, 3).with(Fault::DoorbellDropped, 10));
    Rig::until("some requests", || {
        load.turn();
        load.tally().good > 50
    });
    world.ssd.ssd.recall();
    Rig::until("the host has it, and all requests have ended", || {
        load.turn();
        world.ssd.ssd.account().handed_back && load.drain() == 0
    });
    assert_eq!(world.controller.state(), ControllerState::Gone);
}

/// Kinds of faults of a case, each with a rate.
fn any_faults(random: &mut Random) -> Faults {
    let kinds = random.between(1_usize, 4);
    (0..kinds).fold(Faults::new(random.number()), |faults, _| {
        faults.with(random.pick(&Fault::ALL), random.between(2_u32, 40))
    })
}

#[test]
fn whatever_goes_wrong_a_bring_up_fails_or_serves_and_every_request_ends_once() {
    luge_seeded::fuzz(|random| {
        let Ok(world) = World::new(any_faults(random)) else { return };
        world.control.end();
        // A controller that was told less than it was to be is reset by its supervisor.
        Rig::until("it is live, or given up", || world.controller.state() != ControllerState::Stuck);
        if world.controller.state() == ControllerState::Gone {
            return;
        }
        let Ok(channel) = world.controller.namespaces()[0].open(CoreId(0)) else { return };
        let place = Place { first: Lba(0), depth: 6, block_bytes: 512 };
        let mut load = VerifiedLoad::new(channel, &world.space, place, random.number());
        world.control.set(any_faults(random));
        for _ in 0..random.between(50_u32, 300) {
            load.turn();
            std::thread::sleep(Duration::from_micros(100));
        }
        world.recovers(&mut load);
    });
}
