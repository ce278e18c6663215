//! State: what is known of Luge, and what the user has chosen.

use crate::looker::Look;
use crate::pace::Pace;
use crate::table::{Order, Sort, Table};
use crate::tables;
use luge_init::Key;
use luge_observe::{Rates, Snapshot};

/// Maximum number of characters of a filter.
const FILTER_MAX: usize = 64;

/// Kind of things that are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tab {
    Volumes,
    Ssds,
    Endpoints,
    Vms,
    Cores,
}

impl Tab {
    /// All tabs, in the order of the keys 1 to 5.
    pub(crate) const ALL: [Self; 5] = [Self::Volumes, Self::Ssds, Self::Endpoints, Self::Vms, Self::Cores];

    /// Title.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Volumes => "Volumes",
            Self::Ssds => "SSDs",
            Self::Endpoints => "Endpoints",
            Self::Vms => "VMs",
            Self::Cores => "Cores",
        }
    }
}

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

/// What is known of Luge.
#[derive(Default)]
pub(crate) struct Observed {
    /// Last snapshot, which stays when Luge is away.
    pub(crate) now: Option<Snapshot>,
    /// Change between the last two snapshots.
    pub(crate) rates: Option<Rates>,
    /// Reason why the last look failed.
    pub(crate) failure: Option<String>,
}

impl Observed {
    /// Adds a look.
    pub(crate) fn add(&mut self, look: Look) {
        match look {
            Ok(now) => {
                self.rates = self.now.as_ref().and_then(|before| Rates::between(before, &now));
                self.failure = None;
                self.now = Some(now);
            }
            Err(error) => {
                self.rates = None;
                self.failure = Some(error.to_string());
            }
        }
    }
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
