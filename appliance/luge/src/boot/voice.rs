//! What the appliance says: on all of its consoles, or where there is none yet, on standard error.
//!
//! Invariant: a console that is gone, slow or in the middle of a line is no obstacle.

use luge_init::Screen;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// The consoles that are listening. Clones have the same ones.
#[derive(Clone, Default)]
pub struct Voice {
    screens: Arc<Mutex<Vec<Listener>>>,
}

struct Listener {
    console: String,
    screen: Screen,
}

impl Voice {
    /// From now on this console listens.
    pub fn add(&self, console: &str, screen: Screen) {
        self.lock().push(Listener { console: console.to_owned(), screen });
    }

    /// From now on it does not.
    pub fn remove(&self, console: &str) {
        self.lock().retain(|listener| listener.console != console);
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        self.say_text(&format!("{line}\n"));
    }

    fn say_text(&self, text: &str) {
        let screens = self.lock();
        if screens.is_empty() {
            // Where even standard error is gone there is nobody to be told.
            let _ = io::stderr().write_all(text.as_bytes());
        }
        screens.iter().for_each(|listener| listener.screen.print(text));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.screens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log is said too.
impl Write for Voice {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.say_text(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Voice {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
