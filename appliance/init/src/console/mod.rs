//! Console: RPC methods as commands at a terminal.
//!
//! - `methods`: the methods and their descriptions.
//! - `terminal`, `screen`: input and output.
//! - `keys`, `editor`, `complete`: editing of a line.
//! - `command`: parsing of a line. `views`: results as a person reads them. `table`: printing.
//! - `repl`: the loop that reads and runs commands.
//! - `attach`, `kernel_log`, `last_words`: the console's own commands `vm_console`, `dmesg` and `last_words`. `top` is of [`Commands`].
//!
//! Invariants
//! - Any serial line will do: the terminal is never queried, and lines have 80 columns unless the
//!   kernel knows better.
//! - A command that fails prints its error, and the next command can be typed, in any state of the sled.
//!
//! Not here: the methods themselves; access to the console.

mod attach;
mod command;
mod complete;
mod editor;
mod kernel_log;
mod keys;
mod last_words;
mod methods;
mod repl;
mod screen;
mod table;
mod terminal;
mod views;

pub use keys::{Decoder, Key};
pub use methods::{Commands, MethodError, MethodHelp, ParameterHelp};
pub use repl::Console;
pub use screen::Screen;
pub use terminal::{Terminal, TerminalSize};
