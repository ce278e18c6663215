//! Requests of the control queue, and the places of their responses.

use super::lun::LunPlace;
use super::relay::{Notification, NotificationAction, RelayedRequest, TaskFunction, TaskManagement};
use crate::pieces::Pieces;
use luge_memory::{SharedByte, Span};
use luge_spec::virtio::scsi::{
    ControlType, NotificationRequest, NotificationResponse, Response, TaskManagementFunction,
    TaskManagementRequest,
};
use luge_virtqueue::Chain;
use zerocopy::FromBytes;

/// Length of the longest request and response in bytes.
const REQUEST_BYTES: usize = size_of::<TaskManagementRequest>();
const RESPONSE_BYTES: usize = size_of::<NotificationResponse>();

/// Layout of a request. Chains of control requests are all read one by one.
type Layout = luge_virtqueue::ResponseFirst<REQUEST_BYTES, RESPONSE_BYTES>;

/// The chains of one take.
pub(super) type Batch = luge_virtqueue::Batch<Layout>;

/// A control request that is in order.
#[derive(Clone, Copy)]
pub(super) enum ControlRequest {
    TaskManagement(TaskManagement),
    Notification(Notification),
}

impl From<ControlRequest> for RelayedRequest {
    fn from(request: ControlRequest) -> Self {
        match request {
            ControlRequest::TaskManagement(request) => Self::TaskManagement(request),
            ControlRequest::Notification(request) => Self::Notification(request),
        }
    }
}

/// Form of a response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The outcome, a byte.
    Task,
    /// Events, then the outcome.
    Notification,
    /// Both: for a request whose kind is not known.
    Unknown,
}

/// Place of a response: its bytes, as many as there are.
pub(super) struct ResponsePlace {
    bytes: heapless::Vec<SharedByte, RESPONSE_BYTES>,
    form: Form,
}

impl ResponsePlace {
    /// A list for the spans of a response, each of whose bytes could lie elsewhere.
    pub(super) const LIST: [Span; RESPONSE_BYTES] = [Span::EMPTY; RESPONSE_BYTES];

    /// Place of the response of a request whose kind is not known.
    pub(super) fn of(spans: &[Span]) -> Self {
        let mut bytes = heapless::Vec::new();
        for &span in spans {
            let mut left = span;
            while let Some(byte) = left.first_byte().filter(|_| !bytes.is_full()) {
                // There is room.
                let _ = bytes.push(byte);
                left = left.split_at(1).1;
            }
        }
        Self { bytes, form: Form::Unknown }
    }

    /// Writes the response; returns its length, or zero if there is no room for it.
    pub(super) fn write(&self, response: Response, events: u32) -> u32 {
        let [a, b, c, d] = events.to_le_bytes();
        let [task, notification] = [&[response.0][..], &[a, b, c, d, response.0]];
        let unknown = [response.0, 0, 0, 0, response.0];
        let all = match self.form {
            Form::Task => task,
            Form::Notification => notification,
            Form::Unknown => unknown.get(..self.bytes.len()).unwrap_or(&unknown),
        };
        if self.bytes.len() < all.len() {
            return 0;
        }
        self.bytes.iter().zip(all).for_each(|(place, &byte)| place.store(byte));
        u32::try_from(all.len()).unwrap_or(0)
    }
}

/// Reads a chain: the place of its response, and its request, or the response with which it is refused.
pub(super) fn read(chain: Chain<'_>) -> (ResponsePlace, Result<ControlRequest, Response>) {
    let Chain { first, fault, readable, writable, bytes, .. } = chain;
    let mut response = ResponsePlace::of(writable);
    let mut request = [0; REQUEST_BYTES];
    let read = Pieces::new(readable, first, bytes.readable).read(&mut request);
    let bytes = request.get(..read).filter(|_| fault.is_none()).unwrap_or_default();
    let kind = ControlType::read_from_prefix(bytes).map(|(kind, _)| kind);
    response.form = match kind {
        Ok(ControlType::TASK_MANAGEMENT) => Form::Task,
        Ok(ControlType::NOTIFICATION_QUERY | ControlType::NOTIFICATION_SUBSCRIBE) => Form::Notification,
        _ => Form::Unknown,
    };
    let request = match response.form {
        Form::Task => task_management(bytes).map(ControlRequest::TaskManagement),
        Form::Notification => notification(bytes).map(ControlRequest::Notification),
        Form::Unknown => Err(Response::FAILURE),
    };
    (response, request)
}

fn task_management(bytes: &[u8]) -> Result<TaskManagement, Response> {
    let (request, _) = TaskManagementRequest::read_from_prefix(bytes).map_err(|_| Response::FAILURE)?;
    let function = task_function(request.function).ok_or(Response::FUNCTION_REJECTED)?;
    let place = LunPlace::parse(request.lun).ok_or(Response::BAD_TARGET)?;
    Ok(TaskManagement { function, place, tag: request.tag.get() })
}

fn task_function(function: TaskManagementFunction) -> Option<TaskFunction> {
    Some(match function {
        TaskManagementFunction::ABORT_TASK => TaskFunction::AbortTask,
        TaskManagementFunction::ABORT_TASK_SET => TaskFunction::AbortTaskSet,
        TaskManagementFunction::CLEAR_ACA => TaskFunction::ClearAca,
        TaskManagementFunction::CLEAR_TASK_SET => TaskFunction::ClearTaskSet,
        TaskManagementFunction::I_T_NEXUS_RESET => TaskFunction::NexusReset,
        TaskManagementFunction::LOGICAL_UNIT_RESET => TaskFunction::UnitReset,
        TaskManagementFunction::QUERY_TASK => TaskFunction::QueryTask,
        TaskManagementFunction::QUERY_TASK_SET => TaskFunction::QueryTaskSet,
        _ => return None,
    })
}

fn notification(bytes: &[u8]) -> Result<Notification, Response> {
    let (request, _) = NotificationRequest::read_from_prefix(bytes).map_err(|_| Response::FAILURE)?;
    let subscribes = request.kind == ControlType::NOTIFICATION_SUBSCRIBE;
    let action = if subscribes { NotificationAction::Subscribe } else { NotificationAction::Query };
    let place = LunPlace::parse(request.lun).ok_or(Response::BAD_TARGET)?;
    Ok(Notification { action, place, requested: request.requested.get() })
}
