//! Places that recorded entries go to: the file of a trace, or a function that is given each event.

use crate::assembly::Assembly;
use crate::entry::{Entry, WORDS, to_bytes};
use crate::file::TraceFile;
use crate::record::{Record, Source};
use std::io;

/// Place that recorded entries go to, those of each ring in their order.
pub(crate) trait Sink: Send {
    /// Takes an entry of a ring, by its number from 0.
    fn write(&mut self, ring: usize, number: u64, words: [u64; WORDS]) -> io::Result<()>;
}

impl Sink for TraceFile {
    fn write(&mut self, ring: usize, number: u64, words: [u64; WORDS]) -> io::Result<()> {
        self.write_entry(ring, number, words)
    }
}

/// Function that is given each event, and the events of which it has a part.
pub(crate) struct Events<F> {
    assemblies: Vec<Assembly>,
    take: F,
}

impl<F: FnMut(&Record) + Send> Events<F> {
    /// Makes a sink for the rings of those cores.
    pub(crate) fn new(cores: &[u16], take: F) -> Self {
        Self { assemblies: cores.iter().map(|&core| Assembly::new(Source::of(core))).collect(), take }
    }
}

impl<F: FnMut(&Record) + Send> Sink for Events<F> {
    fn write(&mut self, ring: usize, _: u64, words: [u64; WORDS]) -> io::Result<()> {
        let entry = Entry::parse(&to_bytes(words));
        let assembly = self.assemblies.get_mut(ring);
        let record = assembly.zip(entry).and_then(|(assembly, entry)| assembly.add(entry));
        record.into_iter().for_each(|record| (self.take)(&record));
        Ok(())
    }
}
