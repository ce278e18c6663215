//! Recording: the rings of the process, and the thread that writes their entries to a sink.

use crate::assembly::Assembly;
use crate::entry::{Entry, Event, Kind, to_bytes};
use crate::file::{FileError, OTHERS, RINGS_MAX, TraceFile};
use crate::reader::Trace;
use crate::record::{Record, Source};
use crate::ring::{ENTRIES, Ring};
use crate::sink::{Events, Sink};
use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// Recorder of the process, once it has one.
static RECORDER: OnceLock<Recorder> = OnceLock::new();

thread_local! {
    /// Ring of the thread. The first one is that of all threads that are no cores.
    static RING: Cell<usize> = const { Cell::new(0) };
}

/// Rings of a process, and the sink of their entries.
pub struct Recorder {
    /// Cores of the rings.
    cores: Vec<u16>,
    rings: Vec<Ring>,
    output: Mutex<Option<Output>>,
    writer: OnceLock<Thread>,
}

/// Sink, and what it has.
struct Output {
    sink: Box<dyn Sink>,
    /// Number of entries of each ring that the sink has or will never have.
    written: Vec<u64>,
    /// Whether the last write failed.
    failing: bool,
}

impl Recorder {
    /// Starts to record events of those cores and of all other threads, in memory alone, for as long as the process
    /// runs.
    pub fn start(cores: impl IntoIterator<Item = u16>) {
        Self::install(Self::new(rings_of(cores)));
    }

    /// Starts to record, and writes the events to the file at `path`. A trace that is there is kept as `PATH.previous`.
    /// `report` is given each error after which a write has failed that follows one without.
    ///
    /// # Errors
    /// [`FileError`] where the file cannot be written.
    pub fn start_with_file(
        path: &Path,
        cores: impl IntoIterator<Item = u16>,
        report: fn(&io::Error),
    ) -> Result<(), FileError> {
        let recorder = Self::with_file(path, cores)?;
        let failed = |source| FileError::Io { path: path.to_owned(), source };
        Self::install(recorder).write_from_now_on(report).map_err(failed)
    }

    /// Starts to record, and gives each event to `take` on a thread of its own; after a panic, on the thread that
    /// panicked.
    ///
    /// # Errors
    /// The kernel's: no thread can be started. Events are recorded then, and nobody takes them.
    pub fn start_with_events(
        cores: impl IntoIterator<Item = u16>,
        take: impl FnMut(&Record) + Send + 'static,
    ) -> io::Result<()> {
        Self::install(Self::with_events(cores, take)).write_from_now_on(|_| {})
    }

    fn new(cores: Vec<u16>) -> Self {
        let rings = cores.iter().map(|_| Ring::new()).collect();
        Self { cores, rings, output: Mutex::new(None), writer: OnceLock::new() }
    }

    fn with_file(path: &Path, cores: impl IntoIterator<Item = u16>) -> Result<Self, FileError> {
        let cores = rings_of(cores);
        let file = TraceFile::create(path, &cores)?;
        Ok(Self::with_sink(cores, Box::new(file)))
    }

    fn with_events(cores: impl IntoIterator<Item = u16>, take: impl FnMut(&Record) + Send + 'static) -> Self {
        let cores = rings_of(cores);
        let events = Events::new(&cores, take);
        Self::with_sink(cores, Box::new(events))
    }

    fn with_sink(cores: Vec<u16>, sink: Box<dyn Sink>) -> Self {
        let written = vec![0; cores.len()];
        let output = Mutex::new(Some(Output { sink, written, failing: false }));
        Self { output, ..Self::new(cores) }
    }

    /// Makes it the recorder of the process. A process has one: it stays with the first.
    fn install(recorder: Self) -> &'static Self {
        RECORDER.get_or_init(|| recorder)
    }

    /// Starts the thread that writes.
    fn write_from_now_on(&'static self, report: fn(&io::Error)) -> io::Result<()> {
        let write = move || {
            loop {
                self.flush().into_iter().for_each(|error| report(&error));
                std::thread::park();
            }
        };
        let writer = std::thread::Builder::new().name("trace".into()).spawn(write)?;
        let _ = self.writer.set(writer.thread().clone());
        Ok(())
    }

    /// Adds an event to a ring, and wakes the writer.
    fn record(&self, ring: usize, event: &Event<'_>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.rings.get(ring).into_iter().for_each(|ring| ring.push(event, time_ns));
        // A thread that does not sleep is not woken.
        self.writer.get().into_iter().for_each(Thread::unpark);
    }

    /// Writes what the sink does not have yet. Returns the error of a write that follows one without.
    fn flush(&self) -> Option<io::Error> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let output = output.as_mut()?;
        let failed = output.write_all(&self.rings).err();
        let was_failing = std::mem::replace(&mut output.failing, failed.is_some());
        failed.filter(|_| !was_failing)
    }

    /// Writes what the sink does not have yet, unless the writer is at it: it may wait for its disk.
    fn flush_last_words(&self) {
        if let Ok(mut output) = self.output.try_lock() {
            // Nobody is left who could be told.
            output.iter_mut().for_each(|output| drop(output.write_all(&self.rings)));
        }
    }

    /// Reads the events that the rings have.
    fn trace(&self) -> Trace {
        let rings = self.rings.iter().zip(&self.cores);
        let records = rings.flat_map(|(ring, &core)| records_in(ring, Source::of(core)));
        Trace::of_this_process(records.collect())
    }
}

