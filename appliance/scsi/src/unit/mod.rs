//! Logical units, and the nexuses through which initiators use them.

mod config;
mod link;
mod logical_unit;
mod nexus;
mod settings;

pub(crate) use config::{Names, VENDOR};
pub use config::{PRODUCT_BYTES, SERIAL_BYTES_MAX, UnitConfig, UnitError};
pub(crate) use link::Link;
pub use logical_unit::LogicalUnit;
pub use nexus::Nexus;
pub(crate) use nexus::SCSI_TARGETS;
pub(crate) use settings::Settings;
