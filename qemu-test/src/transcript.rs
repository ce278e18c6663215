//! Output of a process, kept in a log file, in which tests wait for texts.
//!
//! A thread reads the output and wakes the waiting test. The search for a text begins behind the
//! previous match, so that the same text can be awaited again.

use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Lines of a log that an error shows.
const TAIL_LINES: usize = 60;

/// Text that ends every wait with an error.
const ALARM: &str = "Kernel panic - not syncing";

/// Output of one process.
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
    /// Output so far, without carriage returns.
    text: Vec<u8>,
    /// Start of the search for the next text.
    cursor: usize,
    ended: bool,
    echo: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds output; returns whether to show it as well.
    fn append(&self, bytes: &[u8]) -> bool {
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
    /// Reads `source` until it ends, and writes all of it to `log`.
    ///
    /// # Errors
    /// If the log cannot be created.
    pub fn follow(who: &str, log: &Path, source: impl Read + Send + 'static) -> Result<Self, TestError> {
        let file = File::create(log).doing(|| format!("making the log {}", log.display()))?;
        let shared = Arc::new(Shared::default());
        let sink = Arc::clone(&shared);
        std::thread::Builder::new()
            .name(format!("{who} log"))
            .spawn(move || read_all(source, file, &sink))
            .doing(|| format!("starting the log of {who}"))?;
        Ok(Self { who: who.to_owned(), log: log.to_owned(), shared })
    }

    /// Waits for `word` behind the previous match.
    ///
    /// # Errors
    /// If `word` does not appear in time, or the output ends before.
    pub fn wait_for(&self, word: &str, deadline: Deadline) -> Result<(), TestError> {
        self.wait(word, deadline, |text| find(text, word).map(|at| (at + word.len(), ())))
    }

    /// Waits for `word` and returns the rest of its line.
    ///
    /// # Errors
    /// As for [`Transcript::wait_for`].
    pub fn wait_line(&self, word: &str, deadline: Deadline) -> Result<String, TestError> {
        self.wait_any(&[word], deadline).map(|(_, line)| line)
    }

    /// Waits for the first of `words` to appear; returns its index and the rest of its line.
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

    /// Waits for the end of the output.
    ///
    /// # Errors
    /// If the output has not ended when the deadline passes.
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

    /// Output so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.lock().text).into_owned()
    }

    /// Last lines of the output so far.
    #[must_use]
    pub fn tail(&self) -> String {
        last_lines(&self.shared.lock().text)
    }

    /// Whether `word` appeared at any time.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        find(&self.shared.lock().text, word).is_some()
    }

    /// Path of the log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Copies output from now on to our standard output, which is locked for each piece: who holds the lock can print
    /// whole lines between.
    pub fn show(&self) {
        self.shared.lock().echo = true;
    }

    /// Restricts the next search to output from now on.
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
            if state.ended || has_alarm(&state.text[state.cursor..]) || deadline.has_passed() {
                return Err(self.failed(&state, wanted, deadline));
            }
            let waited = self.shared.changed.wait_timeout(state, deadline.left());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Error for an event that was awaited in another way and did not happen.
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

fn read_all(mut source: impl Read, mut log: File, shared: &Shared) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = source.read(&mut buffer) {
        let bytes = &buffer[..length];
        // A full disk does not stop the test, because the text is in memory as well.
        let _ = log.write_all(bytes);
        if shared.append(bytes) {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        }
    }
    shared.end();
}

fn find(text: &[u8], word: &str) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word.as_bytes())
}

/// Whether the kernel says at the beginning of a line, after the time, that it panics. Elsewhere that is a quotation.
fn has_alarm(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).lines().any(|line| {
        let after_time = line.strip_prefix('[').and_then(|line| line.split_once("] "));
        after_time.map_or(line, |(_, rest)| rest).starts_with(ALARM)
    })
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
    fn a_word_that_appears_twice_is_found_twice_and_not_a_third_time() {
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
    fn of_several_words_the_first_to_appear_is_found() {
        let (transcript, _folder) = transcript_of("bad: disk\ngood: 1\n");
        let soon = Deadline::within(60);
        let next = || transcript.wait_any(&["good:", "bad:"], soon).unwrap();
        let (first, disk) = next();
        assert_eq!(first, 1, "bad");
        assert_eq!(disk, "disk");
        let (second, number) = next();
        assert_eq!(second, 0, "good");
        assert_eq!(number, "1");
    }

    #[test]
    fn a_line_is_returned_only_when_it_is_whole() {
        let (transcript, _folder) = transcript_of("sum: 12");
        assert!(transcript.wait_line("sum:", Deadline::within(60)).is_err());
        transcript.wait_for("sum: 12", Deadline::within(60)).unwrap();
    }

    #[test]
    fn a_kernel_panic_ends_the_wait_and_its_message_is_shown() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let transcript = Transcript::follow("it", &folder.path().join("log"), reader).unwrap();
        writer.write_all(b"Kernel panic - not syncing: no init found\n").unwrap();
        let error = transcript.wait_for("login:", Deadline::within(600)).unwrap_err().to_string();
        assert!(error.contains("login:") && error.contains("no init found"), "{error}");
    }

    #[test]
    fn a_panic_that_is_only_quoted_ends_no_wait() {
        let (transcript, _folder) =
            transcript_of("\"text\": \"<0>[  1.5] Kernel panic - not syncing: NMI\"\nend\n");
        transcript.wait_for("end", Deadline::within(60)).unwrap();
        assert!(has_alarm(b"a\n[   12.500000] Kernel panic - not syncing: NMI\r\n"));
        assert!(!has_alarm(b"  <0>[   12.500000] Kernel panic - not syncing: NMI\r\n"));
    }

    #[test]
    fn a_wait_that_is_too_long_is_reported_with_the_last_lines_and_the_log() {
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
