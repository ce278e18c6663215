//! The SCSI host device (virtio 1.3, clause 5.6).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a CDB in a request, whatever the command needs: the default of [`Config::cdb_size`].
pub const CDB_BYTES: usize = 32;
/// Most bytes of sense data in a response: the default of [`Config::sense_size`].
pub const SENSE_BYTES: usize = 96;
/// Number of the queue for control requests.
pub const CONTROL_QUEUE: u16 = 0;
/// Number of the queue for events.
pub const EVENT_QUEUE: u16 = 1;
/// Number of the first request queue.
pub const REQUEST_QUEUE: u16 = 2;

/// Address of a logical unit, or of a target, as requests and events have it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct LunField(pub [u8; 8]);

/// Header of a request, which data-out follows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RequestHeader {
    /// Address of the logical unit.
    pub lun: LunField,
    /// Tag of the task, chosen by the driver.
    pub tag: U64,
    /// Task attribute; the device may take all for SIMPLE.
    pub task_attribute: u8,
    /// Priority; the device may ignore it.
    pub priority: u8,
    /// Command reference number; the device may ignore it.
    pub reference_number: u8,
    /// CDB, padded with zeroes.
    pub cdb: [u8; CDB_BYTES],
}

const _: () = assert!(size_of::<RequestHeader>() == 51);

/// Response to a request, which data-in follows, without the sense data at its end.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ResponseHeader {
    /// Bytes of sense data that are valid.
    pub sense_bytes: U32,
    /// Bytes of data-in or data-out that were not transferred.
    pub residual: U32,
    /// Status qualifier.
    pub status_qualifier: U16,
    /// SCSI status.
    pub status: u8,
    /// Outcome of the request.
    pub response: Response,
}

const _: () = assert!(size_of::<ResponseHeader>() == 12);

/// Bytes of a response to a request, sense data included.
pub const RESPONSE_BYTES: usize = size_of::<ResponseHeader>() + SENSE_BYTES;

/// Outcome of a request, of any queue.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct Response(pub u8);

impl Response {
    /// The request has a status; or, for notifications, was done.
    pub const OK: Self = Self(0);
    /// The task management function is complete.
    pub const FUNCTION_COMPLETE: Self = Self(0);
    /// The command has more data than there is memory for.
    pub const OVERRUN: Self = Self(1);
    /// A task management function has aborted the request.
    pub const ABORTED: Self = Self(2);
    /// There is no such target.
    pub const BAD_TARGET: Self = Self(3);
    /// A reset of the target or logical unit has ended the request.
    pub const RESET: Self = Self(4);
    /// The device is busy.
    pub const BUSY: Self = Self(5);
    /// The request is refused otherwise.
    pub const FAILURE: Self = Self(9);
    /// The task that was asked for is there.
    pub const FUNCTION_SUCCEEDED: Self = Self(10);
    /// The device has no such task management function.
    pub const FUNCTION_REJECTED: Self = Self(11);
    /// There is no such logical unit: for task management and notifications.
    pub const INCORRECT_LUN: Self = Self(12);
}

/// Type of a control request: its first word.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct ControlType(pub U32);

impl ControlType {
    /// Task management.
    pub const TASK_MANAGEMENT: Self = Self(U32::new(0));
    /// Query of asynchronous notifications.
    pub const NOTIFICATION_QUERY: Self = Self(U32::new(1));
    /// Subscription of asynchronous notifications.
    pub const NOTIFICATION_SUBSCRIBE: Self = Self(U32::new(2));
}

/// Task management request. The response is one byte.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct TaskManagementRequest {
    /// [`ControlType::TASK_MANAGEMENT`].
    pub kind: ControlType,
    /// Function.
    pub function: TaskManagementFunction,
    /// Address of the logical unit; for some functions only the target counts.
    pub lun: LunField,
    /// Tag of the task, for functions on one.
    pub tag: U64,
}

const _: () = assert!(size_of::<TaskManagementRequest>() == 24);

/// Task management function.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct TaskManagementFunction(pub U32);

