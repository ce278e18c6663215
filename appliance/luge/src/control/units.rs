//! The scopes of reservations of a block device, and its SCSI logical units, one for each scope.

use super::pr_scope::PrOwner;
use luge_reservations::Reservations;
use luge_rpc::RpcError;
use luge_scsi::{LogicalUnit, UnitConfig, UnitError};
use luge_volume::Volume;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use uuid::Uuid;

/// The logical units of a block device.
///
/// Invariant: all LUNs of one owner of reservations share a unit, and all units have the same names.
#[derive(Default)]
pub struct Units {
    units: BTreeMap<Option<PrOwner>, Weak<LogicalUnit>>,
    /// Reservations that only a tenant shares. They stay when its last endpoint goes.
    reservations: BTreeMap<PrOwner, Arc<Reservations>>,
}

/// Names that an operator may give a unit.
#[derive(Clone, Default)]
pub struct UnitNames {
    /// Serial number.
    pub serial: Option<String>,
    /// Product name.
    pub product: Option<String>,
}

impl Units {
    /// Reservations of an owner.
    pub fn reservations_of(&mut self, owner: &PrOwner) -> Arc<Reservations> {
        self.reservations.entry(owner.clone()).or_default().clone()
    }

    /// The unit for an owner of reservations; makes it if no LUN has it.
    ///
    /// # Errors
    /// -32602 for names that are not possible, or differ from those that the volume has by another LUN.
    pub fn unit(
        &mut self,
        owner: Option<&PrOwner>,
        volume: &Arc<Volume>,
        uuid: Uuid,
        names: UnitNames,
    ) -> Result<Arc<LogicalUnit>, RpcError> {
        self.units.retain(|_, unit| unit.strong_count() > 0);
        let other = self.units.values().find_map(Weak::upgrade);
        let names = match &other {
            None => names,
            Some(other) => names.as_of(other)?,
        };
        if let Some(unit) = self.units.get(&owner.cloned()).and_then(Weak::upgrade) {
            return Ok(unit);
        }
        let reservations = match owner {
            None => volume.reservations().clone(),
            Some(owner) => self.reservations_of(owner),
        };
        let UnitNames { serial, product } = names;
        let uuid = uuid.into_bytes();
        let config = UnitConfig { volume: volume.clone(), reservations, uuid, serial, product };
        let unit = LogicalUnit::new(config).map_err(|error| refusal(&error))?;
        self.units.insert(owner.cloned(), Arc::downgrade(&unit));
        Ok(unit)
    }
}

impl UnitNames {
    /// The names of a unit of the same volume.
    fn as_of(&self, unit: &LogicalUnit) -> Result<Self, RpcError> {
        let check = |parameter: &str, wanted: Option<&str>, has: &str| match wanted {
            Some(wanted) if wanted != has => Err(RpcError::invalid_params(format_args!(
                "parameter `{parameter}`: the bdev has '{has}' through another LUN: leave it out, or remove its other \
                 LUNs first"
            ))),
            _ => Ok(()),
        };
        check("serial", self.serial.as_deref(), unit.serial())?;
        check("product", self.product.as_deref(), unit.product())?;
        Ok(Self { serial: Some(unit.serial().into()), product: Some(unit.product().into()) })
    }
}

fn refusal(error: &UnitError) -> RpcError {
    let parameter = match error {
        UnitError::Serial(_) => "serial",
        UnitError::Product(_) => "product",
    };
    RpcError::invalid_params(format_args!("parameter `{parameter}`: {error}"))
}
