//! Users that share the persistent reservations of a volume.

use serde::{Deserialize, Serialize};
use std::str::FromStr;
use thiserror::Error;

/// Users that share the persistent reservations of a volume through SCSI.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrScope {
    /// All users of the volume, whatever protocol they use.
    #[default]
    Volume,
    /// SCSI controllers of one tenant; one without a tenant is alone.
    Vm,
}

/// Error for a text that names no scope.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no scope of reservations: write volume or vm")]
pub struct PrScopeError(String);

impl FromStr for PrScope {
    type Err = PrScopeError;

    fn from_str(text: &str) -> Result<Self, PrScopeError> {
        match text {
            "volume" => Ok(Self::Volume),
            "vm" => Ok(Self::Vm),
            _ => Err(PrScopeError(text.into())),
        }
    }
}

impl luge_rpc::ParamValue for PrScope {
    const KIND: &'static str = "volume|vm";
}
