//! Attaches the function of a server: socket, version, regions, memory.

use super::bar::Bar;
use super::connection::{CallError, Connection, End};
use super::error::VfioUserError;
use super::function::{Attached, Resets, ServerFunction};
use super::iommu::ServerIommu;
use super::reply_time::ReplyTime;
use super::socket::Socket;
use crate::config::ConfigSpace;
use luge_memory::{DmaSpace, MemoryAccess, PciFunction};
use luge_spec::vfio_user::{DeviceFlags, DeviceInfo, InterruptIndex, RegionIndex};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time that a server may take for a reply, if all others come at once.
const REPLY_TIME: Duration = Duration::from_secs(5);

/// Name of a server's socket in its directory.
const SOCKET_NAME: &str = "cntrl";

/// Class of an NVMe controller: programming interface, subclass, class.
const CLASS_NVME: [u8; 3] = luge_spec::pci::CLASS_NVME;

/// Opens functions of vfio-user servers.
#[derive(Clone)]
pub struct VfioUser {
    space: Arc<DmaSpace>,
    reply_time: Duration,
}

impl VfioUser {
    /// Opens functions that reach the memory of `space`.
    #[must_use]
    pub fn new(space: Arc<DmaSpace>) -> Self {
        Self { space, reply_time: REPLY_TIME }
    }

    /// Sets the time that a server may take for a reply, if all others come at once.
    #[must_use]
    pub fn with_reply_time(self, reply_time: Duration) -> Self {
        Self { reply_time, ..self }
    }

    /// Socket of a server: `path`, or `cntrl` in it where that is a directory.
    #[must_use]
    pub fn socket(path: &Path) -> PathBuf {
        if path.is_dir() { path.join(SOCKET_NAME) } else { path.to_owned() }
    }

    /// Connects to the server at `path`: a socket, or a directory with the socket `cntrl`.
    ///
    /// # Errors
    /// [`VfioUserError::NoServer`], [`VfioUserError::Busy`].
    pub fn connect(&self, path: &Path) -> Result<ServerSocket, VfioUserError> {
        let path = Self::socket(path);
        let deadline = Instant::now().checked_add(self.reply_time).unwrap_or_else(Instant::now);
        match Socket::connect(&path, deadline) {
            Ok(socket) => Ok(ServerSocket { path, socket }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(VfioUserError::Busy { socket: path })
            }
            Err(source) => Err(VfioUserError::NoServer { socket: path, source }),
        }
    }

    /// Attaches the function of a server.
    ///
    /// The server gets **all memory** in the address space of the SSDs, that of guests included, as files: it is
    /// trusted with it like an SSD that no IOMMU isolates, whatever it is told to access. The log says so.
    ///
    /// # Errors
    /// [`VfioUserError`]; the connection is closed then.
    pub fn attach(&self, server: ServerSocket) -> Result<Box<dyn PciFunction>, VfioUserError> {
        Opening::begin(server, ReplyTime::new(self.reply_time))?.finish(&self.space)
    }

    /// Connects to the server at `path` and attaches its function, which gets all memory: see [`Self::attach`].
    ///
    /// # Errors
    /// [`VfioUserError`]; the connection is closed then.
    pub fn open_function(&self, path: &Path) -> Result<Box<dyn PciFunction>, VfioUserError> {
        self.attach(self.connect(path)?)
    }
}

/// Socket that is connected to a server.
pub struct ServerSocket {
    path: PathBuf,
    socket: Socket,
}

impl AsFd for ServerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A connection whose function is being opened.
struct Opening {
    socket: PathBuf,
    connection: Arc<Connection>,
}

impl Opening {
    fn begin(server: ServerSocket, reply_time: ReplyTime) -> Result<Self, VfioUserError> {
        let ServerSocket { path, socket } = server;
        let name = path.display().to_string();
        let connection = Arc::new(Connection::new(&name, socket, reply_time));
        match connection.negotiate() {
            Ok(()) => Ok(Self { socket: path, connection }),
            Err(CallError::Ended(End::Silent)) => Err(VfioUserError::Busy { socket: path }),
            Err(source) => {
                Err(VfioUserError::Server { socket: path, what: "agreeing on the version", source })
            }
        }
    }

    fn finish(&self, space: &Arc<DmaSpace>) -> Result<Box<dyn PciFunction>, VfioUserError> {
        let info = self.call("asking for its properties", self.connection.device_info())?;
        self.check(&info)?;
        let resets = match info.flags.contains(DeviceFlags::RESET) {
            true => Resets::Possible,
            false => Resets::Impossible,
        };
        if resets == Resets::Possible {
            self.call("resetting it", self.connection.reset())?;
        }
        let config = ConfigSpace(&*self.connection);
        let id = self.system("reading its vendor and device", config.id())?;
        let class = self.system("reading its class", config.class())?;
        if class != CLASS_NVME {
            let [interface, subclass, class] = class;
            return Err(self
                .not_nvme(format!("its PCI class is {class:02x}{subclass:02x}{interface:02x}, not 010802")));
        }
        self.system("forbidding memory access", config.set_memory_access(MemoryAccess::Forbidden))?;
        let bar = self.bar()?;
        let vectors = self.vectors(&info)?;
        tracing::warn!(
            controller = self.connection.name(),
            "this vfio-user server gets all memory of Luge and of guests with disks on SSDs, and is trusted with it"
        );
        let iommu = Arc::new(ServerIommu(self.connection.clone()));
        let attached = self.system("giving it memory", Attached::new(space.clone(), iommu))?;
        let connection = self.connection.clone();
        Ok(Box::new(ServerFunction { connection, id, vectors, resets, bar, attached }))
    }

    fn check(&self, info: &DeviceInfo) -> Result<(), VfioUserError> {
        if !info.flags.contains(DeviceFlags::PCI) || info.regions.get() <= RegionIndex::CONFIG.0.get() {
            return Err(self.not_nvme("it is no PCI function".into()));
        }
        Ok(())
    }

    fn bar(&self) -> Result<Bar, VfioUserError> {
        let (region, file) = self.call("finding its BAR 0", self.connection.region(RegionIndex::BAR0))?;
        if region.len == 0 {
            return Err(self.not_nvme("it has no BAR 0".into()));
        }
        Ok(Bar::new(self.connection.clone(), &region, file))
    }

    fn vectors(&self, info: &DeviceInfo) -> Result<u16, VfioUserError> {
        if info.interrupts.get() <= InterruptIndex::MSIX.0.get() {
            return Ok(0);
        }
        let vectors = self.call("counting its interrupts", self.connection.msix_vectors())?;
        Ok(u16::try_from(vectors).unwrap_or(u16::MAX))
    }

    fn call<T>(&self, what: &'static str, outcome: Result<T, CallError>) -> Result<T, VfioUserError> {
        let socket = self.socket.clone();
        outcome.map_err(|source| VfioUserError::Server { socket, what, source })
    }

    fn system<T>(&self, what: &'static str, outcome: io::Result<T>) -> Result<T, VfioUserError> {
        let socket = self.socket.clone();
        outcome.map_err(|source| VfioUserError::System { socket, what, source })
    }

    fn not_nvme(&self, why: String) -> VfioUserError {
        VfioUserError::NotNvme { socket: self.socket.clone(), why }
    }
}
