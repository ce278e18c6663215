//! Description of a logical unit, and its names.

use crate::ports::identity_hash;
use luge_reservations::Reservations;
use luge_volume::Volume;
use std::sync::Arc;
use thiserror::Error;

/// The most bytes of a serial number.
pub const SERIAL_BYTES_MAX: usize = 36;

/// The most bytes of a product name.
pub const PRODUCT_BYTES: usize = 16;

/// Vendor of all units.
pub(crate) const VENDOR: &[u8; 8] = b"LUGE    ";

/// Product of units that are not given another one.
const PRODUCT: &str = "LUGE Volume";

/// Error of a unit that cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum UnitError {
    /// Length of the serial number.
    #[error(
        "the serial number '{0}' is not possible: it has 1 to {SERIAL_BYTES_MAX} printable ASCII characters"
    )]
    Serial(String),
    /// Length of the product name.
    #[error("the product name '{0}' is not possible: it has 1 to {PRODUCT_BYTES} printable ASCII characters")]
    Product(String),
}

/// Description of a logical unit.
pub struct UnitConfig {
    /// Volume that has its blocks.
    pub volume: Arc<Volume>,
    /// Reservations: those of the volume, or others that only a tenant shares.
    pub reservations: Arc<Reservations>,
    /// UUID of the volume, from which the unit's identifiers are made.
    pub uuid: [u8; 16],
    /// Serial number; none for the UUID.
    pub serial: Option<String>,
    /// Product name; none for that of all.
    pub product: Option<String>,
}

/// Names of a unit, as they stand in its pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Names {
    pub(crate) uuid: [u8; 16],
    pub(crate) serial: String,
    pub(crate) product: [u8; PRODUCT_BYTES],
}

impl Names {
    /// Checks the names of a description.
    pub(super) fn new(config: &UnitConfig) -> Result<Self, UnitError> {
        let uuid = config.uuid;
        let serial = config.serial.clone().unwrap_or_else(|| hex(&uuid));
        if !is_text(&serial, SERIAL_BYTES_MAX) {
            return Err(UnitError::Serial(serial));
        }
        let product = config.product.as_deref().unwrap_or(PRODUCT);
        if !is_text(product, PRODUCT_BYTES) {
            return Err(UnitError::Product(product.into()));
        }
        Ok(Self { uuid, serial, product: padded(product) })
    }

    /// NAA identifier, locally assigned: the first four bits are 3h, the others are made of the UUID. SPC-4, clause
    /// 7.8.6.6.4.
    pub(crate) fn naa(&self) -> [u8; 8] {
        let hash = identity_hash(&self.uuid);
        let folded = (hash ^ hash >> 64) & 0x0fff_ffff_ffff_ffff;
        (u64::try_from(folded).unwrap_or(0) | 0x3 << 60).to_be_bytes()
    }
}

fn is_text(text: &str, bytes_max: usize) -> bool {
    let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    is_printable && !text.is_empty() && text.len() <= bytes_max
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text with blanks behind it.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut padded = [b' '; N];
    padded.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    padded
}
