//! Blocks of code in Markdown, and texts in sources.

use std::fs;
use std::path::PathBuf;

/// A fenced block.
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
    /// Line of its first line, from 1.
    pub(crate) line: usize,
}

/// Fenced blocks of a text.
pub(crate) fn of(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, number) in markdown.lines().zip(1..) {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => blocks.push(block),
            (Some(language), None) => {
                open = Some(Block { language: language.into(), text: String::new(), line: number + 1 });
            }
            (None, Some(mut block)) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Text of all Rust files in folders.
pub(crate) fn rust_sources(folders: &[PathBuf]) -> String {
    let mut text = String::new();
    let mut folders = folders.to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &fs::read_to_string(&path).unwrap_or_default();
            }
        }
    }
    text
}

/// Text in which strings that go on in the next line are in one.
pub(crate) fn without_line_breaks(source: &str) -> String {
    source.split("\\\n").map(str::trim_start).collect()
}
