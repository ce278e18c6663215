//! All error codes that are answered, and the words that clients match.
//!
//! A message is `<word>: <what is wrong>; <remedy>`. Clients that match text instead of codes look for
//! the word: SPDK's word for a code of JSON-RPC, glibc's for an errno (also if another libc is linked).

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::io;

/// Error code: of JSON-RPC 2.0 (clause 5.1), or a negative errno.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(pub i32);

impl Code {
    /// Input that is not JSON, or too long. The connection is closed, because the start of the next
    /// request is unknown.
    pub const PARSE_ERROR: Self = Self(-32700);
    /// JSON that is not a request.
    pub const INVALID_REQUEST: Self = Self(-32600);
    /// Unknown method.
    pub const METHOD_NOT_FOUND: Self = Self(-32601);
    /// Parameter that is unknown, missing, of the wrong type or out of range.
    pub const INVALID_PARAMS: Self = Self(-32602);
    /// Defect in Luge.
    pub const INTERNAL_ERROR: Self = Self(-32603);
    /// Method that does not work in the present [`Stage`](crate::Stage).
    pub const INVALID_STATE: Self = Self(-1);

    /// Code of an errno: its negative.
    #[must_use]
    pub const fn errno(errno: Errno) -> Self {
        Self(errno.raw_os_error().wrapping_neg())
    }

    /// Word that clients match for this code.
    #[must_use]
    pub fn word(self) -> Cow<'static, str> {
        let known = WORDS.iter().find(|(code, _)| *code == self);
        known.map_or_else(|| self.system_word().into(), |&(_, word)| word.into())
    }

    /// Word of the linked libc for an errno.
    fn system_word(self) -> String {
        let text = io::Error::from_raw_os_error(self.0.wrapping_neg()).to_string();
        text.split_once(" (os error").map_or(text.as_str(), |(word, _)| word).into()
    }
}

/// Words of the codes that Luge itself uses. An errno of the kernel may be any.
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
    (Code::errno(Errno::MFILE), "Too many open files"),
    (Code::errno(Errno::RANGE), "Numerical result out of range"),
    (Code::errno(Errno::OPNOTSUPP), "Operation not supported"),
];

/// Maximum length of a message in bytes. Messages quote what the client sent.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Shortens a text to at most `bytes_max` bytes, at a character boundary.
pub(crate) fn cut_short(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

/// Error of a call: a code for programs, a message for the operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RpcError {
    /// Error code.
    pub code: Code,
    /// Word of the code, what is wrong, remedy; at most 4096 bytes.
    pub message: String,
}

impl RpcError {
    /// Error with any code; the code's word is put before the message.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self::of_text(code, &format!("{}: {message}", code.word()))
    }

    /// Appends a further problem.
    #[must_use]
    pub fn and(self, more: impl fmt::Display) -> Self {
        Self::of_text(self.code, &format!("{}; {more}", self.message))
    }

    /// Puts the failed call's place in a larger whole, such as a configuration, before the message.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        Self::of_text(self.code, &format!("{place}: {}", self.message))
    }

    fn of_text(code: Code, message: &str) -> Self {
        Self { code, message: cut_short(message, MESSAGE_BYTES_MAX).into() }
    }

    /// [`Code::INVALID_PARAMS`].
    pub fn invalid_params(message: impl fmt::Display) -> Self {
        Self::new(Code::INVALID_PARAMS, message)
    }

    /// [`Code::INTERNAL_ERROR`].
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Code::INTERNAL_ERROR, message)
    }

    /// [`Code::INVALID_STATE`].
    pub fn invalid_state(message: impl fmt::Display) -> Self {
        Self::new(Code::INVALID_STATE, message)
    }

    /// Error with the negative errno as its code.
    pub fn errno(errno: Errno, message: impl fmt::Display) -> Self {
        Self::new(Code::errno(errno), message)
    }

    /// Error of a system call: its negative errno, -5 (EIO) if it has none. The message is to name
    /// `source`.
    pub fn kernel(source: &io::Error, message: impl fmt::Display) -> Self {
        Self::errno(Errno::from_io_error(source).unwrap_or(Errno::IO), message)
    }

    /// -17 (EEXIST): a name that is taken.
    pub fn exists(message: impl fmt::Display) -> Self {
        Self::errno(Errno::EXIST, message)
    }

    /// -19 (ENODEV): a name that nothing has.
    pub fn no_device(message: impl fmt::Display) -> Self {
        Self::errno(Errno::NODEV, message)
    }

    /// -2 (ENOENT): a path without a file.
    pub fn no_file(message: impl fmt::Display) -> Self {
        Self::errno(Errno::NOENT, message)
    }

    /// -16 (EBUSY): a thing that is in use.
    pub fn busy(message: impl fmt::Display) -> Self {
        Self::errno(Errno::BUSY, message)
    }

    /// -12 (ENOMEM): too little memory or budget.
    pub fn no_memory(message: impl fmt::Display) -> Self {
        Self::errno(Errno::NOMEM, message)
    }

    /// -22 (EINVAL): a value of the right type that cannot be used.
    pub fn invalid(message: impl fmt::Display) -> Self {
        Self::errno(Errno::INVAL, message)
    }

    /// -95 (EOPNOTSUPP): an operation that Luge does not have.
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
            assert_eq!(error.code.0, code, "{message}");
            assert_eq!(error.message, message);
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
        assert_eq!(full.code.0, -28);
        assert_eq!(full.message, "No space left on device: x");
        assert_eq!(RpcError::kernel(&io::Error::other("?"), "x").code.0, -5);
    }

    #[test]
    fn a_call_of_a_configuration_is_named_before_its_error() {
        let error = RpcError::busy("x").at("entry 1");
        assert_eq!(error.code.0, -16);
        assert_eq!(error.message, "entry 1: Device or resource busy: x");
    }
}
