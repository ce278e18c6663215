//! Assembly of events from the entries of a ring, in their order.

use crate::entry::Entry;
use crate::record::{Record, Source};

/// Event of a ring of which some entries are there, and others follow.
pub(crate) struct Assembly {
    source: Source,
    text: Vec<u8>,
    /// Entry that the event goes on with: its sequence number, and the number of those before it.
    next: Option<(u64, u8)>,
}

impl Assembly {
    pub(crate) const fn new(source: Source) -> Self {
        Self { source, text: Vec::new(), next: None }
    }

    /// Adds an entry; returns the event that it completes. An event whose first entries are missing is left out.
    pub(crate) fn add(&mut self, entry: Entry) -> Option<Record> {
        let Entry { sequence, time_ns, kind, before, follow, number, text } = entry;
        if before == 0 {
            self.text.clear();
        } else if self.next != Some((sequence, before)) {
            self.next = None;
            return None;
        }
        self.text.extend(text);
        self.next = before.checked_add(1).map(|before| (sequence.wrapping_add(1), before));
        let text = || String::from_utf8_lossy(&self.text).into_owned();
        (follow == 0).then(|| Record { time_ns, source: self.source, kind, number, text: text() })
    }
}
