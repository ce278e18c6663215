//! A table: sorted, filtered, and cut to the columns that fit.

use std::cmp::Ordering;

/// Width at which the first column is cut, if others would not fit.
const NAME_MAX: usize = 20;

/// Minimum width of a text column that is cut at the right edge.
const CUT_MIN: usize = 6;

/// Space between columns.
pub(crate) const GAP: u16 = 1;

/// Columns that are kept free for the mark of a table whose columns do not all fit.
const MARK_ROOM: usize = 2;

/// A column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Column {
    /// Heading.
    pub(crate) title: &'static str,
    /// Kind of its cells.
    pub(crate) kind: ColumnKind,
    /// Minimum width, so that the columns after it stay where they are when its numbers change.
    width_min: usize,
}

/// Kind of a column's cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ColumnKind {
    /// Texts, aligned at the left and sorted from A to Z.
    Text,
    /// Numbers, aligned at the right and sorted from the greatest.
    Number,
}

impl Column {
    /// Column of texts.
    pub(crate) const fn text(title: &'static str) -> Self {
        Self { title, kind: ColumnKind::Text, width_min: 0 }
    }

    /// Column of numbers.
    pub(crate) const fn number(title: &'static str) -> Self {
        Self { title, kind: ColumnKind::Number, width_min: 0 }
    }

    /// Column with a minimum width.
    pub(crate) const fn at_least(self, width_min: usize) -> Self {
        Self { width_min, ..self }
    }
}

/// A cell: its text, and the value by which it is sorted.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// Whether it says that something is wrong.
    pub(crate) is_alarm: bool,
    value: Option<f64>,
}

impl Cell {
    /// Cell of a text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_alarm: false, value: None }
    }

    /// Cell of a number, with its text; `-` if it is absent.
    pub(crate) fn number(value: Option<f64>, show: impl Fn(f64) -> String) -> Self {
        let text = value.map_or_else(|| luge_init::units::ABSENT.into(), show);
        Self { text, is_alarm: false, value }
    }

    /// Cell that says that something is wrong, if `is_alarm`.
    pub(crate) fn alarm_if(self, is_alarm: bool) -> Self {
        Self { is_alarm, ..self }
    }

    fn compare(&self, other: &Self, kind: ColumnKind) -> Ordering {
        match kind {
            ColumnKind::Text => self.text.cmp(&other.text),
            // Absent numbers are the last.
            ColumnKind::Number => {
                let rank = |cell: &Self| cell.value.unwrap_or(f64::NEG_INFINITY);
                rank(other).total_cmp(&rank(self))
            }
        }
    }
}

/// Order of the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Texts from A to Z, numbers from the greatest.
    Natural,
    /// The opposite.
    Reversed,
}

/// Column by which rows are sorted, and their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sort {
    pub(crate) column: usize,
    pub(crate) order: Order,
}

/// A table.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Table {
    pub(crate) columns: &'static [Column],
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A column that is shown, and its width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shown {
    pub(crate) column: usize,
    pub(crate) width: usize,
}

impl Table {
    /// Sorts the rows; equal ones by their first cells.
    pub(crate) fn sort(&mut self, sort: Sort) {
        let Some(kind) = self.columns.get(sort.column).map(|column| column.kind) else { return };
        let compare = |one: &Vec<Cell>, other: &Vec<Cell>| {
            let cells = one.get(sort.column).zip(other.get(sort.column));
            let order = cells.map_or(Ordering::Equal, |(one, other)| one.compare(other, kind));
            match sort.order {
                Order::Natural => order,
                Order::Reversed => order.reverse(),
            }
        };
        let name = |row: &Vec<Cell>| row.first().map(|cell| cell.text.clone());
        self.rows.sort_by(|one, other| compare(one, other).then_with(|| name(one).cmp(&name(other))));
    }

    /// Keeps the rows in which a text has `words`, in capital or small letters.
    pub(crate) fn filter(&mut self, words: &str) {
        let words = words.to_lowercase();
        let is_text = |at: usize| self.columns.get(at).is_some_and(|one| one.kind == ColumnKind::Text);
        let has = |row: &Vec<Cell>| {
            row.iter().enumerate().any(|(at, cell)| is_text(at) && cell.text.to_lowercase().contains(&words))
        };
        self.rows.retain(has);
    }

    /// Columns that fit into a width, from the left. The last one, if it has texts, may be cut. If some do not fit, there
    /// is room for a mark behind the others.
    pub(crate) fn fit(&self, width: usize) -> Vec<Shown> {
        let shown = self.fit_without_mark(width);
        if shown.len() == self.columns.len() {
            return shown;
        }
        self.fit_without_mark(width.saturating_sub(MARK_ROOM))
    }

    fn fit_without_mark(&self, width: usize) -> Vec<Shown> {
        let mut left = width;
        let mut shown = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            let gap = if at == 0 { 0 } else { GAP.into() };
            let wanted = if at == 0 { self.width(at).min(NAME_MAX) } else { self.width(at) };
            let room = left.saturating_sub(gap);
            let may_be_cut = at == 0 || column.kind == ColumnKind::Text && room >= CUT_MIN;
            if wanted > room && !may_be_cut {
                continue;
            }
            let width = wanted.min(room);
            left = room - width;
            shown.push(Shown { column: at, width });
        }
        shown
    }

    /// Width of a column: that of its widest cell.
    fn width(&self, at: usize) -> usize {
        let title = self.columns.get(at).map_or(0, |column| column.title.len().max(column.width_min));
        let cells = self.rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0).max(title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_init::units;

    const COLUMNS: &[Column] = &[Column::text("NAME"), Column::number("IOPS"), Column::text("SSD")];

    fn row(name: &str, iops: Option<f64>) -> Vec<Cell> {
        vec![Cell::text(name), Cell::number(iops, units::count), Cell::text("nvme0")]
    }

    fn table() -> Table {
        Table { columns: COLUMNS, rows: vec![row("b", Some(1.0)), row("a", None), row("c", Some(1000.0))] }
    }

    fn names(table: &Table) -> String {
        table.rows.iter().map(|row| row[0].text.as_str()).collect()
    }

    #[test]
    fn numbers_are_sorted_from_the_greatest_and_absent_ones_are_last() {
        let mut table = table();
        table.sort(Sort { column: 1, order: Order::Natural });
        assert_eq!(names(&table), "cba");
        table.sort(Sort { column: 1, order: Order::Reversed });
        assert_eq!(names(&table), "abc");
        table.sort(Sort { column: 0, order: Order::Natural });
        assert_eq!(names(&table), "abc");
    }

    #[test]
    fn rows_are_filtered_by_their_texts_and_not_by_their_numbers() {
        let mut table = table();
        table.filter("NVME");
        assert_eq!(table.rows.len(), 3);
        table.filter("1.00k");
        assert_eq!(table.rows.len(), 0);
    }

    #[test]
    fn columns_that_do_not_fit_are_left_out_and_the_total_is_never_too_wide() {
        let mut table = table();
        table.rows.push(row(&"x".repeat(100), Some(1.0)));
        for width in 0..100 {
            let shown = table.fit(width);
            let total: usize = shown.iter().map(|one| one.width + usize::from(GAP)).sum();
            assert!(total <= width + usize::from(GAP), "{width}: {shown:?}");
        }
        assert_eq!(table.fit(80).len(), 3);
        assert_eq!(table.fit(80)[0].width, NAME_MAX);
        assert_eq!(table.fit(10).len(), 1);
        assert_eq!(table.fit(10)[0].width, 8, "two are left for a mark");
    }
}
