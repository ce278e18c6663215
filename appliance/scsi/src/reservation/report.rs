//! PERSISTENT RESERVE IN. SPC-4, clause 6.15.

use super::kind;
use crate::bytes::{cut, length_16, length_32, u8_at, u16_at};
use crate::ports::identity_hash;
use crate::sense::Sense;
use crate::unit::{Nexus, SCSI_TARGETS};
use luge_reservations::{Identity, RegistrantReport, Report, Scope};
use luge_spec::scsi::{
    FullStatusDescriptor, ReservationDescriptor, ReserveCapabilities, ReserveInHeader, SasTransportId,
    ServiceAction, persistent_reserve as bits,
};
use zerocopy::IntoBytes;

/// Answers PERSISTENT RESERVE IN.
pub(crate) fn report(nexus: &Nexus, cdb: &[u8]) -> Result<Vec<u8>, Sense> {
    let report = nexus.reservations().report();
    let data = match ServiceAction(u8_at(cdb, 1) & ServiceAction::MASK) {
        ServiceAction::READ_KEYS => keys(&report),
        ServiceAction::READ_RESERVATION => reservation(&report),
        ServiceAction::REPORT_CAPABILITIES => capabilities(),
        ServiceAction::READ_FULL_STATUS => full_status(&report),
        _ => return Err(Sense::invalid_bit_in_cdb(1, 4)),
    };
    Ok(cut(data, u16_at(cdb, 7).into()))
}

/// A list behind its header.
fn list(report: &Report, body: &[u8]) -> Vec<u8> {
    let header =
        ReserveInHeader { generation: report.generation.into(), length: length_32(body.len()).into() };
    [header.as_bytes(), body].concat()
}

fn keys(report: &Report) -> Vec<u8> {
    let keys = report.registrants.iter().flat_map(|registrant| registrant.key.0.to_be_bytes());
    list(report, &keys.collect::<Vec<u8>>())
}

/// Where all registrants hold the reservation, the key is zero.
fn reservation(report: &Report) -> Vec<u8> {
    let Some(kind) = report.kind else { return list(report, &[]) };
    let holder = report.registrants.iter().find(|registrant| registrant.holds);
    let key = holder.filter(|_| !kind.is_of_all_registrants()).map_or(0, |holder| holder.key.0);
    let descriptor = ReservationDescriptor {
        key: key.into(),
        scope_type: kind::code(kind),
        ..ReservationDescriptor::default()
    };
    list(report, descriptor.as_bytes())
}

fn capabilities() -> Vec<u8> {
    let capabilities = ReserveCapabilities {
        length: length_16(size_of::<ReserveCapabilities>()).into(),
        abilities: bits::COMPATIBLE_RESERVE_HANDLING,
        more_abilities: bits::TYPE_MASK_VALID | bits::ALLOW_COMMANDS,
        types: bits::ALL_TYPES.into(),
        ..ReserveCapabilities::default()
    };
    capabilities.as_bytes().to_vec()
}

fn full_status(report: &Report) -> Vec<u8> {
    let descriptors = report.registrants.iter().flat_map(|registrant| describe(report, registrant));
    list(report, &descriptors.collect::<Vec<u8>>())
}

/// A registrant. One of NVMe is registered at all ports; one of SCSI that is not connected now, at a port that is not
/// known.
fn describe(report: &Report, registrant: &RegistrantReport) -> Vec<u8> {
    let kind = report.kind.filter(|_| registrant.holds);
    let port = registrant.ports.iter().find(|port| port.target == SCSI_TARGETS).map_or(0, |port| port.number);
    let (all_ports, port) = match registrant.identity.scope {
        Scope::Host => (bits::ALL_PORTS, 0),
        Scope::Nexus(_) => (0, port),
    };
    let descriptor = FullStatusDescriptor {
        key: registrant.key.0.into(),
        flags: all_ports | if registrant.holds { bits::HOLDER } else { 0 },
        scope_type: kind.map_or(0, kind::code),
        port: port.into(),
        transport_id_bytes: length_32(size_of::<SasTransportId>()).into(),
        ..FullStatusDescriptor::default()
    };
    [descriptor.as_bytes(), transport_id(registrant.identity).as_bytes()].concat()
}

/// TransportID of an initiator: virtio has none of its own, and that of SAS has room for a number.
fn transport_id(identity: Identity) -> SasTransportId {
    let scope = match identity.scope {
        Scope::Host => 0_u64,
        Scope::Nexus(_) => 1,
    };
    let hash = identity_hash(&[identity.host.to_be_bytes().as_slice(), &scope.to_be_bytes()].concat());
    let folded = (hash ^ hash >> 64) & 0x0fff_ffff_ffff_ffff;
    let address = u64::try_from(folded).unwrap_or(0) | 0x3 << 60;
    SasTransportId {
        protocol: SasTransportId::PROTOCOL,
        address: address.into(),
        ..SasTransportId::default()
    }
}
