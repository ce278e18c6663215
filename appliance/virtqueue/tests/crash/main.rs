//! A server that is killed at every instruction, and the one that comes after it: no request is lost, none
//! is answered twice, and all data is right.
//!
//! The server runs in a child process, an instruction at a time. Whenever that has changed shared memory,
//! a copy of the memory is what a kill at this moment would leave: a new server goes on from the copy, and
//! the driver judges its answers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::cast_possible_truncation, reason = "few sectors")]

mod driver;
mod server;
mod stepping;
mod world;

use driver::Driver;
use luge_virtqueue::rig::{Random, fuzz};
use server::Server;
use stepping::Stepped;
use world::{CELLS, World};

/// A moment at which a server may be killed: the memory, and what its driver waits for.
struct Moment {
    memory: Vec<u8>,
    driver: Driver,
}

/// A new server goes on from there: every request is answered, and the ring lives.
fn recover(world: &World, moment: &Moment, random: &mut Random) {
    world.load(&moment.memory);
    let mut driver = moment.driver.clone();
    let expected = driver.answered + driver.lent();
    let mut server = Server::start(world);
    server.run(random);
    driver.reap(world);
    assert_eq!((driver.lent(), driver.answered), (0, expected), "requests are lost");
    world.assert_settled();
    (0..CELLS).for_each(|_| driver.add(world, random));
    server.run(random);
    driver.reap(world);
    assert_eq!(driver.lent(), 0, "the ring is dead");
}

/// Runs a server step by step, with a driver beside it; returns all moments that differ. Each is recovered from.
fn step_through(moment: Moment, turns: u32, random: &mut Random) -> Vec<Moment> {
    let (world, copy) = (World::new(), World::new());
    world.load(&moment.memory);
    let Moment { mut memory, mut driver } = moment;
    let seed = random.number();
    let child = Stepped::start(|| {
        let (mut server, mut random) = (Server::start(&world), Random::new(seed));
        (0..turns).for_each(|_| server.turn(&mut random));
    });
    let mut moments = Vec::new();
    while child.step() {
        if random.once_in(2000) {
            driver.reap(&world);
            driver.add(&world, random);
        }
        let now = world.save();
        if now != memory {
            memory = now;
            let moment = Moment { memory: memory.clone(), driver: driver.clone() };
            recover(&copy, &moment, random);
            moments.push(moment);
        }
    }
    moments
}

fn some_requests(random: &mut Random) -> Moment {
    let world = World::new();
    let base = random.pick(&[0, 7, 0xfffe, 0xffff]);
    let mut driver = Driver::new(&world, base);
    (0..CELLS).for_each(|_| driver.add(&world, random));
    Moment { memory: world.save(), driver }
}

#[test]
fn a_kill_at_any_instruction_loses_no_request_and_repeats_none() {
    let random = &mut Random::new(1);
    let start = std::time::Instant::now();
    let moments = step_through(some_requests(random), 4, random);
    eprintln!("{} moments, {:?}", moments.len(), start.elapsed());
    assert!(moments.len() > 40, "{} moments", moments.len());
}
