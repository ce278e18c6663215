//! Everything at once: LUNs that come and go, task management, rings that stop, front ends that leave.

use crate::rig::client::{Client, Message, code, until};
use crate::scene::{Command, Scene, at, slow_unit, unit};
use luge_scsi::LogicalUnit;
use luge_seeded::{Random, fuzz};
use luge_spec::virtio::scsi::{EVENT_QUEUE, REQUEST_QUEUE, TaskManagementFunction as Function};
use luge_vhost::{LunAddress, LunPhase, ScsiHba};
use luge_volume::doubles::Delay;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Steps of the guest, and changes of the operator, of one storm.
const STEPS: usize = 60;
const CHANGES: usize = 20;

const FUNCTIONS: [Function; 6] = [
    Function::ABORT_TASK,
    Function::ABORT_TASK_SET,
    Function::CLEAR_TASK_SET,
    Function::I_T_NEXUS_RESET,
    Function::LOGICAL_UNIT_RESET,
    Function::QUERY_TASK_SET,
];

fn places() -> [LunAddress; 4] {
    [at(0, 0), at(0, 1), at(1, 0), at(2, 255)]
}

/// An operator who adds and removes LUNs; what is refused is refused.
fn operator(hba: Arc<ScsiHba>, units: [Arc<LogicalUnit>; 4], mut random: Random) -> JoinHandle<()> {
    thread::spawn(move || {
        for _ in 0..CHANGES {
            let number = random.below(4_usize);
            match random.below(8_u32) {
                0..4 => drop(hba.add_lun(places()[number], &units[number])),
                4..7 => drop(hba.remove_lun(places()[number])),
                _ => hba.unit_gone(&units[number]),
            }
        }
    })
}

/// A step of the guest: whatever it asks for, it gets an answer.
fn step(scene: &mut Scene, delay: &Delay, random: &mut Random) {
    let place = random.pick(&places());
    let queue = random.between(REQUEST_QUEUE, REQUEST_QUEUE + 1);
    match random.below(12_u32) {
        0..5 => {
            let reads = (0..random.between(1, 8))
                .map(|lba| Command::read(place, lba, 1).by(queue).tagged(lba.into()));
            let sent: Vec<_> = reads.map(|read| scene.send(&read)).collect();
            if random.once_in(2) {
                delay.hold();
                let waiting = scene.send_function(random.pick(&FUNCTIONS[..5]), place, 0);
                delay.release();
                scene.await_function(&waiting);
            }
            sent.iter().for_each(|_| _ = scene.used(queue));
        }
        5..8 => _ = scene.function(random.pick(&FUNCTIONS), place, random.below(4_u64)),
        8 => {
            if scene.ring(EVENT_QUEUE).queue.driver.lent() < 32 {
                scene.add_buffers(random.between(1_usize, 8));
            }
        }
        9 => restart(scene.client.as_ref().unwrap(), scene, random.below(4_u16)),
        10 => while scene.ring(EVENT_QUEUE).queue.driver.take_used().is_some() {},
        _ => {
            drop(scene.client.take());
            until(|| scene.house.endpoint(0).status().front_end.is_none());
            scene.reconnect();
        }
    }
}

/// Stops a ring, and starts it again.
fn restart(client: &Client, scene: &Scene, queue: u16) {
    let stop = Message { answered: true, ..Message::ring(code::GET_VRING_BASE, queue.into(), 0) };
    let answer = client.tell(&stop).unwrap();
    let base = u32::from_ne_bytes(answer[4..8].try_into().unwrap());
    scene.guest.ring_setup(queue.into(), base).iter().for_each(|message| _ = client.tell(message).unwrap());
    client.tell(&Message::get(code::GET_FEATURES, vec![])).unwrap();
}

#[test]
fn whatever_comes_together_every_request_is_answered_and_every_lun_has_a_state() {
    fuzz(|random| {
        let mut scene = Scene::new();
        let (slow, delay) = slow_unit();
        let units = [slow, unit(), unit(), unit()];
        let operator = operator(scene.hba().clone(), units, Random::new(random.below(u64::MAX)));
        for _ in 0..STEPS {
            step(&mut scene, &delay, random);
        }
        operator.join().unwrap();
        until(|| scene.hba().luns().iter().all(|lun| lun.phase == LunPhase::Live));
        for place in places() {
            if scene.phase(place).is_some() {
                scene.settle(place);
                assert_eq!(scene.past_attentions(&Command::read(place, 0, 1)).status, 0, "{place}");
                scene.hba().remove_lun(place).unwrap();
            }
            let end = scene.command(&Command::read(place, 0, 1));
            assert!(end.status != 0 || end.response.0 != 0, "{place}: {end:?}");
        }
        assert!(scene.hba().luns().is_empty());
    });
}
