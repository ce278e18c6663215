//! Decoder of a terminal's bytes into keys.
//!
//! Invariant: for any input the state is a few bytes, and the keys after an unknown sequence are
//! decoded.

/// A key or a combination of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// Printable character.
    Char(char),
    /// Enter, also called Return.
    Enter,
    /// Tabulator.
    Tab,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// Left arrow.
    Left,
    /// Right arrow.
    Right,
    /// Home.
    Home,
    /// End.
    End,
    /// Up arrow.
    Up,
    /// Down arrow.
    Down,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Ctrl-U.
    KillToStart,
    /// Ctrl-K.
    KillToEnd,
    /// Ctrl-W.
    KillWord,
    /// Ctrl-C.
    Cancel,
    /// Ctrl-D.
    EndOfInput,
    /// Ctrl-L.
    ClearScreen,
}

/// State of the decoder: the bytes that it has seen.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum State {
    #[default]
    Plain,
    /// Carriage return. A line feed that follows belongs to the same key.
    Return,
    /// `ESC`.
    Escape,
    /// `ESC [` or `ESC O`, and the first parameter.
    Sequence { number: u8 },
    /// Start of a character of several bytes: number of missing bytes, and the bits so far.
    Utf8 { missing: u8, value: u32 },
}

/// Decodes bytes into keys.
#[derive(Default, Debug)]
pub struct Decoder {
    state: State,
}

impl Decoder {
    /// Decodes a byte; returns the key that it completes.
    pub fn feed(&mut self, byte: u8) -> Option<Key> {
        match std::mem::take(&mut self.state) {
            State::Return if byte == b'\n' => None,
            State::Plain | State::Return => self.plain(byte),
            State::Escape => self.after_escape(byte),
            State::Sequence { number } => self.in_sequence(number, byte),
            State::Utf8 { missing, value } => self.in_character(missing, value, byte),
        }
    }

    fn plain(&mut self, byte: u8) -> Option<Key> {
        match byte {
            b'\r' => {
                self.state = State::Return;
                return Some(Key::Enter);
            }
            0x1b => self.state = State::Escape,
            0xc2..=0xdf => self.state = State::Utf8 { missing: 1, value: u32::from(byte & 0x1f) },
            0xe0..=0xef => self.state = State::Utf8 { missing: 2, value: u32::from(byte & 0x0f) },
            0xf0..=0xf4 => self.state = State::Utf8 { missing: 3, value: u32::from(byte & 0x07) },
            _ => return control(byte),
        }
        None
    }

    fn after_escape(&mut self, byte: u8) -> Option<Key> {
        match byte {
            b'[' | b'O' => self.state = State::Sequence { number: 0 },
            0x1b => self.state = State::Escape,
            0x20..=0x7e => {}
            _ => return self.plain(byte),
        }
        None
    }

    /// Decodes a byte of a control sequence: parameters, then a final byte (ECMA-48, 5.4).
    fn in_sequence(&mut self, number: u8, byte: u8) -> Option<Key> {
        match (byte, number) {
            (b'0'..=b'9', _) => {
                let number = number.saturating_mul(10).saturating_add(byte - b'0');
                self.state = State::Sequence { number };
                None
            }
            // The first parameter is the key, the others are modifiers.
            (b';', _) => {
                self.state = State::Sequence { number: number.saturating_mul(100) };
                None
            }
            (0x20..=0x3f, _) => {
                self.state = State::Sequence { number };
                None
            }
            (b'A', _) => Some(Key::Up),
            (b'B', _) => Some(Key::Down),
            (b'C', _) => Some(Key::Right),
            (b'D', _) => Some(Key::Left),
            (b'H', _) | (b'~', 1 | 7) => Some(Key::Home),
            (b'F', _) | (b'~', 4 | 8) => Some(Key::End),
            (b'~', 3) => Some(Key::Delete),
            (b'~', 5) => Some(Key::PageUp),
            (b'~', 6) => Some(Key::PageDown),
            (0x20..=0x7e, _) => None,
            _ => self.plain(byte),
        }
    }

    fn in_character(&mut self, missing: u8, value: u32, byte: u8) -> Option<Key> {
        if !(0x80..=0xbf).contains(&byte) {
            return self.plain(byte);
        }
        let value = value << 6 | u32::from(byte & 0x3f);
        if missing > 1 {
            self.state = State::Utf8 { missing: missing - 1, value };
            return None;
        }
        char::from_u32(value).filter(|character| !character.is_control()).map(Key::Char)
    }
}

const fn control(byte: u8) -> Option<Key> {
    Some(match byte {
        0x01 => Key::Home,
        0x02 => Key::Left,
        0x03 => Key::Cancel,
        0x04 => Key::EndOfInput,
        0x05 => Key::End,
        0x06 => Key::Right,
        0x08 | 0x7f => Key::Backspace,
        b'\t' => Key::Tab,
        b'\n' => Key::Enter,
        0x0b => Key::KillToEnd,
        0x0c => Key::ClearScreen,
        0x0e => Key::Down,
        0x10 => Key::Up,
        0x15 => Key::KillToStart,
        0x17 => Key::KillWord,
        0x20..=0x7e => Key::Char(byte as char),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_seeded::Random;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|byte| decoder.feed(*byte)).collect()
    }

    #[test]
    fn characters_of_any_length_in_bytes_are_keys() {
        assert_eq!(keys("aß€😀".as_bytes()), ['a', 'ß', '€', '😀'].map(Key::Char));
    }

    #[test]
    fn enter_is_one_key_for_each_kind_of_line_end() {
        assert_eq!(keys(b"\r"), [Key::Enter]);
        assert_eq!(keys(b"\n"), [Key::Enter]);
        assert_eq!(keys(b"\r\n"), [Key::Enter]);
        assert_eq!(keys(b"\r\r\n\n"), [Key::Enter; 3]);
    }

    #[test]
    fn cursor_keys_are_decoded_in_all_their_forms() {
        assert_eq!(keys(b"\x1b[A\x1bOB\x1b[1;5C\x1b[D"), [Key::Up, Key::Down, Key::Right, Key::Left]);
        assert_eq!(keys(b"\x1b[H\x1b[1~\x1b[7~\x1bOH"), [Key::Home; 4]);
        assert_eq!(keys(b"\x1b[F\x1b[4~\x1b[8~"), [Key::End; 3]);
        assert_eq!(keys(b"\x1b[3~\x7f\x08"), [Key::Delete, Key::Backspace, Key::Backspace]);
    }

    #[test]
    fn unknown_sequences_are_ignored_and_the_next_key_is_decoded() {
        for noise in
            [&b"\x1b[15~"[..], b"\x1b[3;5~", b"\x1b[?25h", b"\x1b[99999999999m", b"\x1bx", b"\x1b\x1b[A"]
        {
            let got = keys(&[noise, b"k"].concat());
            assert_eq!(got.last(), Some(&Key::Char('k')), "{noise:?}");
        }
        assert_eq!(keys(b"\xff\xc3k\x00\xe2\x82k"), [Key::Char('k'); 2]);
    }

    #[test]
    fn a_key_is_decoded_after_any_bytes_and_two_letters() {
        let mut random = Random::new(7);
        for _ in 0..20_000 {
            let noise = random.bytes(4);
            let got = keys(&[&noise[..], b"zz\r"].concat());
            assert_eq!(got.last(), Some(&Key::Enter), "{noise:?}");
        }
    }
}
