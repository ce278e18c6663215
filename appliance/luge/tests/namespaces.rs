//! Tests of several namespaces on one SSD, and of SSDs with few queue pairs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::{Completions, CoreId, Device, Durability, Lba, Operation, Request, Status, Tag};
use luge_core::CoreHandle;
use luge_nvme::scripted::{Rig, Script, ScriptedNamespace};
use luge_vhost::{Access, BlkConfig, BlkDevice, BlkError, VirtioDevice};
use luge_volume::{Base, Graph, Volume};
use std::sync::Arc;

fn rig(queue_pairs: u16) -> Rig {
    let namespaces = [1, 2].map(|id| ScriptedNamespace::new(id, 9)).into();
    Rig::new(Script { namespaces, queue_pairs, ..Script::default() })
}

/// A volume for each namespace.
fn volumes(rig: &Rig) -> Vec<Arc<Volume>> {
    let namespaces = rig.controller.namespaces().into_iter();
    namespaces.map(|namespace| Arc::new(Volume::whole(namespace))).collect()
}

fn cores() -> [CoreHandle; 2] {
    [0, 1].map(|cpu| CoreHandle::spawn(CoreId(cpu)).unwrap())
}

fn disk(volume: &Arc<Volume>, cores: &[CoreHandle]) -> Result<BlkDevice, BlkError> {
    BlkDevice::open(BlkConfig {
        volume: volume.clone(),
        access: Access::ReadWrite,
        serial: String::new(),
        cores: cores.into(),
        queues: 4,
    })
}

fn core_ids(disk: &BlkDevice) -> Vec<u16> {
    disk.cores().iter().map(|core| core.id().0).collect()
}

#[test]
fn namespaces_share_a_queue_pair_on_each_core_until_the_last_user_has_gone() {
    let (rig, cores) = (rig(4), cores());
    let [first, second] = &volumes(&rig)[..] else { panic!("two namespaces") };
    let on_first = cores[0].attach(first).unwrap();
    assert_eq!(rig.ssd.io_queues(), 1);
    let on_second = cores[0].attach(second).unwrap();
    assert_eq!(rig.ssd.io_queues(), 1, "shared");
    let elsewhere = cores[1].attach(second).unwrap();
    assert_eq!(rig.ssd.io_queues(), 2, "one for each core");
    drop(on_first);
    assert_eq!(rig.ssd.io_queues(), 2, "the second namespace uses it");
    drop((on_second, elsewhere));
    assert_eq!(rig.ssd.io_queues(), 0);
    cores.iter().for_each(CoreHandle::stop);
}

#[test]
fn blocks_of_namespaces_on_one_channel_are_kept_apart() {
    let rig = rig(1);
    let volumes = volumes(&rig);
    let channel = rig.controller.namespaces()[0].open(CoreId(0)).unwrap();
    let mut graph = Graph::default();
    let base = Base::Channel(graph.add_channel(channel).ok().unwrap());
    let ids: Vec<_> =
        volumes.iter().map(|volume| graph.add_volume(CoreId(0), volume, base).unwrap()).collect();
    let mut run = |volume: usize, operation, fill: Option<u8>| {
        let data = [rig.buffer(0, 512)];
        fill.into_iter().for_each(|byte| data[0].fill(byte));
        let request = Request { tag: Tag::new(1, 7), operation, lba: Lba(5), blocks: 1, data: &data };
        graph.volume(ids[volume]).unwrap().submit(&request).unwrap();
        graph.commit();
        let mut ended = None;
        Rig::until("it ends", || {
            rig.ssd.step();
            graph.poll(|run| ended = run.first().copied());
            ended.is_some()
        });
        assert_eq!(ended.unwrap().status(), Status::Success);
        data[0].first::<512>().unwrap()
    };
    run(0, Operation::Write(Durability::Cache), Some(0x11));
    run(1, Operation::Write(Durability::Cache), Some(0x22));
    assert_eq!(run(0, Operation::Read, Some(0)), [0x11; 512]);
    assert_eq!(run(1, Operation::Read, Some(0)), [0x22; 512]);
    assert_eq!(rig.ssd.io_queues(), 1);
}

#[test]
fn a_request_past_the_last_namespace_is_refused() {
    let rig = rig(1);
    let mut channel = rig.controller.namespaces()[0].open(CoreId(0)).unwrap();
    let data = [rig.buffer(0, 512)];
    for window in [2, 3, 0xffff] {
        let lba = Lba(window << 48);
        let request =
            Request { tag: Tag::default(), operation: Operation::Read, lba, blocks: 1, data: &data };
        assert!(channel.submit(&request).is_err(), "window {window}");
    }
    channel.poll(&mut Completions::default());
    assert_eq!(channel.in_flight(), 0);
}

#[test]
fn an_ssd_with_one_queue_pair_serves_all_its_namespaces_on_one_of_two_cores() {
    serves_on_one_core(&rig(1));
}

#[test]
fn an_ssd_that_grants_64_queue_pairs_and_gives_one_serves_all_its_namespaces_on_one_of_two_cores() {
    let namespaces = [1, 2].map(|id| ScriptedNamespace::new(id, 9)).into();
    serves_on_one_core(&Rig::new(Script {
        namespaces,
        queue_pairs: 1,
        granted: Some(64),
        ..Script::default()
    }));
}

fn serves_on_one_core(rig: &Rig) {
    let cores = cores();
    let [first, second] = &volumes(rig)[..] else { panic!("two namespaces") };
    let one = disk(first, &cores).unwrap();
    let [serving] = core_ids(&one)[..] else { panic!("one core") };
    let other = disk(second, &cores).unwrap();
    assert_eq!(core_ids(&other), [serving], "where the queue pair is");
    let elsewhere = usize::from(1 - serving);
    let refusal = disk(second, &cores[elsewhere..=elsewhere]).err().unwrap().to_string();
    let said = format!("for core {elsewhere}: all 1 that it grants are in use, on cores [{serving}]");
    assert!(refusal.contains(&said), "{refusal}");
    drop((one, other));
    let freed = disk(second, &cores[elsewhere..=elsewhere]).unwrap();
    assert_eq!(core_ids(&freed), [1 - serving]);
    drop(freed);
    cores.iter().for_each(CoreHandle::stop);
}
