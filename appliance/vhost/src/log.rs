//! Rate-limited log lines about rings and memory of front ends.

use luge_endpoint::Limit;

/// The kinds of line of an endpoint.
#[derive(Default)]
pub(crate) struct Log {
    /// A ring was broken by its guest.
    pub(crate) broken: Limit,
    /// A ring waits for its memory.
    pub(crate) waiting: Limit,
    /// A region of memory is in a file that is not mapped.
    pub(crate) unmapped: Limit,
    /// A core has waited for its memory.
    pub(crate) costly: Limit,
}