impl Output {
    fn write_all(&mut self, rings: &[Ring]) -> io::Result<()> {
        for (index, (ring, written)) in rings.iter().zip(&mut self.written).enumerate() {
            let taken = ring.taken();
            for number in (*written).max(taken.saturating_sub(ENTRIES))..taken {
                // An entry that is not there is being written: its thread wakes the writer afterwards. One that was
                // overwritten is passed over by the beginning of the range, then.
                let Some(words) = ring.read(number) else { break };
                self.sink.write(index, number, words)?;
                *written = number + 1;
            }
        }
        Ok(())
    }
}

/// Cores of the rings: all threads that are none come first.
fn rings_of(cores: impl IntoIterator<Item = u16>) -> Vec<u16> {
    std::iter::once(OTHERS).chain(cores).take(RINGS_MAX).collect()
}

/// Events that a ring has; those being written or overwritten are left out.
fn records_in(ring: &Ring, source: Source) -> Vec<Record> {
    let (taken, mut assembly) = (ring.taken(), Assembly::new(source));
    let numbers = taken.saturating_sub(ENTRIES)..taken;
    let entries = numbers.filter_map(|number| Entry::parse(&to_bytes(ring.read(number)?)));
    entries.filter_map(|entry| assembly.add(entry)).collect()
}

/// Makes the calling thread that of a core: its events go to the core's ring.
pub fn enter_core(core: u16) {
    let place = RECORDER.get().and_then(|recorder| recorder.cores.iter().position(|&one| one == core));
    RING.set(place.unwrap_or(0));
}

/// Records an event of the calling thread, if the process has a recorder.
#[cold]
pub fn record(event: &Event<'_>) {
    let Some(recorder) = RECORDER.get() else { return };
    recorder.record(RING.get(), event);
    if event.kind == Kind::PANIC || event.kind == Kind::STOPPED {
        recorder.flush_last_words();
    }
}

/// Writes what the process has recorded and its sink does not have yet, before the process ends.
pub fn flush_last_words() {
    RECORDER.get().into_iter().for_each(Recorder::flush_last_words);
}

