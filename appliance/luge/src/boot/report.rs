//! The progress of the boot, a line for each phase.

use super::screens::Screens;
use std::time::{Duration, Instant};

/// Report of a boot in progress.
pub struct Report {
    screens: Screens,
    began: Instant,
    faults: usize,
}

/// Notes and faults of a phase.
#[derive(Default)]
pub struct Notes {
    good: Vec<String>,
    bad: Vec<String>,
}

impl Notes {
    /// Adds a note.
    pub fn note(&mut self, text: impl ToString) {
        self.good.push(text.to_string());
    }

    /// Adds a fault: the error and its remedy.
    pub fn fault(&mut self, text: impl ToString) {
        self.bad.push(text.to_string());
    }

    /// Notes, then faults with a mark.
    #[cfg(test)]
    pub fn lines(&self) -> Vec<String> {
        self.good.iter().cloned().chain(self.bad.iter().map(|text| format!("! {text}"))).collect()
    }

    /// Adds a fault if there is an error; returns the value.
    pub fn check<T, E: ToString>(&mut self, what: &str, outcome: Result<T, E>) -> Option<T> {
        outcome.map_err(|error| self.fault(format!("{what}: {}", error.to_string()))).ok()
    }
}

impl Report {
    /// Begins the report.
    pub fn begin(screens: Screens) -> Self {
        screens.say(concat!("Luge ", env!("CARGO_PKG_VERSION")));
        Self { screens, began: Instant::now(), faults: 0 }
    }

    /// Runs a phase and prints its result.
    pub fn phase(&mut self, name: &str, run: impl FnOnce(&mut Notes)) {
        let began = Instant::now();
        let mut notes = Notes::default();
        run(&mut notes);
        lines(name, &notes, began.elapsed()).iter().for_each(|line| self.screens.say(line));
        self.faults += notes.bad.len();
    }

    /// Ends the report.
    pub fn end(self) {
        let faults = match self.faults {
            0 => String::new(),
            1 => ", with one fault (see above)".into(),
            many => format!(", with {many} faults (see above)"),
        };
        self.screens.say(&format!("luge: ready after {} ms{faults}", self.began.elapsed().as_millis()));
    }
}

fn lines(name: &str, notes: &Notes, took: Duration) -> Vec<String> {
    let verdict = if notes.bad.is_empty() { "  ok  " } else { "FAULT " };
    let mut lines = vec![format!("[{verdict}] {name} ({} ms)", took.as_millis())];
    lines.extend(notes.good.iter().map(|text| format!("         {text}")));
    lines.extend(notes.bad.iter().map(|text| format!("       ! {text}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_a_line_and_its_faults_stand_out() {
        let mut notes = Notes::default();
        notes.note("512 MiB");
        let took = Duration::from_millis(7);
        assert_eq!(lines("hugepages", &notes, took), ["[  ok  ] hugepages (7 ms)", "         512 MiB"]);
        assert_eq!(notes.check("pages", Err::<(), _>("none left")), None);
        let expected = ["[FAULT ] hugepages (7 ms)", "         512 MiB", "       ! pages: none left"];
        assert_eq!(lines("hugepages", &notes, took), expected);
    }
}
