//! Every error code that is answered, in one place.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An error code of JSON-RPC 2.0, clause 5.1, or a negative errno for the state of things.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(pub i32);

impl Code {
    /// The bytes are not JSON, or too many. The connection ends: its place in the stream is lost.
    pub const PARSE_ERROR: Self = Self(-32700);
    /// The JSON is not a request.
    pub const INVALID_REQUEST: Self = Self(-32600);
    /// There is no such method.
    pub const METHOD_NOT_FOUND: Self = Self(-32601);
    /// A parameter is unknown, missing, mistyped or out of its range.
    pub const INVALID_PARAMS: Self = Self(-32602);
    /// Luge failed where it should not.
    pub const INTERNAL_ERROR: Self = Self(-32603);
    /// The method is not for this stage of the process's life.
    pub const INVALID_STATE: Self = Self(-1);

    /// "Permission denied" and its like: the negative of an errno.
    #[must_use]
    pub const fn errno(errno: Errno) -> Self {
        Self(errno.raw_os_error().wrapping_neg())
    }
}

/// Longest message in bytes: what a client sent is not sent back to it at any length.
const MESSAGE_BYTES: usize = 4096;

/// Shortens a text to at most so many bytes.
pub(crate) fn cut_short(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// The error of a call: a code for programs, and a sentence for the operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RpcError {
    /// What kind.
    pub code: Code,
    /// What was wrong, and what to do.
    pub message: String,
}

impl RpcError {
    /// An error of any code.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, message: cut_short(&message.to_string(), MESSAGE_BYTES).into() }
    }

    /// A parameter that cannot be.
    pub fn invalid_params(message: impl fmt::Display) -> Self {
        Self::new(Code::INVALID_PARAMS, message)
    }

    /// Luge failed where it should not.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Code::INTERNAL_ERROR, message)
    }

    /// The state of things does not allow it: -17 for a name that is taken, and so on.
    pub fn errno(errno: Errno, message: impl fmt::Display) -> Self {
        Self::new(Code::errno(errno), message)
    }

    /// The name is taken.
    pub fn exists(message: impl fmt::Display) -> Self {
        Self::errno(Errno::EXIST, message)
    }

    /// There is nothing of that name.
    pub fn no_device(message: impl fmt::Display) -> Self {
        Self::errno(Errno::NODEV, message)
    }

    /// It is in use.
    pub fn busy(message: impl fmt::Display) -> Self {
        Self::errno(Errno::BUSY, message)
    }

    /// There is no memory, or no budget, for it.
    pub fn no_memory(message: impl fmt::Display) -> Self {
        Self::errno(Errno::NOMEM, message)
    }

    /// The value is of its type, but cannot be meant.
    pub fn invalid(message: impl fmt::Display) -> Self {
        Self::errno(Errno::INVAL, message)
    }

    /// It is possible, but not with Luge.
    pub fn unsupported(message: impl fmt::Display) -> Self {
        Self::errno(Errno::OPNOTSUPP, message)
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RpcError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_state_have_the_negative_errno_that_scripts_look_for() {
        let code = |error: RpcError| error.code.0;
        assert_eq!(code(RpcError::exists("")), -17);
        assert_eq!(code(RpcError::no_device("")), -19);
        assert_eq!(code(RpcError::busy("")), -16);
        assert_eq!(code(RpcError::no_memory("")), -12);
        assert_eq!(code(RpcError::invalid("")), -22);
    }
}