impl TaskManagementFunction {
    /// ABORT TASK.
    pub const ABORT_TASK: Self = Self(U32::new(0));
    /// ABORT TASK SET.
    pub const ABORT_TASK_SET: Self = Self(U32::new(1));
    /// CLEAR ACA.
    pub const CLEAR_ACA: Self = Self(U32::new(2));
    /// CLEAR TASK SET.
    pub const CLEAR_TASK_SET: Self = Self(U32::new(3));
    /// I_T NEXUS RESET.
    pub const I_T_NEXUS_RESET: Self = Self(U32::new(4));
    /// LOGICAL UNIT RESET.
    pub const LOGICAL_UNIT_RESET: Self = Self(U32::new(5));
    /// QUERY TASK.
    pub const QUERY_TASK: Self = Self(U32::new(6));
    /// QUERY TASK SET.
    pub const QUERY_TASK_SET: Self = Self(U32::new(7));
}

/// Query or subscription of asynchronous notifications.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct NotificationRequest {
    /// [`ControlType::NOTIFICATION_QUERY`] or [`ControlType::NOTIFICATION_SUBSCRIBE`].
    pub kind: ControlType,
    /// Address of the logical unit.
    pub lun: LunField,
    /// Events that are asked for, a bit each.
    pub requested: U32,
}

const _: () = assert!(size_of::<NotificationRequest>() == 16);

/// Response to a query or subscription of asynchronous notifications.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct NotificationResponse {
    /// Events that the logical unit supports, or that were subscribed.
    pub actual: U32,
    /// Outcome.
    pub response: Response,
}

const _: () = assert!(size_of::<NotificationResponse>() == 5);

/// Event.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Event {
    /// Kind of the event, and [`EventKind::MISSED`].
    pub kind: EventKind,
    /// Address of the logical unit.
    pub lun: LunField,
    /// Reason, depends on the kind.
    pub reason: U32,
}

const _: () = assert!(size_of::<Event>() == 16);

/// Kind of an event.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct EventKind(pub U32);

impl EventKind {
    /// No event: only [`Self::MISSED`] counts.
    pub const NONE: Self = Self(U32::new(0));
    /// A logical unit was reset, added or removed: [`Event::reason`] tells which.
    pub const TRANSPORT_RESET: Self = Self(U32::new(1));
    /// Asynchronous notification.
    pub const ASYNC_NOTIFY: Self = Self(U32::new(2));
    /// Parameters of a logical unit have changed: the reason is its additional sense code, and the qualifier above it.
    pub const PARAMETER_CHANGE: Self = Self(U32::new(3));
    /// Added to a kind where events before it are lost.
    pub const MISSED: u32 = 1 << 31;

    /// Adds [`Self::MISSED`].
    #[must_use]
    pub const fn with_missed(self) -> Self {
        Self(U32::new(self.0.get() | Self::MISSED))
    }
}

/// Reasons of [`EventKind::TRANSPORT_RESET`].
pub mod reset_reason {
    /// The logical unit was reset.
    pub const HARD: u32 = 0;
    /// A logical unit was added.
    pub const RESCAN: u32 = 1;
    /// The logical unit was removed.
    pub const REMOVED: u32 = 2;
}

/// Configuration space.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Config {
    /// Number of request queues.
    pub num_queues: U32,
    /// Most segments of a request.
    pub seg_max: U32,
    /// Most sectors of 512 bytes of a request.
    pub max_sectors: U32,
    /// Most requests to one logical unit at a time.
    pub cmd_per_lun: U32,
    /// Bytes of an event.
    pub event_info_size: U32,
    /// Most bytes of sense data. Drivers may write it; [`SENSE_BYTES`] after a reset.
    pub sense_size: U32,
    /// Bytes of a CDB. Drivers may write it; [`CDB_BYTES`] after a reset.
    pub cdb_size: U32,
    /// The highest channel.
    pub max_channel: U16,
    /// The highest target.
    pub max_target: U16,
    /// The highest logical unit.
    pub max_lun: U32,
}

const _: () = assert!(size_of::<Config>() == 36);
