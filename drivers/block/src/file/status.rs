//! Statuses of requests for the kernel's errors, in this one place.

use crate::Status;
use rustix::io::Errno;

/// Status of a request that the kernel failed with `errno`.
pub(super) fn status(errno: Errno) -> Status {
    match errno {
        // The block layer's names for lost, unreadable or damaged data, and the file systems'.
        Errno::IO | Errno::NODATA | Errno::ILSEQ | Errno::REMOTEIO | Errno::UCLEAN | Errno::BADMSG => {
            Status::MediaError
        }
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Status::NoSpace,
        Errno::ROFS | Errno::PERM | Errno::ACCESS | Errno::TXTBSY => Status::WriteProtected,
        Errno::OPNOTSUPP | Errno::NOSYS => Status::Unsupported,
        Errno::NODEV | Errno::NXIO | Errno::NOMEDIUM | Errno::NOLINK | Errno::STALE => Status::Gone,
        // The guest's memory is no longer there.
        Errno::FAULT => Status::Invalid,
        Errno::CANCELED => Status::Aborted,
        // No memory, interrupted, timed out, or nothing that a file should answer.
        _ => Status::DeviceError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_its_status() {
        for (errno, expected) in [
            (Errno::IO, Status::MediaError),
            (Errno::NODATA, Status::MediaError),
            (Errno::NOSPC, Status::NoSpace),
            (Errno::DQUOT, Status::NoSpace),
            (Errno::ROFS, Status::WriteProtected),
            (Errno::PERM, Status::WriteProtected),
            (Errno::OPNOTSUPP, Status::Unsupported),
            (Errno::NODEV, Status::Gone),
            (Errno::FAULT, Status::Invalid),
            (Errno::CANCELED, Status::Aborted),
            (Errno::INVAL, Status::DeviceError),
            (Errno::NOMEM, Status::DeviceError),
        ] {
            assert_eq!(status(errno), expected, "{errno:?}");
        }
    }
}
