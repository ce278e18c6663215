//! All that a process says, kept in a log file, and a way to wait for a word of it.
//!
//! A thread reads; whoever waits is woken by what arrives. Words are looked for behind the
//! last one that was found, so the same word can be waited for again.

use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Lines of a log that an error shows.
const TAIL_LINES: usize = 60;

/// A word after which no other is worth waiting for.
const ALARM: &str = "Kernel panic - not syncing";

/// What one process says.
pub struct Transcript {
    who: String,
    log: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Everything said so far, without carriage returns.
    text: Vec<u8>,
    /// Where the search for the next word begins.
    cursor: usize,
    ended: bool,
    echo: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what was read; true when it is to be shown as well.
    fn hear(&self, bytes: &[u8]) -> bool {
        let mut state = self.lock();
        state.text.extend(bytes.iter().filter(|byte| **byte != b'\r'));
        self.changed.notify_all();
        state.echo
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

impl Transcript {
    /// Follows what `source` says until it ends; all of it goes to `log`, too.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn follow(who: &str, log: &Path, source: impl Read + Send + 'static) -> Result<Self, TestError> {
        let file = File::create(log).doing(|| format!("making the log {}", log.display()))?;
        let shared = Arc::new(Shared::default());
        let heard = Arc::clone(&shared);
        std::thread::Builder::new()
            .name(format!("{who} log"))
            .spawn(move || listen(source, file, &heard))
            .doing(|| format!("starting the log of {who}"))?;
        Ok(Self { who: who.to_owned(), log: log.to_owned(), shared })
    }

    /// Waits until `word` was said, behind the last word that was waited for.
    ///
    /// # Errors
    /// It was not said in time, or never will be.
    pub fn wait_for(&self, word: &str, deadline: Deadline) -> Result<(), TestError> {
        self.wait(word, deadline, |text| find(text, word).map(|at| (at + word.len(), ())))
    }

    /// Waits until `word` was said and returns the rest of its line.
    ///
    /// # Errors
    /// As for [`Transcript::wait_for`].
    pub fn wait_line(&self, word: &str, deadline: Deadline) -> Result<String, TestError> {
        self.wait_any(&[word], deadline).map(|(_, line)| line)
    }

    /// Waits until one of `words` was said; returns its place in the list and the rest of its
    /// line.
    ///
    /// # Errors
    /// As for [`Transcript::wait_for`].
    pub fn wait_any(&self, words: &[&str], deadline: Deadline) -> Result<(usize, String), TestError> {
        self.wait(&words.join(" | "), deadline, |text| {
            let found = words.iter().enumerate().filter_map(|(n, word)| Some((find(text, word)?, n)));
            let (at, n) = found.min()?;
            let begin = at + words[n].len();
            let length = text[begin..].iter().position(|byte| *byte == b'\n')?;
            let line = String::from_utf8_lossy(&text[begin..begin + length]).trim().to_owned();
            Some((begin + length + 1, (n, line)))
        })
    }

    /// Waits until the process has said all it will ever say.
    ///
    /// # Errors
    /// It went on.
    pub fn wait_end(&self, deadline: Deadline) -> Result<(), TestError> {
        let state = self.shared.lock();
        let wait = self.shared.changed.wait_timeout_while(state, deadline.left(), |state| !state.ended);
        let (state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return Ok(());
        }
        let tail = last_lines(&state.text);
        Err(TestError::Lingers {
            who: self.who.clone(),
            allowed: deadline.allowed(),
            tail,
            log: self.log.clone(),
        })
    }

    /// Everything said so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.lock().text).into_owned()
    }

    /// The last lines said so far.
    #[must_use]
    pub fn tail(&self) -> String {
        last_lines(&self.shared.lock().text)
    }

