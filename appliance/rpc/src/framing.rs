//! Framer: splits a stream without framing into JSON texts.
//!
//! Invariants
//! - Each byte is examined once, in whatever pieces the stream arrives.
//! - No more than [`Limits`] allow is kept.
//!
//! Not here: JSON syntax. Brackets are counted, not matched; `serde_json` checks the text.

use thiserror::Error;

/// Maximum size of one text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Length in bytes.
    pub(crate) bytes: usize,
    /// Nesting of brackets.
    pub(crate) depth: u32,
}

impl Limits {
    /// Limits of a request; a configuration of thousands of volumes fits.
    pub(crate) const REQUEST: Self = Self { bytes: 4 << 20, depth: 64 };
    /// Limits of an answer that our client accepts.
    pub(crate) const ANSWER: Self = Self { bytes: 256 << 20, depth: 64 };
}

/// Error after which the rest of the stream cannot be split.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum FramingError {
    #[error("a message is JSON that begins with {{ or [, not with byte {0:#04x}")]
    Start(u8),
    #[error("a message has at most {0} bytes: send several")]
    TooLong(usize),
    #[error("a message has at most {0} levels of brackets: nest less deeply")]
    TooDeep(u32),
}

/// Position of the next byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two texts.
    Between,
    /// Within brackets, outside of strings.
    Structure,
    /// Within a string.
    String,
    /// After a backslash within a string.
    Escape,
}

/// Splits a stream into texts.
pub(crate) struct Framer {
    limits: Limits,
    text: Vec<u8>,
    state: State,
    depth: u32,
    texts: u64,
}

impl Framer {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, text: Vec::new(), state: State::Between, depth: 0, texts: 0 }
    }

    /// Removes bytes from the front of `input` up to the end of a text; returns the text if it ends
    /// there.
    ///
    /// # Errors
    /// [`FramingError`]; the rest of the stream is meaningless then.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, FramingError> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            if self.push(byte)? {
                self.texts = self.texts.wrapping_add(1);
                return Ok(Some(std::mem::take(&mut self.text)));
            }
        }
        Ok(None)
    }

    /// Number of texts that have ended.
    pub(crate) fn texts(&self) -> u64 {
        self.texts
    }

    /// Memory of the unfinished text, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.text.capacity()
    }

    /// Whether there is an unfinished text.
    pub(crate) fn is_inside(&self) -> bool {
        self.state != State::Between
    }

    /// Appends a byte; returns whether the text ends with it.
    fn push(&mut self, byte: u8) -> Result<bool, FramingError> {
        if self.state == State::Between && byte.is_ascii_whitespace() {
            return Ok(false);
        }
        if self.text.len() >= self.limits.bytes {
            return Err(FramingError::TooLong(self.limits.bytes));
        }
        self.text.push(byte);
        self.state = match (self.state, byte) {
            (State::Between | State::Structure, b'{' | b'[') => self.descend()?,
            (State::Between, _) => return Err(FramingError::Start(byte)),
            (State::Structure, b'}' | b']') => self.ascend(),
            (State::Structure, b'"') | (State::Escape, _) => State::String,
            (State::String, b'"') => State::Structure,
            (State::String, b'\\') => State::Escape,
            (state, _) => state,
        };
        Ok(self.state == State::Between)
    }

    fn descend(&mut self) -> Result<State, FramingError> {
        if self.depth >= self.limits.depth {
            return Err(FramingError::TooDeep(self.limits.depth));
        }
        self.depth = self.depth.saturating_add(1);
        Ok(State::Structure)
    }

    fn ascend(&mut self) -> State {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 { State::Between } else { State::Structure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits { bytes: 64, depth: 3 };

    fn texts(limits: Limits, pieces: &[&str]) -> Result<Vec<String>, FramingError> {
        let (mut framer, mut found) = (Framer::new(limits), Vec::new());
        for piece in pieces {
            let mut input = piece.as_bytes();
            while let Some(text) = framer.next(&mut input)? {
                found.push(String::from_utf8(text).unwrap());
            }
        }
        Ok(found)
    }

    #[test]
    fn texts_that_follow_each_other_are_split_in_whatever_pieces_they_arrive() {
        let stream = "{\"a\":\"}\\\"]\\\\\"}[1,{}]\n {} \t[]";
        let expected = vec!["{\"a\":\"}\\\"]\\\\\"}", "[1,{}]", "{}", "[]"];
        assert_eq!(texts(SMALL, &[stream]).unwrap(), expected);
        for cut in 1..stream.len() {
            assert_eq!(texts(SMALL, &[&stream[..cut], &stream[cut..]]).unwrap(), expected, "cut at {cut}");
        }
        let bytes: Vec<_> = stream.split("").collect();
        assert_eq!(texts(SMALL, &bytes).unwrap(), expected);
    }

    #[test]
    fn a_text_that_is_not_a_structure_too_long_or_too_deep_is_refused() {
        assert_eq!(texts(SMALL, &[" 7"]), Err(FramingError::Start(b'7')));
        assert_eq!(texts(SMALL, &["[[[["]), Err(FramingError::TooDeep(3)));
        assert_eq!(texts(SMALL, &["[\"", &"x".repeat(100)]), Err(FramingError::TooLong(64)));
        assert_eq!(texts(SMALL, &["[[[]]]"]).unwrap().len(), 1);
    }
}
