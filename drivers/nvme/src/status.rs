//! An NVMe status as a block status. Codes are foreign: unknown ones are device errors.

use luge_block::Status;
use luge_spec::nvme::StatusCode;

/// How a request ended whose command ended so.
#[inline]
pub(crate) fn block_status(code: StatusCode) -> Status {
    if code == StatusCode::SUCCESS { Status::Success } else { failure(code) }
}

#[cold]
fn failure(code: StatusCode) -> Status {
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
        StatusCode::ACCESS_DENIED => Status::DeviceError,
        code if code.is_media_error() => Status::MediaError,
        _ => Status::DeviceError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_ends_a_request_and_only_success_ends_it_well() {
        for code in 1..0x800 {
            assert_ne!(block_status(StatusCode(code)), Status::Success, "{code:#x}");
        }
        assert_eq!(block_status(StatusCode::SUCCESS), Status::Success);
        assert_eq!(block_status(StatusCode::UNRECOVERED_READ), Status::MediaError);
        assert_eq!(block_status(StatusCode::CAPACITY_EXCEEDED), Status::NoSpace);
        assert_eq!(block_status(StatusCode::READ_ONLY_RANGE), Status::WriteProtected);
    }
}
