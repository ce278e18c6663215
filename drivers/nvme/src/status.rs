//! Block status for an NVMe status code. Unknown codes are legal, and become device errors.

use luge_block::Status;
use luge_spec::nvme::StatusCode;

/// Status of a request whose command failed with that code.
pub(crate) fn failure(code: StatusCode) -> Status {
    match code {
        StatusCode::LBA_OUT_OF_RANGE => Status::OutOfRange,
        StatusCode::INVALID_FIELD | StatusCode::PRP_OFFSET_INVALID => Status::Invalid,
        StatusCode::INVALID_OPCODE => Status::Unsupported,
        StatusCode::NAMESPACE_WRITE_PROTECTED | StatusCode::READ_ONLY_RANGE => Status::WriteProtected,
        StatusCode::CAPACITY_EXCEEDED => Status::NoSpace,
        StatusCode::ABORT_REQUESTED | StatusCode::ABORTED_QUEUE_DELETED | StatusCode::ABORTED_POWER_LOSS => {
            Status::Aborted
        }
        StatusCode::INVALID_NAMESPACE => Status::Gone,
        StatusCode::RESERVATION_CONFLICT => Status::ReservationConflict,
        StatusCode::ACCESS_DENIED => Status::DeviceError,
        code if code.is_media_error() => Status::MediaError,
        _ => Status::DeviceError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_of_a_failure_ends_a_request_well() {
        for code in 1..0x800 {
            assert_ne!(failure(StatusCode(code)), Status::Success, "{code:#x}");
        }
        assert_eq!(failure(StatusCode::UNRECOVERED_READ), Status::MediaError);
        assert_eq!(failure(StatusCode::CAPACITY_EXCEEDED), Status::NoSpace);
        assert_eq!(failure(StatusCode::READ_ONLY_RANGE), Status::WriteProtected);
        assert_eq!(failure(StatusCode::RESERVATION_CONFLICT), Status::ReservationConflict);
    }
}