    /// Whether `word` was said at any time.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        find(&self.shared.lock().text, word).is_some()
    }

    /// The log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// From now on, what is said goes to our standard output as well.
    pub fn show(&self) {
        self.shared.lock().echo = true;
    }

    /// From now on, only what will be said is looked at.
    pub(crate) fn forget(&self) {
        let mut state = self.shared.lock();
        state.cursor = state.text.len();
    }

    /// Waits until `find_in` finds something behind the cursor, and moves the cursor past it.
    pub(crate) fn wait<T>(
        &self,
        wanted: &str,
        deadline: Deadline,
        find_in: impl Fn(&[u8]) -> Option<(usize, T)>,
    ) -> Result<T, TestError> {
        let mut state = self.shared.lock();
        loop {
            if let Some((length, found)) = find_in(&state.text[state.cursor..]) {
                state.cursor += length;
                return Ok(found);
            }
            if state.ended || find(&state.text[state.cursor..], ALARM).is_some() || deadline.has_passed() {
                return Err(self.failed(&state, wanted, deadline));
            }
            let waited = self.shared.changed.wait_timeout(state, deadline.left());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The error for something that was waited for in another way and did not happen.
    pub(crate) fn missed(&self, wanted: &str, deadline: Deadline) -> TestError {
        self.failed(&self.shared.lock(), wanted, deadline)
    }

    fn failed(&self, state: &State, wanted: &str, deadline: Deadline) -> TestError {
        let (who, wanted, log) = (self.who.clone(), wanted.to_owned(), self.log.clone());
        let tail = last_lines(&state.text);
        if deadline.has_passed() {
            TestError::Silent { who, wanted, allowed: deadline.allowed(), tail, log }
        } else {
            TestError::Ended { who, wanted, tail, log }
        }
    }
}

fn listen(mut source: impl Read, mut log: File, shared: &Shared) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = source.read(&mut buffer) {
        let bytes = &buffer[..length];
        // A full disk must not stop the test; the text is kept in memory, too.
        let _ = log.write_all(bytes);
        if shared.hear(bytes) {
            let mut out = std::io::stdout();
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        }
    }
    shared.end();
}

fn find(text: &[u8], word: &str) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word.as_bytes())
}

fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript_of(text: &'static str) -> (Transcript, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let transcript = Transcript::follow("it", &folder.path().join("log"), text.as_bytes()).unwrap();
        (transcript, folder)
    }

    #[test]
    fn a_word_said_twice_is_found_twice_and_not_a_third_time() {
        let (transcript, _folder) = transcript_of("ready\r\nsum: 1\r\nready\r\nsum: 2\r\n");
        let soon = Deadline::within(60);
        transcript.wait_for("ready", soon).unwrap();
        assert_eq!(transcript.wait_line("sum:", soon).unwrap(), "1");
        transcript.wait_for("ready", soon).unwrap();
        assert_eq!(transcript.wait_line("sum:", soon).unwrap(), "2");
        let error = transcript.wait_for("ready", soon).unwrap_err();
        assert!(matches!(error, TestError::Ended { .. }), "{error}");
    }

    #[test]
    fn of_several_words_the_one_that_was_said_first_is_found() {
        let (transcript, _folder) = transcript_of("bad: disk\ngood: 1\n");
        let soon = Deadline::within(60);
        assert_eq!(transcript.wait_any(&["good:", "bad:"], soon).unwrap(), (1, "disk".to_owned()));
        assert_eq!(transcript.wait_any(&["good:", "bad:"], soon).unwrap(), (0, "1".to_owned()));
    }

    #[test]
    fn a_line_is_returned_only_when_it_is_whole() {
        let (transcript, _folder) = transcript_of("sum: 12");
        assert!(transcript.wait_line("sum:", Deadline::within(60)).is_err());
        transcript.wait_for("sum: 12", Deadline::within(60)).unwrap();
    }

    #[test]
    fn a_panicking_kernel_ends_the_waiting_with_its_last_words() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let transcript = Transcript::follow("it", &folder.path().join("log"), reader).unwrap();
        writer.write_all(b"Kernel panic - not syncing: no init found\n").unwrap();
        let error = transcript.wait_for("login:", Deadline::within(600)).unwrap_err().to_string();
        assert!(error.contains("login:") && error.contains("no init found"), "{error}");
    }

    #[test]
    fn silence_is_told_with_the_last_lines_and_the_log() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let transcript = Transcript::follow("it", &folder.path().join("log"), reader).unwrap();
        writer.write_all(b"first words\n").unwrap();
        transcript.wait_for("first", Deadline::within(60)).unwrap();
        let error = transcript.wait_for("more", Deadline::within(0)).unwrap_err();
        assert!(matches!(error, TestError::Silent { .. }), "{error}");
        assert!(error.to_string().contains("first words"), "{error}");
        assert!(transcript.wait_end(Deadline::within(0)).is_err());
        drop(writer);
        transcript.wait_end(Deadline::within(60)).unwrap();
        assert_eq!(std::fs::read_to_string(transcript.log()).unwrap(), "first words\n");
    }
}
