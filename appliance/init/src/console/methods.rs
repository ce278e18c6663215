//! Methods that a console can call, with their descriptions.

use super::terminal::Terminal;
use serde_json::Value;

/// The methods of a console.
pub trait Commands: Send + Sync {
    /// Descriptions of all methods, in the order in which help lists them.
    fn methods(&self) -> Vec<MethodHelp>;

    /// Calls a method. `params` is an object, or null for none.
    ///
    /// # Errors
    /// Errors of the method.
    fn call(&self, method: &str, params: Value) -> Result<Value, MethodError>;

    /// Shows a full-screen view of what runs at a terminal, until its user leaves it.
    ///
    /// # Errors
    /// Problem and remedy.
    fn top(&self, terminal: &Terminal) -> Result<(), String>;
}

/// Description of a method, for help and completion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MethodHelp {
    /// Name of the method.
    pub name: String,
    /// Description: one line.
    pub help: String,
    /// Parameters of the method.
    pub parameters: Vec<ParameterHelp>,
}

/// Description of a parameter, for help and completion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParameterHelp {
    /// Name of the parameter.
    pub name: String,
    /// Type: `string`, `number`, `boolean`, `list`, `object`, or another word for a type that is written
    /// as a string.
    pub kind: String,
    /// Whether a call without it fails.
    pub required: bool,
    /// Meaning: one line.
    pub help: String,
}

/// Error of a method.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MethodError {
    /// Code of the JSON-RPC error.
    pub code: i64,
    /// Problem and remedy.
    pub message: String,
}
