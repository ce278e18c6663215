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
use luge_seeded::{Random, fuzz};
use luge_virtqueue::Batch;
use server::Server;
use stepping::Child;
use world::{CELLS, World};

/// A moment at which a server may be killed: the memory, and what its driver waits for.
struct Moment {
    memory: Vec<u8>,
    driver: Driver,
}

impl Moment {
    /// A driver that waits for requests, and no server yet. The indices are about to wrap, or not.
    fn start(random: &mut Random) -> Self {
        let world = World::new();
        let mut driver = Driver::new(&world, random.pick(&[0, 7, 0xfffe, 0xffff]));
        (0..CELLS).for_each(|_| driver.add(&world, random));
        Self { memory: world.save(), driver }
    }

    /// Goes on with a new server, in `world`: every request is answered, and the ring lives.
    fn recover(&self, world: &World, random: &mut Random) {
        world.load(&self.memory);
        let mut driver = self.driver.clone();
        let expected = driver.answered + driver.lent();
        let mut server = Server::start(world);
        server.run(random);
        driver.reap(world);
        assert_eq!(driver.answered, expected, "requests are lost");
        world.assert_settled();
        (0..CELLS).for_each(|_| driver.add(world, random));
        server.run(random);
        driver.reap(world);
        assert_eq!(driver.lent(), 0, "the ring is dead");
    }

    /// Runs a new server step by step, with the driver beside it. Each moment is recovered from;
    /// returns them.
    fn step_through(self, turns: u32, random: &mut Random) -> Vec<Self> {
        let (world, copy) = (World::new(), World::new());
        let Self { mut memory, mut driver } = self;
        world.load(&memory);
        let seed = random.number();
        let prepare = || (Batch::new(&world.layout), Random::new(seed));
        let child = Child::start(prepare, |(batch, mut random)| {
            let mut server = Server::with(&world, batch);
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
                let moment = Self { memory: memory.clone(), driver: driver.clone() };
                moment.recover(&copy, random);
                moments.push(moment);
            }
        }
        moments
    }
}

#[test]
fn a_kill_at_any_instruction_and_another_during_recovery_lose_no_request_and_repeat_none() {
    fuzz(|random| {
        let mut moments = Moment::start(random).step_through(3, random);
        assert!(moments.len() > 5, "{} moments", moments.len());
        let any = random.below(moments.len());
        moments.swap_remove(any).step_through(1, random);
    });
}

#[test]
fn a_server_that_ends_after_any_operation_loses_no_request_and_repeats_none() {
    let world = World::new();
    fuzz(|random| {
        let moment = Moment::start(random);
        world.load(&moment.memory);
        // The region is fresh at the start only.
        let mut driver = moment.driver;
        for _ in 0..100 {
            let mut server = Server::start(&world);
            for _ in 0..random.below(20_u32) {
                match random.below(3_u32) {
                    0 => driver.add(&world, random),
                    1 => server.take(random.below(5)),
                    _ => server.answer(random.below(server.held() + 1), random),
                }
                driver.reap(&world);
            }
        }
        Server::start(&world).run(random);
        driver.reap(&world);
        assert_eq!(driver.lent(), 0, "requests are lost");
        world.assert_settled();
    });
}

#[test]
fn a_server_that_is_killed_again_and_again_under_load_loses_no_request_and_repeats_none() {
    let (world, mut kills) = (World::new(), 0);
    fuzz(|random| {
        let moment = Moment::start(random);
        world.load(&moment.memory);
        let mut driver = moment.driver;
        for _ in 0..8 {
            let seed = random.number();
            let child = Child::start(
                || (),
                |()| {
                    let (mut server, mut random) = (Server::start(&world), Random::new(seed));
                    loop {
                        server.turn(&mut random);
                    }
                },
            );
            child.go_on();
            let enough = driver.answered + random.below(60);
            while driver.answered < enough {
                driver.reap(&world);
                driver.add(&world, random);
            }
            child.kill();
            kills += 1;
        }
        Server::start(&world).run(random);
        driver.reap(&world);
        assert_eq!(driver.lent(), 0, "requests are lost");
        world.assert_settled();
    });
    assert!(kills >= 8, "{kills} kills");
}
