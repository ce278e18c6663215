//! The target, of which there is one.

use luge_rpc::{Code, RpcError};

/// Name of the only target, as SPDK's.
const TARGET: &str = "nvmf_tgt";

/// Name of the discovery subsystem, which is listed and serves nobody.
pub const DISCOVERY: &str = "nqn.2014-08.org.nvmexpress.discovery";

/// Checks the name of the target.
///
/// # Errors
/// -32603, as of SPDK.
pub fn check_target(name: Option<&str>) -> Result<(), RpcError> {
    match name {
        None | Some(TARGET) => Ok(()),
        Some(_) => Err(RpcError::new(
            Code::INTERNAL_ERROR,
            format_args!(
                "parameter `tgt_name`: Unable to find a target of that name: {TARGET} is the one that Luge has"
            ),
        )),
    }
}
