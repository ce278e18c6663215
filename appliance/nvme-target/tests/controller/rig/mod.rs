//! A subsystem on a core, and hosts that drive its controllers as drivers do.

pub mod host;
pub mod queue;

pub use host::Host;

use luge_block::{Blocks, CoreId, Device, MemoryDevice, Shape};
use luge_core::{CoreHandle, Descriptors};
use luge_memory::{DmaSpace, PageSize};
use luge_nvme_target::{
    ControllerConfig, Listener, ListenerConfig, NamespaceConfig, NamespaceId, NamespaceIdentity, Nqn,
    Subsystem, SubsystemConfig,
};
use luge_vfio_user::{Client, FunctionSource};
use luge_volume::Volume;
use luge_volume::doubles::{Delay, Delaying};
use std::sync::Arc;

/// Blocks of a volume, of 512 bytes.
pub const BLOCKS: u64 = 2048;

/// Largest identifier of a namespace.
pub const NAMESPACES_MAX: u32 = 8;

/// A subsystem with a listener, on a core.
pub struct Sled {
    pub subsystem: Arc<Subsystem>,
    pub listener: Listener,
    pub core: CoreHandle,
}

impl Sled {
    /// A subsystem without namespaces.
    pub fn new() -> Self {
        Self::with(ControllerConfig { io_queues: 8, vectors: 9, ..ControllerConfig::default() })
    }

    /// A subsystem with one namespace, on a disk in memory.
    pub fn with_disk() -> Self {
        let sled = Self::new();
        sled.add(1, disk());
        sled
    }

    /// A subsystem with one namespace, whose disk is as slow as the delay says.
    pub fn slow() -> (Self, Delay) {
        let (sled, delay) = (Self::new(), Delay::default());
        let slow = Volume::of_composite(Arc::new(Delaying::new(disk(), delay.clone())));
        sled.add(1, Arc::new(slow));
        (sled, delay)
    }

    /// A subsystem without namespaces, on another CPU.
    pub fn on_cpu(cpu: u16) -> Self {
        Self::with_cpu(ControllerConfig { io_queues: 8, vectors: 9, ..ControllerConfig::default() }, cpu)
    }

    pub fn with(controller: ControllerConfig) -> Self {
        Self::with_cpu(controller, 0)
    }

    fn with_cpu(controller: ControllerConfig, cpu: u16) -> Self {
        let core = CoreHandle::spawn(CoreId(cpu)).unwrap();
        let subsystem = Subsystem::new(SubsystemConfig {
            nqn: Nqn::new("nqn.2016-06.io.luge:test").unwrap(),
            serial: "SERIAL1".into(),
            model: "Luge".into(),
            allow_any_host: true,
            namespaces_max: NAMESPACES_MAX,
            controller_ids: 1..=4,
            cores: vec![core.clone()],
            space: DmaSpace::new(),
        });
        let subsystem = subsystem.unwrap();
        let listener = Listener::new(ListenerConfig { subsystem: subsystem.clone(), controller }).unwrap();
        Self { subsystem, listener, core }
    }

    /// Lets controllers of clients to come have file descriptors of a budget only.
    pub fn limit_descriptors(&mut self, descriptors: &Arc<Descriptors>) {
        let controller = ControllerConfig { io_queues: 8, vectors: 9, ..ControllerConfig::default() };
        let config = ListenerConfig { subsystem: self.subsystem.clone(), controller };
        self.listener = Listener::new(config).unwrap().with_descriptors(descriptors.clone());
    }

    /// Adds a namespace.
    pub fn add(&self, id: u32, volume: Arc<Volume>) -> NamespaceId {
        let byte = u8::try_from(id).unwrap();
        let identity = NamespaceIdentity { uuid: [byte; 16], ..NamespaceIdentity::default() };
        let name = format!("volume{id}");
        let added = self.subsystem.add_namespace(NamespaceConfig {
            id: Some(NamespaceId(id)),
            volume,
            name,
            identity,
        });
        added.unwrap()
    }

    /// A host whose controller is as after power-on.
    pub fn connect(&self) -> Host {
        let client = Client { endpoint: "endpoint".into(), owner: None, number: 1 };
        Host::new(self.listener.connect(client))
    }

    /// A host with an enabled controller.
    pub fn host(&self) -> Host {
        let mut host = self.connect();
        host.enable();
        host
    }
}

impl Drop for Sled {
    fn drop(&mut self) {
        self.subsystem.stop();
        self.core.stop();
    }
}

/// A volume in memory.
pub fn disk() -> Arc<Volume> {
    let shape = Shape::new(512, Blocks(BLOCKS)).unwrap();
    let device = MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap();
    let device: Arc<dyn Device> = Arc::new(device);
    Arc::new(Volume::whole(device))
}
