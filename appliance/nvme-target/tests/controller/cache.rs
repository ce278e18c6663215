//! Volatile write caches: advertised where there is one, flushed before a shutdown is complete.

use crate::rig::host::{get_feature, set_feature};
use crate::rig::{BLOCKS, Host, Sled, disk};
use luge_block::{Blocks, Channel, CoreId, Device, Geometry, MemoryDevice, OpenError, Shape};
use luge_memory::{DmaSpace, PageSize};
use luge_spec::nvme::{Configuration, Shutdown, offset};
use luge_volume::Volume;
use std::sync::Arc;

/// Memory that says it has a cache.
struct Cached(MemoryDevice);

impl Device for Cached {
    fn geometry(&self) -> Geometry {
        Geometry { volatile_cache: true, ..self.0.geometry() }
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        self.0.open(core)
    }
}

fn cached() -> Arc<Volume> {
    let shape = Shape::new(512, Blocks(BLOCKS)).unwrap();
    let device = MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap();
    Arc::new(Volume::whole(Arc::new(Cached(device))))
}

fn shut_down(host: &mut Host, shutdown: Shutdown) {
    host.write32(offset::CC, Configuration::ENABLED.with_shutdown(shutdown).0);
    host.wait("the shutdown", |host| host.status() >> 2 & 3 == 2);
}

#[test]
fn a_cache_is_advertised_and_can_be_turned_off() {
    let sled = Sled::with_disk();
    sled.add(2, cached());
    let mut host = sled.host();
    assert_eq!(host.identify(1, 0)[525], 7);
    assert_eq!(host.succeed(get_feature(6, 0)), 1);
    host.create_queue_pair(1);
    host.succeed(set_feature(6, 0));
    assert_eq!(host.succeed(get_feature(6, 0)), 0);
    host.use_disk(0, 1);
    host.disable();
    host.enable();
    assert_eq!(host.succeed(get_feature(6, 0)), 1);
}

#[test]
fn caches_of_all_namespaces_are_flushed_before_a_normal_shutdown_is_complete() {
    let sled = Sled::new();
    let volumes = [cached(), disk(), cached()];
    (1..).zip(&volumes).for_each(|(id, volume)| {
        sled.add(id, volume.clone());
    });
    let mut host = sled.host();
    shut_down(&mut host, Shutdown::Normal);
    assert_eq!(volumes.each_ref().map(|volume| volume.counters().flushes), [1, 0, 1]);
    host.disable();
    host.enable();
    host.create_queue_pair(1);
    host.use_disk(0, 1);
}

#[test]
fn an_abrupt_shutdown_flushes_nothing() {
    let sled = Sled::new();
    let volume = cached();
    sled.add(1, volume.clone());
    let mut host = sled.host();
    shut_down(&mut host, Shutdown::Abrupt);
    assert_eq!(volume.counters().flushes, 0);
}
