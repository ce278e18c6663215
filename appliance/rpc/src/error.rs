//! Every error code that is answered, in one place, with the word that clients look for.
//!
//! A message is `<word>: <what is wrong>; <remedy>`. Clients that read text and not codes match the
//! word: that of JSON-RPC as SPDK writes it, or glibc's for an errno, whichever libc is linked.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::io;

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

    /// Negative of an errno.
    #[must_use]
    pub const fn errno(errno: Errno) -> Self {
        Self(errno.raw_os_error().wrapping_neg())
    }

    /// Word of the field for this code.
    #[must_use]
    pub fn word(self) -> Cow<'static, str> {
        let known = WORDS.iter().find(|(code, _)| *code == self);
        known.map_or_else(|| self.system_word().into(), |&(_, word)| word.into())
    }

    /// Word that the linked libc has for an errno.
    fn system_word(self) -> String {
        let text = io::Error::from_raw_os_error(self.0.wrapping_neg()).to_string();
        text.split_once(" (os error").map_or(text.as_str(), |(word, _)| word).into()
    }
}

/// Words of the codes that are answered on purpose.
const WORDS: &[(Code, &str)] = &[
    (Code::PARSE_ERROR, "Parse error"),
    (Code::INVALID_REQUEST, "Invalid request"),
    (Code::METHOD_NOT_FOUND, "Method not found"),
    (Code::INVALID_PARAMS, "Invalid parameters"),
    (Code::INTERNAL_ERROR, "Internal error"),
    (Code::INVALID_STATE, "Invalid state"),
    (Code::errno(Errno::NOENT), "No such file or directory"),
    (Code::errno(Errno::IO), "Input/output error"),
    (Code::errno(Errno::NOMEM), "Cannot allocate memory"),
    (Code::errno(Errno::ACCESS), "Permission denied"),
    (Code::errno(Errno::BUSY), "Device or resource busy"),
    (Code::errno(Errno::EXIST), "File exists"),
    (Code::errno(Errno::NODEV), "No such device"),
    (Code::errno(Errno::INVAL), "Invalid argument"),
    (Code::errno(Errno::RANGE), "Numerical result out of range"),
    (Code::errno(Errno::OPNOTSUPP), "Operation not supported"),
];

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
    /// Word of the code, what was wrong, and what to do.
    pub message: String,
}

impl RpcError {
    /// An error of any code.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self::of_text(code, &format!("{}: {message}", code.word()))
    }

    /// Adds what went wrong besides.
    #[must_use]
    pub fn and(self, more: impl fmt::Display) -> Self {
        Self::of_text(self.code, &format!("{}; {more}", self.message))
    }

    /// Adds where in a larger whole the call stands that failed.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        Self::of_text(self.code, &format!("{place}: {}", self.message))
    }

    /// An error with this whole message, as far as it is not too long.
    fn of_text(code: Code, message: &str) -> Self {
        Self { code, message: cut_short(message, MESSAGE_BYTES).into() }
    }

    /// A parameter that cannot be.
    pub fn invalid_params(message: impl fmt::Display) -> Self {
        Self::new(Code::INVALID_PARAMS, message)
    }

    /// Luge failed where it should not.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Code::INTERNAL_ERROR, message)
    }

    /// A call that comes too early or too late in the life of the process.
    pub fn invalid_state(message: impl fmt::Display) -> Self {
        Self::new(Code::INVALID_STATE, message)
    }

    /// The state of things does not allow it: -17 for a name that is taken, and so on.
    pub fn errno(errno: Errno, message: impl fmt::Display) -> Self {
        Self::new(Code::errno(errno), message)
    }

    /// The kernel refused what was asked of it, with a message that has its answer.
    pub fn kernel(source: &io::Error, message: impl fmt::Display) -> Self {
        Self::errno(Errno::from_io_error(source).unwrap_or(Errno::IO), message)
    }

    /// The name is taken.
    pub fn exists(message: impl fmt::Display) -> Self {
        Self::errno(Errno::EXIST, message)
    }

    /// There is nothing of that name.
    pub fn no_device(message: impl fmt::Display) -> Self {
        Self::errno(Errno::NODEV, message)
    }

    /// There is no file of that path.
    pub fn no_file(message: impl fmt::Display) -> Self {
        Self::errno(Errno::NOENT, message)
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
    fn errors_of_state_have_the_negative_errno_and_its_word_that_scripts_look_for() {
        for (error, code, message) in [
            (RpcError::exists("x"), -17, "File exists: x"),
            (RpcError::no_device("x"), -19, "No such device: x"),
            (RpcError::no_file("x"), -2, "No such file or directory: x"),
            (RpcError::busy("x"), -16, "Device or resource busy: x"),
            (RpcError::no_memory("x"), -12, "Cannot allocate memory: x"),
            (RpcError::invalid("x"), -22, "Invalid argument: x"),
            (RpcError::unsupported("x"), -95, "Operation not supported: x"),
            (RpcError::errno(Errno::IO, "x"), -5, "Input/output error: x"),
            (RpcError::errno(Errno::RANGE, "x"), -34, "Numerical result out of range: x"),
        ] {
            assert_eq!((error.code.0, error.message.as_str()), (code, message));
        }
    }

    #[test]
    fn errors_of_calls_have_the_codes_and_words_of_the_field() {
        for (code, word) in [
            (Code::PARSE_ERROR, "Parse error"),
            (Code::INVALID_REQUEST, "Invalid request"),
            (Code::METHOD_NOT_FOUND, "Method not found"),
            (Code::INVALID_PARAMS, "Invalid parameters"),
            (Code::INTERNAL_ERROR, "Internal error"),
            (Code::INVALID_STATE, "Invalid state"),
        ] {
            assert_eq!(code.word(), word);
        }
    }

    #[test]
    fn an_answer_of_the_kernel_keeps_its_errno() {
        let full = RpcError::kernel(&io::Error::from(Errno::NOSPC), "x");
        assert_eq!((full.code.0, full.message.as_str()), (-28, "No space left on device: x"));
        assert_eq!(RpcError::kernel(&io::Error::other("?"), "x").code.0, -5);
    }

    #[test]
    fn a_call_of_a_configuration_is_named_before_its_error() {
        let error = RpcError::busy("x").at("entry 1");
        assert_eq!((error.code.0, error.message.as_str()), (-16, "entry 1: Device or resource busy: x"));
    }
}
