//! Bring-up: from a PCI address to a running controller.

use super::new_ssd::NewSsd;
use crate::control::Platform;
use luge_nvme::{Controller, ControllerError, Options};
use luge_rpc::RpcError;
use luge_vfio::{BindError, PciAddress, VfioError, bind};
use rustix::io::Errno;

/// Takes the function from its kernel driver and brings the controller up. On failure, and if the SSD is
/// not kept, the function goes back to the kernel driver.
pub fn bring_up(
    platform: &Platform,
    address: PciAddress,
    queue_pairs: Option<u16>,
) -> Result<NewSsd, RpcError> {
    let cores = u16::try_from(platform.cores.len()).unwrap_or(u16::MAX);
    let options =
        Options { queue_pairs: queue_pairs.unwrap_or(cores), pages: platform.pages, ..Options::default() };
    let binding = bind(&platform.sysfs, address).map_err(|error| refused_by_host(&error))?;
    let opened = platform.vfio.open_function(address).map_err(|error| refused_by_vfio(&error));
    let started = opened.and_then(|function| {
        Controller::start(function, platform.space.clone(), options).map_err(|error| refused_by_ssd(&error))
    });
    match started {
        Ok(controller) => Ok(NewSsd::new(controller, Box::new(move || binding.restore()))),
        Err(refusal) => {
            if let Err(error) = binding.restore() {
                tracing::error!("{address} stays with vfio-pci: {error}");
            }
            Err(refusal)
        }
    }
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

fn refused_by_ssd(error: &ControllerError) -> RpcError {
    RpcError::errno(Errno::IO, error)
}
