//! Progress of a build: bars on a terminal, lines into a pipe, or nothing.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Output of progress, shared by all builders.
#[derive(Debug, Clone)]
pub struct Progress {
    manner: Manner,
}

#[derive(Debug, Clone)]
enum Manner {
    Bars(MultiProgress),
    Lines,
    Quiet,
}

impl Progress {
    /// Progress on standard error: bars if it is a terminal, else lines.
    #[must_use]
    pub fn to_stderr() -> Self {
        let manner =
            if std::io::stderr().is_terminal() { Manner::Bars(MultiProgress::new()) } else { Manner::Lines };
        Self { manner }
    }

    /// Progress that is not shown.
    #[must_use]
    pub fn quiet() -> Self {
        Self { manner: Manner::Quiet }
    }

    /// Prints a line that stays.
    pub fn say(&self, line: &str) {
        match &self.manner {
            Manner::Bars(bars) => {
                // A build goes on without its terminal.
                let _ = bars.println(line);
            }
            Manner::Lines => eprintln!("{line}"),
            Manner::Quiet => {}
        }
    }

    /// Begins a step, which ends when the value is dropped.
    #[must_use]
    pub fn step(&self, what: &str) -> Step {
        let bar = match &self.manner {
            Manner::Bars(bars) => Some(bars.add(spinner(what))),
            Manner::Lines | Manner::Quiet => None,
        };
        if bar.is_none() {
            self.say(&format!("{what} ..."));
        }
        Step { progress: self.clone(), what: what.to_owned(), bar, began: Instant::now() }
    }
}

fn spinner(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style).with_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// A step in progress.
#[derive(Debug)]
pub struct Step {
    progress: Progress,
    what: String,
    bar: Option<ProgressBar>,
    began: Instant,
}

impl Step {
    /// Shows what the step is doing, for example the latest line of its log.
    pub fn note(&self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(line.to_owned());
        }
    }

    /// Prints a line that stays.
    pub fn say(&self, line: &str) {
        self.progress.say(line);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.progress.say(&format!("{}: {:.1} s", self.what, self.began.elapsed().as_secs_f64()));
    }
}
