//! Sessions on a real core: doorbells that wake nobody are seen, and the core sleeps in between.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::CoreId;
use luge_core::{CoreHandle, Kick, Tenant};
use luge_memory::DmaSpace;
use luge_nvme_target::{
    BitBucket, Coalescing, CompletionQueueSetup, DoorbellPages, Namespace, Namespaces, QueueSession, Relay,
    Service, SessionSetup, SubmissionQueueSetup,
};
use luge_spec::nvme::{CompletionEntry, StatusCode};
use luge_virtqueue::rig::RigMemory;
use luge_volume::Volume;
use rig::{HostQueue, Setup, memory, read};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DATA: u64 = RigMemory::DATA.0;

/// A core with one session, and its host.
struct Served {
    core: CoreHandle,
    queue: HostQueue,
    kick: OwnedFd,
}

impl Served {
    /// Runs `test` with a session that a core serves.
    fn with(test: impl FnOnce(&mut Self)) {
        let core = CoreHandle::spawn(CoreId(0)).unwrap();
        let volume = Arc::new(Volume::whole(memory(64)));
        let attachment = core.attach(&volume).unwrap();
        let namespace = Namespace {
            volume: attachment.volume(),
            stats: attachment.stats().clone(),
            geometry: volume.geometry(),
            refusal: None,
        };
        let (memory, rules) = (Arc::new(RigMemory::standard()), Setup::default().rules);
        let doorbells = Arc::new(DoorbellPages::new(2).unwrap());
        let mut at = RigMemory::RINGS.0;
        let [completion, submission] = [rig::layout(1, 64, 16, &mut at), rig::layout(1, 64, 64, &mut at)];
        let kick = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let mut session = QueueSession::new(SessionSetup {
            completion_queue: CompletionQueueSetup {
                layout: completion,
                interrupt: None,
                coalescing: Coalescing::default(),
            },
            service: Service::Io,
            rules,
            memory: memory.table.clone(),
            doorbells: doorbells.clone(),
            shadow: None,
            namespaces: Arc::new(Namespaces::new([Some(namespace)])),
            bit_bucket: BitBucket::new(&DmaSpace::new()).unwrap(),
            relay: Arc::new(Relay::new().unwrap()),
            kick: Some(Kick::new(kick.try_clone().unwrap()).unwrap()),
        })
        .unwrap();
        let found = SubmissionQueueSetup::find(submission, &rules, &memory.table).unwrap();
        assert!(session.add_submission_queue(found).is_ok());
        let queue = HostQueue::new(memory, doorbells, submission, completion);
        let id = core.add_session(Box::new(session), &Tenant::Owner("host".into())).ok().unwrap();
        let mut served = Self { core, queue, kick };
        test(&mut served);
        drop(served.core.remove_session(id));
        drop(attachment);
        served.core.stop();
    }

    /// Waits for the next completion.
    fn wait(&mut self) -> CompletionEntry {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if let Some(completion) = self.queue.take() {
                return completion;
            }
            std::thread::yield_now();
        }
        panic!("no completion");
    }

    /// Waits until the core sleeps.
    fn wait_for_sleep(&self) {
        let before = self.core.stats().sleeps();
        let end = Instant::now() + Duration::from_secs(10);
        while self.core.stats().sleeps() < before + 3 {
            assert!(Instant::now() < end, "the core does not sleep");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_doorbell_that_wakes_nobody_is_seen_by_a_core_that_sleeps() {
    Served::with(|served| {
        for _ in 0..20 {
            served.wait_for_sleep();
            served.queue.push(read(0, 1, DATA));
            served.queue.ring();
            assert_eq!(served.wait().status.code(), StatusCode::SUCCESS);
        }
    });
}

#[test]
fn a_doorbell_by_message_wakes_the_core() {
    Served::with(|served| {
        served.wait_for_sleep();
        served.queue.push(read(0, 1, DATA));
        served.queue.ring();
        rustix::io::write(&served.kick, &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(served.wait().status.code(), StatusCode::SUCCESS);
    });
}
