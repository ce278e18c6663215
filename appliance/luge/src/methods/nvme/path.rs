//! The path to an SSD, as clients write it: transport, address, port.

use crate::control::SsdAddress;
use crate::methods::definition::off;
use luge_rpc::RpcError;
use serde_json::{Value, json};
use std::path::Path;

/// Parses the address of an SSD.
pub fn address(trtype: &str, traddr: &str) -> Result<SsdAddress, RpcError> {
    if trtype.eq_ignore_ascii_case("pcie") {
        return traddr.parse().map(SsdAddress::Pcie).map_err(|error| wrong_address(&error));
    }
    if trtype.eq_ignore_ascii_case("vfiouser") {
        return vfio_user(traddr);
    }
    Err(RpcError::invalid_params("parameter `trtype`: PCIe or VFIOUSER, the transports that Luge has"))
}

/// Parses the path of a vfio-user server. A relative one would name another server after a restart.
fn vfio_user(traddr: &str) -> Result<SsdAddress, RpcError> {
    let path = Path::new(traddr);
    if !path.is_absolute() || traddr.contains('\0') {
        return Err(wrong_address(&format_args!(
            "{traddr:?} is no absolute path: name the directory of a vfio-user server, or its socket"
        )));
    }
    Ok(SsdAddress::VfioUser(path.into()))
}

fn wrong_address(why: &dyn std::fmt::Display) -> RpcError {
    RpcError::invalid_params(format_args!("parameter `traddr`: {why}"))
}

/// Refuses a port, unless it is the 0 that clients give where there is none.
pub fn port_off(trsvcid: Option<&str>) -> Result<(), RpcError> {
    off("trsvcid", trsvcid.filter(|port| *port != "0"))
}

/// Describes the path as clients know it (transport identifier).
pub fn trid(address: &SsdAddress) -> Value {
    json!({ "trtype": address.transport(), "traddr": address.to_string() })
}
