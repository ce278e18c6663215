//! The frame: title, cores, tabs, table, help line.

use crate::state::{Mode, State};
use crate::tab::Tab;
use crate::table::{Cell, Column, ColumnKind, GAP, Order, Shown, Table};
use luge_init::units;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};

/// Minimum size of a frame.
const COLUMNS_MIN: u16 = 40;
const ROWS_MIN: u16 = 8;

/// Rows above the table: title, cores, tabs, headings.
const ROWS_ABOVE: u16 = 4;

/// Rows below the table: failure, help.
const ROWS_BELOW: u16 = 2;

/// Width of a core's bar.
const BAR: usize = 8;

/// Mark at the right edge of a table with more columns than fit.
const MORE: &str = ">";

const KEYS: &str = "q quit  Tab view  s sort  r reverse  / filter  +- interval  ? help";

const HELP: &[&str] = &[
    "1-5, Tab, arrows  volumes, SSDs, endpoints, VMs, cores",
    "s or >, <         sort by the next or previous column",
    "r                 reverse the order",
    "/                 show only rows with a word; Enter ends, Ctrl-U clears",
    "Up, Down, Page Up, Page Down, Home, End",
    "                  scroll",
    "+ -               look less or more often",
    "Ctrl-L            draw everything again",
    "q, Ctrl-C         leave",
    "",
    "Rates are those since the last look. p50 and p99 are of reads and writes;",
    "of several volumes, the slowest one's. DEPTH is the average number of",
    "requests under way. An endpoint shows the sum of its volumes, an SSD too.",
    "- is a number that is not known, > more columns in a wider terminal.",
];

const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);
const QUIET: Style = Style::new().fg(Color::Cyan);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

/// Draws the state.
pub(crate) fn draw(state: &mut State, area: Rect, buffer: &mut Buffer) {
    if area.width < COLUMNS_MIN || area.height < ROWS_MIN {
        return too_small(area, buffer);
    }
    let mut lines = Lines { area, buffer };
    lines.put(0, &title(state), STRONG);
    cores(state, &mut lines);
    tabs(state, &mut lines);
    match state.mode {
        Mode::Help => help(&mut lines),
        Mode::Watching | Mode::Filtering => table(state, &mut lines),
    }
    match (&state.observed.failure, missing(state)) {
        (Some(failure), _) => lines.put(area.height - 2, failure, BAD),
        (None, Some(missing)) => lines.put(area.height - 2, &missing, QUIET),
        (None, None) => {}
    }
    lines.put(area.height - 1, &last_line(state), QUIET);
}

/// A sentence for a terminal that is too small.
fn too_small(area: Rect, buffer: &mut Buffer) {
    let text = format!(
        "luge top needs {COLUMNS_MIN} columns and {ROWS_MIN} rows; here are {} and {}. q leaves.",
        area.width, area.height
    );
    let mut lines = Lines { area, buffer };
    for (row, line) in wrapped(&text, area.width.into()).iter().enumerate() {
        lines.put(u16::try_from(row).unwrap_or(u16::MAX), line, Style::new());
    }
}

/// Splits a text into lines at spaces. A word that is too long is cut.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Lines of the frame.
struct Lines<'a> {
    area: Rect,
    buffer: &'a mut Buffer,
}

impl Lines<'_> {
    /// Writes a text at the start of a row, and nothing outside of the frame.
    fn put(&mut self, row: u16, text: &str, style: Style) {
        self.put_at(row, 0, text, style);
    }

    /// Writes a text; returns the column after it.
    fn put_at(&mut self, row: u16, column: u16, text: &str, style: Style) -> u16 {
        if row >= self.area.height || column >= self.area.width {
            return column;
        }
        let room = usize::from(self.area.width - column);
        let (x, y) = (self.area.x + column, self.area.y + row);
        self.buffer.set_stringn(x, y, text, room, style).0 - self.area.x
    }
}

/// Version of the Luge, the sum of all volumes, and the Luge's name, which may be long.
fn title(state: &State) -> String {
    let version = state.observed.now.as_ref().and_then(|now| now.version.as_deref());
    let mut title = version.unwrap_or("Luge").to_owned();
    if let (Some(now), Some(rates)) = (&state.observed.now, &state.observed.rates)
        && let Some(all) = rates.sum(now.volumes.iter().map(|volume| volume.name.as_str()))
    {
        title.push_str(&format!(
            "  {} IOPS  {}/s read  {}/s written",
            units::count(all.iops()),
            units::bytes(all.read.bytes_per_s),
            units::bytes(all.write.bytes_per_s)
        ));
    }
    format!("{title}  {}", state.title)
}

/// Names of the methods that the Luge refused.
fn missing(state: &State) -> Option<String> {
    let missing = &state.observed.now.as_ref()?.missing;
    let names: Vec<&str> = missing.iter().map(|one| one.method.as_str()).collect();
    (!names.is_empty()).then(|| format!("This Luge does not tell: {}", names.join(", ")))
}

