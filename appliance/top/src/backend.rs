//! Escape sequences of a terminal (ECMA-48), collected per frame.
//!
//! Invariant: only sequences that a VT100 and its descendants know, and no queries.

use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};
use std::fmt::Write;
use std::io;

/// Output of a frame, as bytes for a terminal.
pub(crate) struct Escapes {
    size: Size,
    text: String,
    /// Position of the cursor, where it is known.
    cursor: Option<Position>,
    /// Last SGR sequence.
    style: String,
}

impl Escapes {
    /// Output for a terminal of a size.
    pub(crate) fn new(size: Size) -> Self {
        Self { size, text: String::new(), cursor: None, style: String::new() }
    }

    /// Sets the size of the terminal.
    pub(crate) fn resize(&mut self, size: Size) {
        self.size = size;
    }

    /// Text since the last call.
    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// Forgets the state of a terminal that has not taken all of a text.
    pub(crate) fn forget(&mut self) {
        self.cursor = None;
        self.style.clear();
    }

    fn put(&mut self, at: Position, cell: &Cell) {
        match self.cursor {
            Some(now) if now == at => {}
            Some(now) if now.y == at.y && now.x < at.x => self.go_right(at.x - now.x),
            _ => self.go_to(at),
        }
        let style = sgr(cell);
        if style != self.style {
            self.text.push_str(&style);
            self.style = style;
        }
        self.text.push_str(cell.symbol());
        // A character may be wide, and after the last column terminals differ.
        let next = at.x.saturating_add(1);
        let is_known = cell.symbol().len() == 1 && next < self.size.width;
        self.cursor = is_known.then_some(Position { x: next, y: at.y });
    }

    /// Moves the cursor within its row, by the shorter sequence (CUF).
    fn go_right(&mut self, columns: u16) {
        self.text.push_str("\x1b[");
        if columns > 1 {
            self.text.push_str(&columns.to_string());
        }
        self.text.push('C');
    }

    fn go_to(&mut self, at: Position) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "\x1b[{};{}H", at.y.saturating_add(1), at.x.saturating_add(1));
    }
}

/// SGR sequence of a cell (ECMA-48, 8.3.117).
fn sgr(cell: &Cell) -> String {
    let modifiers = [
        (Modifier::BOLD, ";1"),
        (Modifier::DIM, ";2"),
        (Modifier::UNDERLINED, ";4"),
        (Modifier::REVERSED, ";7"),
    ];
    let set = modifiers.iter().filter(|(modifier, _)| cell.modifier.contains(*modifier));
    let set: String = set.map(|(_, code)| *code).collect();
    format!("\x1b[0{set}{}m", colour(cell.fg))
}

/// Code of a colour of the text. Those that the view does not use are the terminal's own.
const fn colour(colour: Color) -> &'static str {
    match colour {
        Color::Red => ";31",
        Color::Green => ";32",
        Color::Yellow => ";33",
        Color::Cyan => ";36",
        _ => "",
    }
}

impl Backend for Escapes {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        content.for_each(|(x, y, cell)| self.put(Position { x, y }, cell));
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.go_to(position.into());
        self.cursor = None;
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, _: ClearType) -> io::Result<()> {
        self.text.push_str("\x1b[0m\x1b[2J");
        self.forget();
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        Ok(self.size)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui_core::style::Style;
    use ratatui_core::terminal::Terminal;

    fn drawn(terminal: &mut Terminal<Escapes>, text: &str) -> String {
        terminal
            .draw(|frame| {
                frame.buffer_mut().set_string(0, 0, text, Style::new().fg(Color::Red));
            })
            .unwrap();
        terminal.backend_mut().take()
    }

    #[test]
    fn only_characters_that_changed_are_written() {
        let mut terminal = Terminal::new(Escapes::new(Size::new(20, 2))).unwrap();
        assert_eq!(drawn(&mut terminal, "1234"), "\x1b[1;1H\x1b[0;31m1234");
        assert_eq!(drawn(&mut terminal, "1235"), "\x1b[1;4H5");
        assert_eq!(drawn(&mut terminal, "1235"), "");
    }

    #[test]
    fn a_gap_within_a_row_is_skipped_by_the_shorter_sequence() {
        let mut terminal = Terminal::new(Escapes::new(Size::new(20, 2))).unwrap();
        drawn(&mut terminal, "1234567");
        assert_eq!(drawn(&mut terminal, "0204560"), "\x1b[1;1H0\x1b[C0\x1b[3C0");
    }

    #[test]
    fn a_repainted_terminal_gets_all_of_the_frame() {
        let mut terminal = Terminal::new(Escapes::new(Size::new(20, 2))).unwrap();
        drawn(&mut terminal, "1234");
        terminal.clear().unwrap();
        let text = drawn(&mut terminal, "1234");
        assert!(text.contains("\x1b[2J") && text.ends_with("1234"), "{text:?}");
    }
}
