//! Output of the appliance, with its log: on the screens of consoles, above the line that
//! is being edited, and on stderr while there is no console yet.

use luge_init::Screen;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// Screens by the names of their terminals. Clones share the screens.
#[derive(Clone, Default)]
pub struct Screens(Arc<Mutex<BTreeMap<String, Screen>>>);

impl Screens {
    /// Adds a screen; replaces an earlier one of that terminal.
    pub fn put(&self, terminal: &str, screen: Screen) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(terminal.into(), screen);
    }

    /// Prints a line on all screens.
    pub fn say(&self, line: &str) {
        self.print(&format!("{line}\n"));
    }

    /// Prints on all screens.
    pub fn print(&self, text: &str) {
        let screens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if screens.is_empty() {
            // Without any console there is no place to print.
            let _ = io::stderr().write_all(text.as_bytes());
        }
        screens.values().for_each(|screen| screen.print(text));
    }
}

impl<'a> MakeWriter<'a> for Screens {
    type Writer = Entry;

    fn make_writer(&'a self) -> Entry {
        Entry { screens: self.clone(), text: Vec::new() }
    }
}

/// Writer of a log entry, which is printed when complete.
pub struct Entry {
    screens: Screens,
    text: Vec<u8>,
}

impl Write for Entry {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.screens.print(&String::from_utf8_lossy(&self.text));
    }
}
