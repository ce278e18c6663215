//! Blocks in more pieces than a base takes, in one piece of the base's own memory meanwhile.

use luge_block::{Refusal, Status};
use luge_memory::Span;

/// The block buffer of a base, lent to one part at a time.
#[derive(Default)]
pub(crate) struct BlockBuffer {
    /// Memory of the base, if it has some.
    memory: Option<Span>,
    lent: bool,
}

impl BlockBuffer {
    pub(crate) fn new(memory: Option<Span>) -> Self {
        Self { memory, lent: false }
    }

    /// Whether the base has such memory.
    pub(crate) fn exists(&self) -> bool {
        self.memory.is_some()
    }

    /// The memory, of `bytes` bytes, if nobody has it.
    ///
    /// # Errors
    /// [`Refusal::Full`] while it is lent; [`Status::Invalid`] where the base has none.
    pub(crate) fn memory(&self, bytes: u32) -> Result<Span, Refusal> {
        let memory = self.memory.and_then(|memory| memory.slice(0, bytes));
        let memory = memory.ok_or(Refusal::Failed(Status::Invalid))?;
        if self.lent { Err(Refusal::Full) } else { Ok(memory) }
    }

    /// Lends the memory.
    pub(crate) fn lend(&mut self) {
        self.lent = true;
    }

    /// Takes the memory back.
    pub(crate) fn give_back(&mut self) {
        self.lent = false;
    }
}

/// Copies the first bytes of pieces into one piece, as many as that has.
pub(crate) fn gather(from: &[Span], to: Span) {
    for_each_pair(from, to, |piece, part| _ = piece.copy_to(&part));
}

/// Copies one piece over the first bytes of several.
pub(crate) fn scatter(from: Span, to: &[Span]) {
    for_each_pair(to, from, |piece, part| _ = part.copy_to(&piece));
}

/// Calls `copy` with each piece and the part of `whole` beside it, up to the end of `whole`.
fn for_each_pair(pieces: &[Span], mut whole: Span, copy: impl Fn(Span, Span)) {
    for piece in pieces {
        if whole.is_empty() {
            break;
        }
        let (part, rest) = whole.split_at(piece.len());
        copy(*piece, part);
        whole = rest;
    }
}

/// Number of the spans that the first `bytes` bytes use up, after the last one of them was shortened in place.
pub(crate) fn skip(data: &mut [Span], mut bytes: u32) -> usize {
    for (index, span) in data.iter_mut().enumerate() {
        if bytes < span.len() {
            *span = span.split_at(bytes).1;
            return index;
        }
        bytes -= span.len();
    }
    data.len()
}
