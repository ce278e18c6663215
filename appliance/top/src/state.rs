//! State: what is known of Luge, and what the user has chosen.

use crate::observed::Observed;
use crate::pace::Pace;
use crate::tab::Tab;
use crate::table::{Order, Sort, Table};
use crate::tables;
use luge_init::Key;

/// Maximum number of characters of a filter.
const FILTER_MAX: usize = 64;

/// Use of the keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Keys are commands.
    Watching,
    /// Keys are typed into the filter.
    Filtering,
    /// The help is shown; any key ends it.
    Help,
}

/// Effect of a key on the loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// The frame is drawn again.
    Draw,
    /// All of the terminal is drawn again.
    Repaint,
    /// The view ends.
    Leave,
}

/// State of the view.
pub(crate) struct State {
    /// Name of the Luge that is watched.
    pub(crate) title: String,
    pub(crate) observed: Observed,
    pub(crate) tab: Tab,
    pub(crate) mode: Mode,
    pub(crate) filter: String,
    pub(crate) pace: Pace,
    /// Index of the first row that is shown.
    pub(crate) first_row: usize,
    /// Number of rows that the last frame had room for.
    pub(crate) page: usize,
    sorts: [Sort; 5],
}

impl State {
    /// State before the first look.
    pub(crate) fn new(title: String) -> Self {
        Self {
            title,
            observed: Observed::default(),
            tab: Tab::Volumes,
            mode: Mode::Watching,
            filter: String::new(),
            pace: Pace::default(),
            first_row: 0,
            page: 1,
            sorts: Tab::ALL.map(tables::first_sort),
        }
    }

    /// Table of the present tab: filtered and sorted.
    pub(crate) fn table(&self) -> Table {
        let mut table = tables::of(self.tab, &self.observed);
        table.filter(&self.filter);
        table.sort(self.sort());
        table
    }

    /// Sorting of the present tab.
    pub(crate) fn sort(&self) -> Sort {
        self.sorts[self.tab as usize]
    }

    /// Applies a key.
    pub(crate) fn press(&mut self, key: Key) -> Effect {
        match (self.mode, key) {
            (_, Key::Cancel) => return Effect::Leave,
            (_, Key::ClearScreen) => return Effect::Repaint,
            (Mode::Watching, _) => return self.command(key),
            (Mode::Filtering, _) => self.edit_filter(key),
            (Mode::Help, _) => self.mode = Mode::Watching,
        }
        Effect::Draw
    }

    fn command(&mut self, key: Key) -> Effect {
        match key {
            Key::Char('q') | Key::EndOfInput => return Effect::Leave,
            Key::Char(digit @ '1'..='5') => self.go_to(digit as usize - '1' as usize),
            Key::Tab | Key::Right => self.go_to(self.tab as usize + 1),
            Key::Left => self.go_to(self.tab as usize + Tab::ALL.len() - 1),
            Key::Char('s' | '>') => self.sort_by(self.sort().column + 1),
            Key::Char('<') => self.sort_by(self.sort().column + tables::columns(self.tab) - 1),
            Key::Char('r') => self.reverse(),
            Key::Char('/') => self.mode = Mode::Filtering,
            Key::Char('+') => self.pace.slower(),
            Key::Char('-') => self.pace.faster(),
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            other => self.scroll(other),
        }
        Effect::Draw
    }

    fn go_to(&mut self, tab: usize) {
        self.tab = Tab::ALL[tab % Tab::ALL.len()];
        self.first_row = 0;
    }

    fn sort_by(&mut self, column: usize) {
        let column = column % tables::columns(self.tab);
        self.sorts[self.tab as usize] = Sort { column, order: Order::Natural };
    }

    fn reverse(&mut self) {
        let sort = &mut self.sorts[self.tab as usize];
        sort.order = match sort.order {
            Order::Natural => Order::Reversed,
            Order::Reversed => Order::Natural,
        };
    }

    fn scroll(&mut self, key: Key) {
        self.first_row = match key {
            Key::Up => self.first_row.saturating_sub(1),
            Key::Down => self.first_row.saturating_add(1),
            Key::PageUp => self.first_row.saturating_sub(self.page),
            Key::PageDown => self.first_row.saturating_add(self.page),
            Key::Home => 0,
            Key::End => usize::MAX,
            _ => self.first_row,
        };
    }

    fn edit_filter(&mut self, key: Key) {
        match key {
            Key::Char(character) if self.filter.chars().count() < FILTER_MAX => self.filter.push(character),
            Key::Backspace => drop(self.filter.pop()),
            Key::KillToStart | Key::KillWord => self.filter.clear(),
            Key::Enter | Key::EndOfInput => self.mode = Mode::Watching,
            _ => {}
        }
        self.first_row = 0;
    }
}
