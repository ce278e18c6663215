//! Entries of a ring, as they are in memory and in the file.
//!
//! ```text
//!  word 0    sequence number of the entry in its ring, from 1; 0: never written
//!  word 1    time, in nanoseconds since 1970
//!  word 2    kind | entries that follow for the same event << 8 | bytes of text << 16 | entries before << 24
//!  word 3    number that belongs to the event
//!  words 4-7 text, padded with zeroes
//! ```
//!
//! All words are little-endian in the file. A text that is too long for an entry goes on in the next ones, and ends
//! after [`TEXT_BYTES_MAX`].

use std::time::Duration;

/// Words of an entry, which is a cache line.
pub(crate) const WORDS: usize = 8;
pub(crate) const ENTRY_BYTES: usize = WORDS * 8;

/// Bytes of text in an entry, and in all entries of an event.
pub(crate) const TEXT_BYTES: usize = 32;
const ENTRIES_MAX: usize = 8;
const TEXT_BYTES_MAX: usize = TEXT_BYTES * ENTRIES_MAX;

/// Kind of an event, as in the file. Unknown kinds are legal there: another version may have written it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Kind(pub u8);

impl Kind {
    /// Start of the process; the text is its version.
    pub const STARTED: Self = Self(1);
    /// Turn of a core that was long; the number is its nanoseconds.
    pub const LONG_TURN: Self = Self(2);
    /// Tenant that has kept a core longer than ever in one turn; the number is nanoseconds, the text the tenant.
    pub const LONG_VISIT: Self = Self(3);
    /// Session that begins on a core; the number is the session's.
    pub const SESSION_STARTED: Self = Self(4);
    /// Session that leaves a core; the number is the session's.
    pub const SESSION_STOPPED: Self = Self(5);
    /// Error in the log.
    pub const ERROR: Self = Self(6);
    /// Warning in the log.
    pub const WARNING: Self = Self(7);
    /// Other line of the log.
    pub const NOTICE: Self = Self(8);
    /// Panic; the text is its message.
    pub const PANIC: Self = Self(9);
    /// End of the process by itself.
    pub const STOPPED: Self = Self(10);

    /// Name of the kind; none of an unknown one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::STARTED => "started",
            Self::LONG_TURN => "long turn",
            Self::LONG_VISIT => "long visit",
            Self::SESSION_STARTED => "session started",
            Self::SESSION_STOPPED => "session stopped",
            Self::ERROR => "error",
            Self::WARNING => "warning",
            Self::NOTICE => "notice",
            Self::PANIC => "panic",
            Self::STOPPED => "stopped",
            _ => return None,
        })
    }
}

/// Event to be recorded.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Kind of the event.
    pub kind: Kind,
    /// Number that belongs to it.
    pub number: u64,
    /// Text that belongs to it.
    pub text: &'a str,
}

impl<'a> Event<'a> {
    /// An event with a number only.
    #[must_use]
    pub const fn of_number(kind: Kind, number: u64) -> Self {
        Self { kind, number, text: "" }
    }

    /// An event with a text only.
    #[must_use]
    pub const fn of_text(kind: Kind, text: &'a str) -> Self {
        Self { kind, number: 0, text }
    }

    /// An event that lasted so long.
    #[must_use]
    pub fn of_duration(kind: Kind, lasted: Duration, text: &'a str) -> Self {
        Self { kind, number: u64::try_from(lasted.as_nanos()).unwrap_or(u64::MAX), text }
    }

    /// Text as far as it is recorded.
    fn bytes(&self) -> &[u8] {
        self.text.as_bytes().get(..TEXT_BYTES_MAX).unwrap_or(self.text.as_bytes())
    }

    /// Number of entries that the event takes.
    pub(crate) fn entries(&self) -> usize {
        self.bytes().len().div_ceil(TEXT_BYTES).max(1)
    }

    /// Words 1 to 7 of entry `index` of the event, at that time.
    pub(crate) fn words(&self, index: usize, time_ns: u64) -> [u64; WORDS - 1] {
        let text = self.bytes().chunks(TEXT_BYTES).nth(index).unwrap_or_default();
        let follow = (self.entries() - 1).saturating_sub(index) as u64;
        let head = u64::from(self.kind.0) | follow << 8 | (text.len() as u64) << 16 | (index as u64) << 24;
        let mut words = [time_ns, head, self.number, 0, 0, 0, 0];
        for (word, bytes) in words.iter_mut().skip(3).zip(text.chunks(8)) {
            let mut padded = [0; 8];
            padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            *word = u64::from_le_bytes(padded);
        }
        words
    }
}

/// Bytes of an entry, as in the file.
pub(crate) fn to_bytes(words: [u64; WORDS]) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    for (to, word) in bytes.chunks_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// Entry that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) time_ns: u64,
    pub(crate) kind: Kind,
    /// Numbers of entries that came before for the same event, and that follow.
    pub(crate) before: u8,
    pub(crate) follow: u8,
    pub(crate) number: u64,
    pub(crate) text: Vec<u8>,
}

impl Entry {
    /// The entry in the bytes of the file; none where there was none.
    pub(crate) fn parse(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let word = |index: usize| {
            let at = bytes.get(index * 8..index * 8 + 8).and_then(|word| word.try_into().ok());
            at.map_or(0, u64::from_le_bytes)
        };
        let [kind, follow, len, before, ..] = word(2).to_le_bytes();
        let text = bytes.get(ENTRY_BYTES - TEXT_BYTES..)?.iter().take(len.into()).copied().collect();
        let (sequence, time_ns, number) = (word(0), word(1), word(3));
        let entry = Self { sequence, time_ns, kind: Kind(kind), before, follow, number, text };
        (sequence > 0).then_some(entry)
    }
}
