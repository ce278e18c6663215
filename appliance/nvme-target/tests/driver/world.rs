//! Luge's target and Luge's driver, in one process and over a real socket.

use luge_block::{Blocks, CoreId, Device, Lba, MemoryDevice, OpenError, Shape};
use luge_core::{CoreHandle, Descriptors};
use luge_endpoint::BackoffLimits;
use luge_memory::{DmaSpace, PageSize};
use luge_nvme::doubles::{FaultControl, Faults, FaultyFunction, Place, VerifiedLoad};
use luge_nvme::{Controller, ControllerError, Options};
use luge_nvme_target::{
    ControllerConfig, Listener, ListenerConfig, NamespaceConfig, NamespaceId, NamespaceIdentity, Nqn,
    Subsystem, SubsystemConfig,
};
use luge_socket::Permissions;
use luge_vfio::VfioUser;
use luge_vfio_user::{Endpoint, EndpointConfig};
use luge_volume::Volume;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Blocks of 512 bytes of each namespace.
pub const BLOCKS: u64 = 16 << 10;

/// A subsystem on a core of its own, and a socket on which it has controllers.
pub struct Target {
    endpoint: Option<Endpoint>,
    pub subsystem: Arc<Subsystem>,
    folder: TempDir,
    _core: CoreHandle,
}

impl Target {
    /// Target with the namespaces 1 and 2, in memory.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (core, space) = (CoreHandle::spawn(CoreId(0)).unwrap(), DmaSpace::new());
        let subsystem = Subsystem::new(SubsystemConfig {
            nqn: Nqn::new("nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555").unwrap(),
            serial: "LUGE-TARGET".into(),
            model: "Luge".into(),
            allow_any_host: true,
            namespaces_max: 8,
            controller_ids: 1..=16,
            cores: vec![core.clone()],
            space: space.clone(),
        });
        let subsystem = subsystem.unwrap();
        for id in [1, 2] {
            subsystem.add_namespace(namespace(id, &space)).unwrap();
        }
        let mut target = Self { endpoint: None, subsystem, folder, _core: core };
        target.listen();
        target
    }

    fn listen(&mut self) {
        let controller = ControllerConfig { io_queues: 4, vectors: 5, ..ControllerConfig::default() };
        let listener =
            Listener::new(ListenerConfig { subsystem: self.subsystem.clone(), controller }).unwrap();
        let [first, longest, quiet] = [Duration::ZERO; 3];
        let endpoint = Endpoint::start(EndpointConfig {
            name: "target".into(),
            socket: self.path().join("cntrl"),
            permissions: Permissions::OWNER,
            owner: None,
            source: Arc::new(listener),
            space: None,
            descriptors: Descriptors::with_limit(1 << 20),
            backoff: BackoffLimits { first, longest, quiet },
        });
        self.endpoint = Some(endpoint.unwrap());
    }

    /// Directory with its socket.
    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Cuts the client off, and serves nobody.
    pub fn stop(&mut self) {
        self.endpoint = None;
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.stop();
        self.subsystem.stop();
    }
}

/// A namespace in memory.
fn namespace(id: u8, space: &Arc<DmaSpace>) -> NamespaceConfig {
    let shape = Shape::new(512, Blocks(BLOCKS)).unwrap();
    let device: Arc<dyn Device> = Arc::new(MemoryDevice::new(space, shape, PageSize::Base, None).unwrap());
    NamespaceConfig {
        id: Some(NamespaceId(id.into())),
        volume: Arc::new(Volume::whole(device)),
        name: format!("memory{id}"),
        identity: NamespaceIdentity { uuid: [id; 16], nguid: [id + 16; 16], eui64: [0; 8] },
    }
}

/// A driver that has a controller of a target.
pub struct Host {
    pub controller: Arc<Controller>,
    pub control: FaultControl,
    pub space: Arc<DmaSpace>,
}

impl Host {
    /// Driver with a time limit that a busy machine does not exceed.
    pub fn new(target: &Target) -> Self {
        Self::with(target, Faults::new(0), Duration::from_secs(60)).unwrap()
    }

    /// Driver with faults between it and its controller.
    pub fn with(target: &Target, faults: Faults, command_timeout: Duration) -> Result<Self, ControllerError> {
        let space = DmaSpace::new();
        let function = VfioUser::new(space.clone()).open_function(&target.path()).unwrap();
        let (function, control) = FaultyFunction::wrap(function, &space, faults);
        let pages = PageSize::Base;
        let options = Options { queue_entries: 64, command_timeout, pages, ..Options::default() };
        let controller = Controller::start(function, space.clone(), options)?;
        Ok(Self { controller, control, space })
    }

    /// Load on the first namespace, whose blocks are others for each core.
    pub fn load(&self, core: u16, seed: u64) -> VerifiedLoad {
        self.try_load(core, seed).unwrap()
    }

    /// Load as of [`Self::load`], unless its queue pair cannot be created.
    pub fn try_load(&self, core: u16, seed: u64) -> Result<VerifiedLoad, OpenError> {
        let channel = self.controller.namespaces()[0].open(CoreId(core))?;
        let place = Place { first: Lba(u64::from(core) * 1000), depth: 16, block_bytes: 512 };
        Ok(VerifiedLoad::new(channel, &self.space, place, seed))
    }
}

/// Waits for a condition, up to a time limit.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "not in time: {what}");
        std::thread::sleep(Duration::from_micros(100));
    }
}
