//! Reservation Report, as its host gets it. Base 2.0, figures 404 to 407.

use super::command::type_value;
use luge_reservations::{RegistrantReport, Report};
use luge_spec::nvme::{
    EXTENDED_STATUS_GAP, ExtendedRegisteredController, RegisteredController, ReservationStatus,
};
use zerocopy::IntoBytes;

/// Length of host identifiers in a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HostIds {
    /// 64 bits.
    Short,
    /// 128 bits: the extended structures.
    Long,
}

/// A registrant, with one of its controllers or none.
struct Line<'a> {
    registrant: &'a RegistrantReport,
    controller: u16,
}

/// Bytes of a report. `target` is the subsystem of the controllers that are named; those of others are as if they were
/// not connected.
pub(super) fn bytes(report: &Report, target: u64, host_ids: HostIds) -> Vec<u8> {
    let lines: Vec<Line<'_>> = report.registrants.iter().flat_map(|one| lines(one, target)).collect();
    let registered = u16::try_from(lines.len()).unwrap_or(u16::MAX).to_le_bytes();
    let (generation, kind) = (report.generation, type_value(report.kind));
    let status = ReservationStatus { generation, kind, registered, ..ReservationStatus::default() };
    let mut bytes = status.as_bytes().to_vec();
    if host_ids == HostIds::Long {
        bytes.extend([0; EXTENDED_STATUS_GAP]);
    }
    for line in &lines {
        match host_ids {
            HostIds::Short => bytes.extend_from_slice(line.short().as_bytes()),
            HostIds::Long => bytes.extend_from_slice(line.long().as_bytes()),
        }
    }
    bytes
}

/// A line for each controller of a registrant, or one for none.
fn lines(registrant: &RegistrantReport, target: u64) -> Vec<Line<'_>> {
    let ports = registrant.ports.iter().filter(|port| port.target == target);
    let mut controllers: Vec<u16> = ports.map(|port| port.number).collect();
    if controllers.is_empty() {
        controllers.push(RegisteredController::NO_CONTROLLER);
    }
    controllers.into_iter().map(|controller| Line { registrant, controller }).collect()
}

impl Line<'_> {
    fn status(&self) -> u8 {
        if self.registrant.holds { RegisteredController::HOLDS } else { 0 }
    }

    fn short(&self) -> RegisteredController {
        let low = self.registrant.identity.host & u128::from(u64::MAX);
        RegisteredController {
            controller: self.controller,
            status: self.status(),
            host: u64::try_from(low).unwrap_or(0),
            key: self.registrant.key.0,
            ..RegisteredController::default()
        }
    }

    fn long(&self) -> ExtendedRegisteredController {
        ExtendedRegisteredController {
            controller: self.controller,
            status: self.status(),
            key: self.registrant.key.0,
            host: self.registrant.identity.host.to_le_bytes(),
            ..ExtendedRegisteredController::default()
        }
    }
}
