//! Where one JSON text ends and the next begins, in a stream without framing.
//!
//! Invariants
//! - Each byte is looked at once, however the stream is cut into pieces.
//! - No more than [`Limits`] allow is kept.
//!
//! Not here: whether the text is JSON. Brackets are counted, not matched; `serde_json` judges.

use thiserror::Error;

/// How much one text may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Length in bytes.
    pub(crate) bytes: usize,
    /// Brackets within brackets.
    pub(crate) depth: u32,
}

impl Limits {
    /// What a client may send: a configuration of thousands of volumes fits.
    pub(crate) const REQUEST: Self = Self { bytes: 4 << 20, depth: 64 };
    /// What a client of ours takes from a server.
    pub(crate) const ANSWER: Self = Self { bytes: 256 << 20, depth: 64 };
}

/// Why the stream cannot be followed any further.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum FramingError {
    #[error("a message is JSON that begins with {{ or [, not with byte {0:#04x}")]
    Start(u8),
    #[error("a message has at most {0} bytes: send several")]
    TooLong(usize),
    #[error("a message has at most {0} levels of brackets: nest less deeply")]
    TooDeep(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    Structure,
    String,
    Escape,
}

/// Cuts a stream into texts.
pub(crate) struct Framer {
    limits: Limits,
    text: Vec<u8>,
    state: State,
    depth: u32,
}

impl Framer {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, text: Vec::new(), state: State::Between, depth: 0 }
    }

    /// Takes bytes from the front of `input` up to the end of a text, and returns that.
    ///
    /// # Errors
    /// [`FramingError`]; what follows in the stream has no meaning then.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, FramingError> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            if self.take(byte)? {
                return Ok(Some(std::mem::take(&mut self.text)));
            }
        }
        Ok(None)
    }

    /// Memory that the text which has begun takes, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.text.capacity()
    }

    /// Whether a text has begun and not ended.
    pub(crate) fn is_inside(&self) -> bool {
        self.state != State::Between
    }

    /// Adds a byte; true if it ends a text.
    fn take(&mut self, byte: u8) -> Result<bool, FramingError> {
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
    fn texts_back_to_back_are_told_apart_however_they_are_cut() {
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