/// Events of this process that are in memory, in the order of time; none if nothing is recorded.
#[must_use]
pub fn current_trace() -> Option<Trace> {
    RECORDER.get().map(Recorder::trace)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;
    use std::sync::mpsc::channel;

    fn recorder() -> (Recorder, tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        (Recorder::with_file(&path, [4, 7]).unwrap(), folder, path)
    }

    #[test]
    fn events_come_back_in_the_order_of_time_with_their_cores() {
        let (recorder, _folder, path) = recorder();
        recorder.record(0, &Event::of_text(Kind::NOTICE, "first"));
        recorder.record(2, &Event::of_number(Kind::LONG_TURN, 12));
        recorder.record(1, &Event::of_text(Kind::ERROR, "last"));
        assert!(recorder.flush().is_none());
        let trace = Trace::read(&path).unwrap();
        let sources: Vec<Source> = trace.records.iter().map(|record| record.source).collect();
        assert_eq!(sources, [Source::Others, Source::Core(7), Source::Core(4)]);
        assert_eq!(trace.records[0].text, "first");
        assert_eq!(trace.records[1].number, 12);
    }

    #[test]
    fn a_long_text_is_whole_up_to_its_limit() {
        let (recorder, _folder, path) = recorder();
        let text = "0123456789abcdef".repeat(40);
        recorder.record(0, &Event::of_text(Kind::NOTICE, &text[..100]));
        recorder.record(0, &Event::of_text(Kind::NOTICE, &text));
        recorder.flush();
        let trace = Trace::read(&path).unwrap();
        assert_eq!(trace.records[0].text, &text[..100]);
        assert_eq!(trace.records[1].text, &text[..256]);
    }

    #[test]
    fn a_ring_keeps_the_last_entries_whatever_was_recorded_before() {
        let (recorder, _folder, path) = recorder();
        for number in 0..5000 {
            recorder.record(1, &Event::of_number(Kind::SESSION_STARTED, number));
        }
        recorder.flush();
        let trace = Trace::read(&path).unwrap();
        let numbers: Vec<u64> = trace.records.iter().map(|record| record.number).collect();
        assert_eq!(numbers, (5000 - ENTRIES..5000).collect::<Vec<u64>>());
    }

    #[test]
    fn an_event_whose_first_entries_were_overwritten_is_left_out() {
        let (recorder, _folder, path) = recorder();
        recorder.record(1, &Event::of_text(Kind::NOTICE, &"x".repeat(64)));
        for number in 0..ENTRIES - 1 {
            recorder.record(1, &Event::of_number(Kind::SESSION_STARTED, number));
        }
        recorder.flush();
        let trace = Trace::read(&path).unwrap();
        assert!(trace.records.iter().all(|record| record.kind == Kind::SESSION_STARTED));
        assert_eq!(trace.records.len() as u64, ENTRIES - 1);
    }

    #[test]
    fn what_several_threads_record_is_complete() {
        let (recorder, _folder, path) = recorder();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let recorder = &recorder;
                scope.spawn(move || {
                    for number in 0..50 {
                        recorder.record(0, &Event::of_number(Kind::SESSION_STARTED, thread * 100 + number));
                        recorder.flush();
                    }
                });
            }
        });
        recorder.flush();
        let mut numbers: Vec<u64> =
            Trace::read(&path).unwrap().records.iter().map(|record| record.number).collect();
        numbers.sort_unstable();
        let all = (0..4).flat_map(|thread| (0..50).map(move |number| thread * 100 + number));
        assert_eq!(numbers, all.collect::<Vec<u64>>());
    }

    #[test]
    fn a_file_that_was_shortened_is_written_again_without_harm() {
        let (recorder, _folder, path) = recorder();
        recorder.record(0, &Event::of_text(Kind::NOTICE, "before"));
        recorder.flush();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        recorder.record(0, &Event::of_text(Kind::NOTICE, "after"));
        assert!(recorder.flush().is_none());
    }

    #[test]
    fn a_disk_that_is_full_is_reported_once_and_nothing_is_lost_that_the_ring_has() {
        let (recorder, _folder, path) = recorder();
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let change_to = |sink: Box<dyn Sink>| {
            std::mem::replace(&mut recorder.output.lock().unwrap().as_mut().unwrap().sink, sink)
        };
        let file = change_to(Box::new(TraceFile::of(full)));
        recorder.record(0, &Event::of_text(Kind::NOTICE, "one"));
        assert_eq!(recorder.flush().map(|error| error.kind()), Some(io::ErrorKind::StorageFull));
        recorder.record(0, &Event::of_text(Kind::NOTICE, "two"));
        assert!(recorder.flush().is_none(), "reported again");
        change_to(file);
        recorder.flush();
        let trace = Trace::read(&path).unwrap();
        let texts: Vec<&str> = trace.records.iter().map(|record| record.text.as_str()).collect();
        assert_eq!(texts, ["one", "two"]);
    }

    #[test]
    fn events_that_are_taken_are_whole_and_each_is_taken_once() {
        let (sender, taken) = channel();
        let recorder = Recorder::with_events([4], move |record| {
            sender.send(record.clone()).unwrap();
        });
        let text = "0123456789abcdef".repeat(5);
        recorder.record(1, &Event::of_text(Kind::NOTICE, &text));
        recorder.flush();
        recorder.record(0, &Event::of_text(Kind::NOTICE, "next"));
        recorder.flush();
        recorder.flush_last_words();
        let taken: Vec<Record> = taken.try_iter().collect();
        assert_eq!(taken.len(), 2);
        assert_eq!(taken[0].source, Source::Core(4));
        assert_eq!(taken[0].text, text);
        assert_eq!(taken[1].source, Source::Others);
        assert_eq!(taken[1].text, "next");
    }

    #[test]
    fn the_trace_in_memory_is_that_of_the_file() {
        let (recorder, _folder, path) = recorder();
        recorder.record(2, &Event::of_text(Kind::NOTICE, &"x".repeat(100)));
        (0..2000).for_each(|number| recorder.record(1, &Event::of_number(Kind::SESSION_STARTED, number)));
        recorder.flush();
        let (memory, file) = (recorder.trace(), Trace::read(&path).unwrap());
        assert_eq!(memory, file);
        assert_eq!(memory.records.len() as u64, ENTRIES + 1);
    }
}
