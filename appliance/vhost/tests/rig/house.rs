//! Endpoints on two cores.

use super::Ask;
use super::client::Guest;
use luge_block::{Blocks, CoreId, Device, MemoryDevice, Shape};
use luge_core::{CoreHandle, Descriptors};
use luge_memory::{DmaSpace, PageSize};
use luge_socket::Permissions;
use luge_vhost::{Access, BackoffLimits, BlkConfig, BlkDevice, Endpoint, EndpointConfig, VirtioDevice};
use luge_volume::Volume;
use luge_volume::doubles::{Delay, Delaying};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Limits for tests whose front ends are cut off again and again.
pub const NO_PAUSE: BackoffLimits =
    BackoffLimits { first: Duration::ZERO, longest: Duration::ZERO, quiet: Duration::ZERO };

/// Endpoints that are stopped in the end, on cores that are stopped after them.
pub struct House {
    pub endpoints: Vec<Endpoint>,
    pub cores: Vec<CoreHandle>,
    /// Address space of the SSDs.
    pub space: Arc<DmaSpace>,
    pub folder: TempDir,
    pub descriptors: Arc<Descriptors>,
}

impl House {
    /// An endpoint on a disk in memory.
    pub fn new() -> Self {
        Self::on(&[Self::disk()])
    }

    /// An endpoint on a disk that is as slow as the delay says, and one on each of `others`.
    pub fn slow(others: &[Arc<dyn Device>]) -> (Self, Delay) {
        let (mut house, delay) = (Self::on(&[]), Delay::default());
        let disk = Arc::new(Volume::whole(Self::disk()));
        let slow = Volume::of_composite(Arc::new(Delaying::new(disk, delay.clone())));
        house.serve(0, BlkConfig { volume: Arc::new(slow), ..house.disk_config(Self::disk()) });
        for (index, device) in (1..).zip(others) {
            house.serve(index, house.disk_config(device.clone()));
        }
        (house, delay)
    }

    /// A disk in memory.
    pub fn disk() -> Arc<dyn Device> {
        let shape = Shape::new(512, Blocks(2048)).unwrap();
        Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap())
    }

    /// An endpoint on each of these devices.
    pub fn on(devices: &[Arc<dyn Device>]) -> Self {
        let cores = [0, 1].map(|cpu| CoreHandle::spawn(CoreId(cpu)).unwrap()).into();
        let (space, folder) = (DmaSpace::new(), tempfile::tempdir().unwrap());
        let descriptors = Descriptors::with_limit(1 << 20);
        let mut house = Self { endpoints: vec![], cores, space, folder, descriptors };
        for (index, device) in devices.iter().enumerate() {
            house.serve(index, house.disk_config(device.clone()));
        }
        house
    }

    /// Description of a disk on the cores of this house.
    pub fn disk_config(&self, device: Arc<dyn Device>) -> BlkConfig {
        BlkConfig {
            volume: Arc::new(Volume::whole(device)),
            access: Access::ReadWrite,
            serial: "S1".into(),
            cores: self.cores.clone(),
            queues: 4,
        }
    }

    /// Description of an endpoint.
    pub fn config(&self, index: usize, device: Arc<dyn VirtioDevice>) -> EndpointConfig {
        EndpointConfig {
            owner: None,
            name: format!("disk{index}"),
            socket: self.path(index),
            permissions: Permissions::GROUP,
            device,
            space: self.space.clone(),
            descriptors: self.descriptors.clone(),
            backoff: NO_PAUSE,
        }
    }

    /// Starts an endpoint with a disk.
    pub fn serve(&mut self, index: usize, disk: BlkConfig) -> Arc<BlkDevice> {
        let disk = Arc::new(BlkDevice::open(disk).unwrap());
        self.endpoints.push(Endpoint::start(self.config(index, disk.clone())).unwrap());
        disk
    }

    pub fn path(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("disk{index}"))
    }

    pub fn endpoint(&self, index: usize) -> &Endpoint {
        &self.endpoints[index]
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.endpoints.drain(..).for_each(Endpoint::stop);
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
