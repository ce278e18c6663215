//! The console: RPC methods as commands, with a person's manners.
//!
//! - `terminal`, `screen`: where keys come from and text goes.
//! - `keys`, `editor`, `complete`: a line on its way.
//! - `command`: what the line means. `table`: what the answer looks like.
//! - `session`: the conversation. `attach`, `kernel_log`: commands of the console's own.
//!
//! Invariants
//! - It works over any serial line: no question to the terminal, no more than 80 columns
//!   unless the kernel says so.
//! - It works whatever state the sled is in: a command that fails says why, and the next one
//!   can be typed.
//!
//! Not here: the methods themselves; who is allowed to sit at the console.

mod attach;
mod command;
mod complete;
mod editor;
mod kernel_log;
mod keys;
mod screen;
mod session;
mod table;
mod terminal;

pub use screen::Screen;
pub use session::Console;
pub use terminal::Terminal;

use serde_json::Value;

/// What a console can do.
pub trait Commands: Send + Sync {
    /// The methods, in the order in which help lists them.
    fn methods(&self) -> Vec<MethodHelp>;

    /// Calls a method. `params` are an object, or null for none.
    ///
    /// # Errors
    /// Why it failed.
    fn call(&self, method: &str, params: Value) -> Result<Value, Refusal>;
}

/// A method, for help and completion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MethodHelp {
    /// Its name.
    pub name: String,
    /// What it does, in a line.
    pub help: String,
    /// Its parameters.
    pub parameters: Vec<ParameterHelp>,
}

/// A parameter, for help and completion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParameterHelp {
    /// Its name.
    pub name: String,
    /// What it takes: `string`, `number`, `boolean`, `list`, `object`, or something of its own, which
    /// is written as a string.
    pub kind: String,
    /// Whether it must be given.
    pub required: bool,
    /// What it means, in a line.
    pub help: String,
}

/// Why a method failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The code of the JSON-RPC error.
    pub code: i64,
    /// What was wrong and what to do.
    pub message: String,
}
