//! What the appliance says, its log included: on the screens of consoles, above the line that
//! is being edited, and on stderr while there is no console yet.

use luge_init::Screen;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// The screens there are, by the name of their terminal. Clones are the same ones.
#[derive(Clone, Default)]
pub struct Screens(Arc<Mutex<BTreeMap<String, Screen>>>);

impl Screens {
    /// Adds a screen, in place of an earlier one of that terminal.
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
            // A boot without any console has nobody to tell.
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

/// An entry of the log: printed whole when it is complete.
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
