//! Text tables, aligned for a terminal or as Markdown.

/// A table whose rows have a cell for each column.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// Head and alignment of a column.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    Words(&'static str),
    Number(&'static str),
}

impl Column {
    const fn head(self) -> &'static str {
        match self {
            Self::Words(head) | Self::Number(head) => head,
        }
    }

    /// Pads `cell` to the width of the column.
    fn align(self, cell: &str, width: usize) -> String {
        match self {
            Self::Words(_) => format!("{cell:<width$}"),
            Self::Number(_) => format!("{cell:>width$}"),
        }
    }

    /// Line under the head in Markdown.
    fn rule(self, width: usize) -> String {
        match self {
            Self::Words(_) => "-".repeat(width),
            Self::Number(_) => format!("{}:", "-".repeat(width - 1)),
        }
    }
}

impl Table {
    pub(crate) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    pub(crate) fn push<const N: usize>(&mut self, row: [String; N]) {
        self.push_all(row.into());
    }

    pub(crate) fn push_all(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.columns.len(), "a cell for each column");
        self.rows.push(row);
    }

    /// Text for a terminal.
    pub(crate) fn to_text(&self) -> String {
        let widths = self.widths();
        self.lines(&widths, "  ").map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// Text for a document.
    pub(crate) fn to_markdown(&self) -> String {
        let widths = self.widths();
        let rules: Vec<String> =
            self.columns.iter().zip(&widths).map(|(column, &width)| column.rule(width)).collect();
        let mut lines = self.lines(&widths, " | ");
        let head = lines.next().into_iter();
        head.chain([rules.join(" | ")]).chain(lines).map(|line| format!("| {line} |\n")).collect()
    }

    fn lines<'a>(&'a self, widths: &'a [usize], between: &'a str) -> impl Iterator<Item = String> + 'a {
        let heads = self.columns.iter().map(|column| column.head().to_owned()).collect();
        std::iter::once(heads).chain(self.rows.iter().cloned()).map(move |row| {
            let cells = self.columns.iter().zip(&row).zip(widths);
            let cells = cells.map(|((column, cell), &width)| column.align(cell, width));
            cells.collect::<Vec<_>>().join(between)
        })
    }

    /// Widths of the columns; Markdown needs three at least.
    fn widths(&self) -> Vec<usize> {
        let width = |(at, column): (usize, &Column)| {
            let cells = self.rows.iter().map(|row| row[at].chars().count());
            cells.max().unwrap_or(0).max(column.head().chars().count()).max(3)
        };
        self.columns.iter().enumerate().map(width).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([Column::Words("device"), Column::Number("ns")]);
        table.push(["null".to_owned(), "9".to_owned()]);
        table.push(["a long one".to_owned(), "12345".to_owned()]);
        table
    }

    #[test]
    fn a_terminal_gets_columns_aligned_with_their_heads() {
        let lines = ["device         ns", "null            9", "a long one  12345", ""];
        assert_eq!(table().to_text(), lines.join("\n"));
    }

    #[test]
    fn a_document_gets_markdown_with_numbers_aligned_right() {
        let lines = [
            "| device     |    ns |",
            "| ---------- | ----: |",
            "| null       |     9 |",
            "| a long one | 12345 |",
            "",
        ];
        assert_eq!(table().to_markdown(), lines.join("\n"));
    }
}
