//! The path to an SSD, as clients write it: transport, PCI address, port.

use crate::methods::definition::off;
use luge_rpc::RpcError;
use luge_vfio::PciAddress;
use serde_json::{Value, json};

/// Parses the address of an SSD on PCIe, the only transport.
pub fn address(trtype: &str, traddr: &str) -> Result<PciAddress, RpcError> {
    if !trtype.eq_ignore_ascii_case("pcie") {
        return Err(RpcError::invalid_params("parameter `trtype`: PCIe is the one transport that Luge has"));
    }
    let address = traddr.parse();
    address.map_err(|error| RpcError::invalid_params(format_args!("parameter `traddr`: {error}")))
}

/// Refuses a port, unless it is the 0 that clients give for PCIe.
pub fn port_off(trsvcid: Option<&str>) -> Result<(), RpcError> {
    off("trsvcid", trsvcid.filter(|port| *port != "0"))
}

/// Describes the path as clients know it (transport identifier).
pub fn trid(address: PciAddress) -> Value {
    json!({ "trtype": "PCIe", "traddr": address.to_string() })
}
