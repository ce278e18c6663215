//! Endpoints on two cores.

use super::Ask;
use super::client::Guest;
use luge_block::doubles::{Delayed, Gate};
use luge_block::{Blocks, CoreId, Device, MemoryDevice, Shape};
use luge_core::CoreHandle;
use luge_memory::{DmaSpace, PageSize};
use luge_socket::Permissions;
use luge_vhost::{Access, BlkEndpoint, EndpointConfig};
use luge_volume::Volume;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// Endpoints that are stopped in the end, on cores that are stopped after them.
pub struct House {
    pub endpoints: Vec<BlkEndpoint>,
    pub cores: Vec<CoreHandle>,
    pub folder: TempDir,
}

impl House {
    /// An endpoint on a disk in memory.
    pub fn new() -> Self {
        Self::on(&[Self::disk()])
    }

    /// An endpoint on a disk whose requests end when its gate is open, and one on each of `others`.
    pub fn gated(others: &[Arc<dyn Device>]) -> (Self, Gate) {
        let device = Arc::new(Delayed::new(Self::disk(), 1));
        let gate = device.gate();
        let first: Arc<dyn Device> = device;
        (Self::on(&[&[first], others].concat()), gate)
    }

    /// A disk in memory.
    pub fn disk() -> Arc<dyn Device> {
        let shape = Shape::new(512, Blocks(2048)).unwrap();
        Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap())
    }

    /// An endpoint on each of these devices.
    pub fn on(devices: &[Arc<dyn Device>]) -> Self {
        let cores = [0, 1].map(|cpu| CoreHandle::spawn(CoreId(cpu)).unwrap()).into();
        let mut house = Self { endpoints: vec![], cores, folder: tempfile::tempdir().unwrap() };
        for (index, device) in devices.iter().enumerate() {
            let config = house.config(index, device.clone());
            house.endpoints.push(BlkEndpoint::start(config).unwrap());
        }
        house
    }

    /// What an endpoint of this house is like.
    pub fn config(&self, index: usize, device: Arc<dyn Device>) -> EndpointConfig {
        EndpointConfig {
            name: format!("disk{index}"),
            socket: self.path(index),
            permissions: Permissions::GROUP,
            volume: Arc::new(Volume::whole(device)),
            access: Access::ReadWrite,
            serial: "S1".into(),
            cores: self.cores.clone(),
            queues_max: 4,
            space: DmaSpace::new(),
        }
    }

    pub fn path(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("disk{index}"))
    }

    pub fn endpoint(&self, index: usize) -> &BlkEndpoint {
        &self.endpoints[index]
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.endpoints.drain(..).for_each(BlkEndpoint::stop);
        self.cores.iter().for_each(CoreHandle::stop);
    }
}

/// Writes and reads back on every ring.
pub fn use_disk(guest: &mut Guest) {
    for (ring, n) in guest.rings.iter_mut().zip(1_u8..) {
        let bytes = vec![n; 1024];
        assert_eq!(ring.ask(&Ask::write(u64::from(n) * 8, &bytes)).status, 0);
        assert_eq!(ring.ask(&Ask::read(u64::from(n) * 8, 1024)).data, bytes);
        assert_eq!(ring.ask(&Ask::flush()).status, 0);
    }
}
