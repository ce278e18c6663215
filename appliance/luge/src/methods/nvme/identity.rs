//! Names and UUIDs of the block devices of an SSD's namespaces.
//!
//! An SSD may claim any identity: none, that of another SSD, or one for all its namespaces. The
//! first claim that no other device has is taken, from NGUID over EUI64 and serial number, which
//! follow the SSD from slot to slot, to the slot.

use crate::control::{Bdevs, SsdAddress};
use luge_nvme::Namespace;
use luge_rpc::RpcError;
use std::sync::Arc;
use uuid::Uuid;

/// Reserves the names and UUIDs of all namespaces, or none.
///
/// # Errors
/// -17 if a name is taken, or every UUID that a namespace could have.
pub fn reserve_all(
    bdevs: &mut Bdevs,
    ssd: &str,
    address: &SsdAddress,
    namespaces: &[Arc<Namespace>],
) -> Result<Vec<(String, Uuid)>, RpcError> {
    let mut reserved: Vec<(String, Uuid)> = Vec::new();
    for namespace in namespaces {
        let name = format!("{ssd}n{}", namespace.id());
        match reserve(bdevs, &name, claims(address, namespace)) {
            Ok(uuid) => reserved.push((name, uuid)),
            Err(error) => {
                reserved.iter().for_each(|(name, uuid)| bdevs.release(name, *uuid));
                return Err(error);
            }
        }
    }
    Ok(reserved)
}

/// Reserves the first claim that no other device has.
fn reserve(bdevs: &mut Bdevs, name: &str, claims: Vec<Uuid>) -> Result<Uuid, RpcError> {
    let mut refusal = None;
    for uuid in claims {
        match bdevs.reserve(Some(name.into()), "", Some(uuid)) {
            Ok(_) => {
                if let Some(error) = refusal {
                    tracing::warn!("bdev {name} has UUID {uuid}, not the one that its SSD claims: {error}");
                }
                return Ok(uuid);
            }
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    Err(refusal.unwrap_or_else(|| RpcError::internal(format_args!("bdev {name} has no identity"))))
}

/// UUIDs that a namespace could have, the best first.
fn claims(address: &SsdAddress, namespace: &Namespace) -> Vec<Uuid> {
    let hashed = |name: &[u8]| Uuid::new_v5(&Uuid::NAMESPACE_OID, name);
    let identity = namespace.controller().identity();
    let serial = Some(&identity.serial).filter(|serial| !serial.is_empty());
    let by_serial = |serial| {
        let (vendor, model, id) = (identity.vendor, &identity.model, namespace.id());
        hashed(format!("{vendor:04x} {model} {serial} namespace {id}").as_bytes())
    };
    let by_slot = hashed(format!("{address} namespace {}", namespace.id()).as_bytes());
    let claims = [
        namespace.nguid().map(Uuid::from_bytes),
        namespace.eui64().map(|eui64| hashed(&eui64)),
        serial.map(by_serial),
        Some(by_slot),
    ];
    claims.into_iter().flatten().collect()
}
