//! Addresses of listeners.

use luge_rpc::{ParamValue, RpcError};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Name of the transport.
pub const TRANSPORT: &str = "VFIOUSER";

/// Name of a listener's socket in its directory.
const SOCKET: &str = "cntrl";

/// Longest directory in bytes, as in SPDK.
const DIRECTORY_BYTES_MAX: usize = 256;

/// Longest service identifier in bytes, as in SPDK.
const SERVICE_BYTES_MAX: usize = 32;

/// Families of addresses that clients may name. A directory has none.
const FAMILIES: [&str; 5] = ["ipv4", "ipv6", "ib", "fc", "intra_host"];

/// Address of a listener.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenAddress {
    trtype: String,
    /// Directory of the socket.
    pub traddr: String,
    trsvcid: Option<String>,
    adrfam: Option<String>,
}

impl ParamValue for ListenAddress {
    const KIND: &'static str = "object";
}

impl ListenAddress {
    /// Checks the address, and returns its directory.
    ///
    /// # Errors
    /// -32602.
    pub fn directory(&self) -> Result<PathBuf, RpcError> {
        check_transport("listen_address.trtype", &self.trtype)?;
        if self.service().len() > SERVICE_BYTES_MAX {
            return Err(invalid("trsvcid", &format!("at most {SERVICE_BYTES_MAX} bytes are possible")));
        }
        let family = self.adrfam.as_deref().unwrap_or_default();
        if !family.is_empty() && !FAMILIES.iter().any(|name| name.eq_ignore_ascii_case(family)) {
            return Err(invalid("adrfam", "there is no such family: leave it out"));
        }
        let directory = Path::new(&self.traddr);
        if !directory.is_absolute() || self.traddr.contains(char::is_control) {
            return Err(invalid("traddr", "write the absolute path of a directory, from /"));
        }
        if self.traddr.len() > DIRECTORY_BYTES_MAX {
            return Err(invalid("traddr", &format!("at most {DIRECTORY_BYTES_MAX} bytes are possible")));
        }
        Ok(directory.into())
    }

    /// Service identifier; without meaning, and shown again.
    pub fn service(&self) -> &str {
        self.trsvcid.as_deref().unwrap_or_default()
    }
}

fn invalid(member: &str, reason: &str) -> RpcError {
    RpcError::invalid_params(format_args!("parameter `listen_address.{member}`: {reason}"))
}

/// Checks the name of a transport, in capital or small letters.
///
/// # Errors
/// -32602 with SPDK's words.
pub fn check_transport(parameter: &str, trtype: &str) -> Result<(), RpcError> {
    if trtype.eq_ignore_ascii_case(TRANSPORT) {
        return Ok(());
    }
    let shown: String = trtype.chars().take(64).collect();
    Err(RpcError::invalid_params(format_args!(
        "parameter `{parameter}`: Invalid transport type '{shown}': {TRANSPORT} is the one that Luge has"
    )))
}

/// Path of the socket in a directory.
pub fn socket(directory: &Path) -> PathBuf {
    directory.join(SOCKET)
}

/// Describes an address.
pub fn describe(traddr: &str, trsvcid: &str) -> Value {
    json!({ "trtype": TRANSPORT, "adrfam": "unknown", "traddr": traddr, "trsvcid": trsvcid })
}
