//! Mode parameters that initiators may change.

use crate::sense::SenseFormat;
use crate::view::UnitView;
use luge_block::{Durability, Geometry};

/// Mode parameters that initiators may change: one set for all nexuses of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    /// WCE: writes may end when they are in the device's volatile cache.
    pub(crate) write_cache: bool,
    /// D_SENSE.
    pub(crate) sense_format: SenseFormat,
}

impl Settings {
    /// Default values: a volume without a volatile cache writes through.
    pub(crate) const fn of(geometry: &Geometry) -> Self {
        Self { write_cache: geometry.volatile_cache, sense_format: SenseFormat::Fixed }
    }

    /// The view of a unit with these settings.
    pub(crate) fn view(self, geometry: &Geometry) -> UnitView {
        let least_durability = if self.write_cache { Durability::Cache } else { Durability::Media };
        // Without a volatile cache, every write is on the media.
        let least_durability = if geometry.volatile_cache { least_durability } else { Durability::Cache };
        UnitView { least_durability, sense_format: self.sense_format, ..UnitView::new(geometry) }
    }
}