/// A bar for each core, as many as fit, and the number of the others.
fn cores(state: &State, lines: &mut Lines<'_>) {
    let Some(now) = &state.observed.now else {
        let waits = if state.observed.failure.is_none() { "The first look is under way." } else { "" };
        return lines.put(1, waits, Style::new());
    };
    let mut column = 0;
    for (at, core) in now.cores.iter().enumerate() {
        let rates = state.observed.rates.as_ref().and_then(|rates| rates.core(core.id));
        let text = bar(core.id, rates.and_then(|rates| rates.busy));
        let left = now.cores.len() - at;
        let mark = if left > 1 { format!("  +{}", left - 1).len() } else { 0 };
        if usize::from(column) + text.len() + mark > lines.area.width.into() {
            lines.put_at(1, column, &format!("+{left}"), QUIET);
            return;
        }
        column = lines.put_at(1, column, &text, Style::new().fg(Color::Green)) + 2;
    }
}

fn bar(core: u64, busy: Option<f64>) -> String {
    let Some(busy) = busy else { return format!("CPU {core} [{:BAR$}]   - %", "") };
    let full = (0..BAR).take_while(|at| step(*at) < busy).count();
    format!("CPU {core} [{:BAR$}] {:>5}", "|".repeat(full), units::percent(busy))
}

/// Share from which a step of a bar is full.
fn step(at: usize) -> f64 {
    let (at, steps) = (u32::try_from(at).unwrap_or(u32::MAX), u32::try_from(BAR).unwrap_or(u32::MAX));
    (f64::from(at) + 0.5) / f64::from(steps)
}

fn tabs(state: &State, lines: &mut Lines<'_>) {
    let mut column = 0;
    for (at, tab) in Tab::ALL.into_iter().enumerate() {
        let style = if tab == state.tab { CHOSEN } else { Style::new() };
        column = lines.put_at(2, column, &format!(" {} {} ", at + 1, tab.title()), style) + 1;
    }
}

fn help(lines: &mut Lines<'_>) {
    let room = lines.area.height.saturating_sub(ROWS_ABOVE + ROWS_BELOW) + 1;
    for (row, text) in (0..room).zip(HELP) {
        lines.put(row + ROWS_ABOVE - 1, text, Style::new());
    }
}

fn table(state: &mut State, lines: &mut Lines<'_>) {
    let table = state.table();
    let room = lines.area.height - ROWS_ABOVE - ROWS_BELOW;
    state.page = room.into();
    state.first_row = state.first_row.min(table.rows.len().saturating_sub(state.page));
    let shown = table.fit(lines.area.width.into());
    headings(state, &table, &shown, lines);
    let rows = table.rows.iter().skip(state.first_row);
    for (row, cells) in (0..room).zip(rows) {
        let mut at = 0;
        for one in &shown {
            let (cell, column) = (cells.get(one.column), table.columns[one.column]);
            let style = if cell.is_some_and(|cell| cell.is_alarm) { BAD } else { Style::new() };
            at = lines.put_at(row + ROWS_ABOVE, at, &padded(cell, column, one.width), style) + GAP;
        }
    }
    if table.rows.is_empty() && state.observed.now.is_some() {
        lines.put(ROWS_ABOVE, empty(state), Style::new());
    }
}

const fn empty(state: &State) -> &'static str {
    if state.filter.is_empty() { "(none)" } else { "(none with that word: / changes it)" }
}

fn headings(state: &State, table: &Table, shown: &[Shown], lines: &mut Lines<'_>) {
    let mut at = 0;
    for one in shown {
        let column = table.columns[one.column];
        let title = Cell::text(column.title);
        let style = if one.column == state.sort().column { STRONG.patch(CHOSEN) } else { STRONG };
        let title = padded(Some(&title), column, one.width);
        at = lines.put_at(ROWS_ABOVE - 1, at, &title, style) + GAP;
    }
    if shown.len() < table.columns.len() {
        let is_sorted_by_another = shown.iter().all(|one| one.column != state.sort().column);
        let style = if is_sorted_by_another { STRONG.patch(CHOSEN) } else { STRONG };
        lines.put_at(ROWS_ABOVE - 1, lines.area.width - 1, MORE, style);
    }
}

/// Text of a cell in the width of its column. A text that is too long ends with `~`.
fn padded(cell: Option<&Cell>, column: Column, width: usize) -> String {
    let text = cell.map_or("", |cell| cell.text.as_str());
    let text = if text.chars().count() > width {
        text.chars().take(width.saturating_sub(1)).chain(['~']).collect()
    } else {
        text.to_owned()
    };
    match column.kind {
        ColumnKind::Text => format!("{text:<width$}"),
        ColumnKind::Number => format!("{text:>width$}"),
    }
}

/// The filter while it is typed, else the keys.
fn last_line(state: &State) -> String {
    if state.mode == Mode::Filtering {
        return format!("Show rows with: {}_  (Enter ends)", state.filter);
    }
    let seconds = state.pace.interval().as_secs_f64();
    let mut notes = format!("  {seconds} s");
    if state.pace.is_slowed() {
        notes = format!("  {seconds:.1} s (slow line)");
    }
    if state.sort().order == Order::Reversed {
        notes.push_str("  reversed");
    }
    if !state.filter.is_empty() {
        notes.push_str(&format!("  /{}", state.filter));
    }
    format!("{KEYS}{notes}")
}

#[cfg(test)]
mod tests;
