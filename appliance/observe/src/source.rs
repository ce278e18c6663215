//! The source of numbers: RPC methods of a Luge.

use serde_json::Value;
use thiserror::Error;

/// Caller of RPC methods.
pub trait Source {
    /// Calls a method; `params` is an object, or null for none.
    ///
    /// # Errors
    /// [`SourceError`].
    fn call(&mut self, method: &str, params: Value) -> Result<Value, SourceError>;
}

/// Error of a call.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SourceError {
    /// No Luge answers, with the reason. The next call tries again.
    #[error("{0}")]
    Away(String),
    /// The method was refused.
    #[error("{message} (code {code})")]
    Refused {
        /// Code of the JSON-RPC error.
        code: i64,
        /// Problem and remedy.
        message: String,
    },
}
