//! Bring-up: from an address to a running controller.

use super::new_ssd::NewSsd;
use crate::control::{Platform, SsdAddress};
use luge_memory::PciFunction;
use luge_nvme::{Controller, Options};
use luge_rpc::RpcError;
use luge_socket::Peer;
use luge_vfio::{BindError, PciAddress, VfioError, VfioUser, VfioUserError, bind};
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;

/// Brings up the controller at an address.
pub fn bring_up(
    platform: &Platform,
    address: &SsdAddress,
    queue_pairs: Option<u16>,
) -> Result<NewSsd, RpcError> {
    let cores = u16::try_from(platform.cores.len()).unwrap_or(u16::MAX);
    let options =
        Options { queue_pairs: queue_pairs.unwrap_or(cores), pages: platform.pages, ..Options::default() };
    let start = |function| {
        let started = Controller::start(function, platform.space.clone(), options);
        started.map_err(|error| RpcError::errno(Errno::IO, error))
    };
    match address {
        SsdAddress::Pcie(address) => pcie(platform, *address, start),
        SsdAddress::VfioUser(path) => {
            let controller = start(vfio_user(platform, path)?)?;
            Ok(NewSsd::new(controller, Box::new(|| Ok(()))))
        }
    }
}

/// Takes a function from its kernel driver and starts its controller. On failure, and if the SSD is not kept, the
/// function goes back to the kernel driver.
fn pcie(
    platform: &Platform,
    address: PciAddress,
    start: impl FnOnce(Box<dyn PciFunction>) -> Result<Arc<Controller>, RpcError>,
) -> Result<NewSsd, RpcError> {
    let binding = bind(&platform.sysfs, address).map_err(|error| refused_by_host(&error))?;
    let opened = platform.vfio.open_function(address).map_err(|error| refused_by_vfio(&error));
    match opened.and_then(start) {
        Ok(controller) => Ok(NewSsd::new(controller, Box::new(move || binding.restore()))),
        Err(refusal) => {
            if let Err(error) = binding.restore() {
                tracing::error!("{address} stays with vfio-pci: {error}");
            }
            Err(refusal)
        }
    }
}

/// Attaches the function of a vfio-user server, unless that is this process: it would be asked to map the memory that
/// it is mapping.
fn vfio_user(platform: &Platform, path: &Path) -> Result<Box<dyn PciFunction>, RpcError> {
    let client = VfioUser::new(platform.space.clone());
    let server = client.connect(path).map_err(|error| refused_by_server(&error))?;
    let peer = Peer::of(&server).map_err(RpcError::internal)?;
    if u32::try_from(peer.process) == Ok(std::process::id()) {
        return Err(RpcError::invalid(format_args!(
            "parameter `traddr`: {} is a controller of this process: use the block devices behind it",
            path.display()
        )));
    }
    client.attach(server).map_err(|error| refused_by_server(&error))
}

fn refused_by_host(error: &BindError) -> RpcError {
    match error {
        BindError::NoSuchDevice(_) => RpcError::no_device(error),
        BindError::InUse { .. } | BindError::CompanionInUse { .. } | BindError::BoundElsewhere { .. } => {
            RpcError::busy(error)
        }
        _ => RpcError::invalid(error),
    }
}

fn refused_by_vfio(error: &VfioError) -> RpcError {
    match error {
        VfioError::Bind(error) => refused_by_host(error),
        VfioError::Busy { .. } | VfioError::AlreadyOpen(_) => RpcError::busy(error),
        _ => RpcError::invalid(error),
    }
}

fn refused_by_server(error: &VfioUserError) -> RpcError {
    match error {
        VfioUserError::NoServer { .. } => RpcError::no_device(error),
        VfioUserError::Busy { .. } => RpcError::busy(error),
        VfioUserError::NotNvme { .. } => RpcError::invalid(error),
        VfioUserError::Server { .. } | VfioUserError::System { .. } => RpcError::errno(Errno::IO, error),
    }
}
