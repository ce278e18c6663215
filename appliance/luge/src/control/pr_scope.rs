//! Users that share the persistent reservations of a volume.

use serde::{Deserialize, Serialize};
use std::str::FromStr;
use thiserror::Error;

/// Users that share the persistent reservations of a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrScope {
    /// All users of the volume, whatever protocol they use.
    #[default]
    Volume,
    /// Controllers and subsystems of one tenant, whatever protocol they use; one without a tenant is alone.
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

/// Owner of persistent reservations that not all users of a volume share.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PrOwner {
    /// All controllers and subsystems of a tenant.
    Tenant(String),
    /// A controller or subsystem without a tenant.
    Controller(String),
}

impl PrScope {
    /// Owner of the reservations of a controller or subsystem; none where they are those of all users of a volume.
    #[must_use]
    pub fn owner(self, controller: &str, tenant: Option<&str>) -> Option<PrOwner> {
        match self {
            Self::Volume => None,
            Self::Vm => Some(tenant.map_or_else(
                || PrOwner::Controller(controller.into()),
                |tenant| PrOwner::Tenant(tenant.into()),
            )),
        }
    }
}

impl luge_rpc::ParamValue for PrScope {
    const KIND: &'static str = "volume|vm";
}
