//! `luge host`: shows and prepares the host that `luge serve` is to run on.

use crate::cli::{HostAction, HostArgs, HugepagesArgs};
use luge_host::{Change, Host, HostError, PagePool, Pool, Report, Ssd, SsdMemory, SsdState, Undone};
use luge_vfio::{PciAddress, SysfsRoot};
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write, stdout};
use thiserror::Error;

/// Reason why `luge host` fails.
#[derive(Debug, Error)]
pub enum HostCommandError {
    /// A change failed.
    #[error(transparent)]
    Change(#[from] HostError),
    /// Some changes could not be undone.
    #[error(
        "{0} of the changes could not be undone, and are still noted: remove the cause, and repeat `luge host reset`"
    )]
    NotUndone(usize),
    /// The result cannot be printed.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

/// Runs `luge host`.
///
/// # Errors
/// [`HostCommandError`].
pub fn run(args: &HostArgs) -> Result<(), HostCommandError> {
    let host = Host::new(SysfsRoot::default(), args.journal.clone());
    match &args.action {
        None => show(&host.report(), args.json),
        Some(HostAction::Bind(ssds)) => change(&host, args, &each(&ssds.ssds, Change::Bind)),
        Some(HostAction::Release(ssds)) => change(&host, args, &each(&ssds.ssds, Change::Release)),
        Some(HostAction::Hugepages(pages)) => change(&host, args, &[pages_of(&host, pages)?]),
        Some(HostAction::Reset) => reset(&host, args),
    }
}

fn each(ssds: &[PciAddress], change: fn(PciAddress) -> Change) -> Vec<Change> {
    ssds.iter().copied().map(change).collect()
}

fn pages_of(
    host: &Host,
    &HugepagesArgs { mib, node, page_kib }: &HugepagesArgs,
) -> Result<Change, HostError> {
    host.pages(Pool { node, page_kib }, mib)
}

fn change(host: &Host, args: &HostArgs, changes: &[Change]) -> Result<(), HostCommandError> {
    if args.dry_run {
        host.check(changes)?;
        return print_all(args.json, "would", &changes.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    let mut done = Vec::new();
    let outcome = host.apply(changes, &mut |change| done.push(change.to_string()));
    print_all(args.json, "done:", &done)?;
    Ok(outcome?)
}

fn reset(host: &Host, args: &HostArgs) -> Result<(), HostCommandError> {
    if args.dry_run {
        return print_all(args.json, "would put", &host.noted()?);
    }
    let undone = host.reset()?;
    if args.json {
        let all: Vec<Value> = undone.iter().map(json_of).collect();
        writeln!(stdout(), "{:#}", Value::Array(all))?;
    } else {
        undone.iter().try_for_each(|one| match &one.outcome {
            Ok(()) => writeln!(stdout(), "done: {}", one.what),
            Err(error) => writeln!(stdout(), "not done: {}: {error}", one.what),
        })?;
    }
    match undone.iter().filter(|one| one.outcome.is_err()).count() {
        0 => Ok(()),
        failed => Err(HostCommandError::NotUndone(failed)),
    }
}

fn json_of(Undone { what, outcome }: &Undone) -> Value {
    json!({ "what": what, "error": outcome.as_ref().err().map(ToString::to_string) })
}

/// Prints what was done, or would be: a line each, or a JSON list.
fn print_all(as_json: bool, before: &str, lines: &[String]) -> Result<(), HostCommandError> {
    if as_json {
        writeln!(stdout(), "{:#}", json!(lines))?;
    } else {
        lines.iter().try_for_each(|line| writeln!(stdout(), "{before} {line}"))?;
    }
    Ok(())
}

fn show(report: &Report, as_json: bool) -> Result<(), HostCommandError> {
    let text = if as_json { format!("{:#}", json!(report)) } else { text_of(report, Style::of_stdout()) };
    writeln!(stdout(), "{text}")?;
    Ok(())
}

/// Whether text has colours.
#[derive(Clone, Copy)]
enum Style {
    Plain,
    Colour,
}

impl Style {
    fn of_stdout() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if stdout().is_terminal() && !plain { Self::Colour } else { Self::Plain }
    }

    fn heading(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\x1b[1m{text}\x1b[0m"),
        }
    }
}

/// Report as a person reads it: tables of SSDs and hugepages, then the advice.
fn text_of(report: &Report, style: Style) -> String {
    let ssds = report.ssds.iter().map(ssd_row).collect::<Vec<_>>();
    let pools = report.hugepages.iter().map(pool_row).collect::<Vec<_>>();
    let advice = report.advice.iter().map(|line| format!("- {line}"));
    let mut parts = vec![
        table(["SSD", "state", "driver", "node", "group", "id", "model / used by"], &ssds, style),
        table(["hugepages", "node", "total", "free", "MiB", "MiB free", ""], &pools, style),
    ];
    if !report.ssd_memory.is_empty() {
        parts.push(needs_of(&report.ssd_memory, style));
    }
    let advice: Vec<String> = advice.collect();
    if !advice.is_empty() {
        parts.push(format!("{}\n{}", style.heading("to be done"), advice.join("\n")));
    }
    parts.join("\n\n")
}

/// Lines on what hugepages are needed for.
fn needs_of(ssds: &[SsdMemory], style: Style) -> String {
    let ssds = ssds.iter().map(|&SsdMemory { node, ssds, mib_per_core }| {
        format!("- node {node}: {mib_per_core} MiB for each core of Luge (SSDs: {ssds})")
    });
    let disks = "- the size of each memory disk, and of each VM with hugepages".to_owned();
    [style.heading("hugepages are needed for")]
        .into_iter()
        .chain(ssds)
        .chain([disks])
        .collect::<Vec<_>>()
        .join("\n")
}

fn ssd_row(ssd: &Ssd) -> [String; 7] {
    let state = match ssd.state {
        SsdState::Free => "free",
        SsdState::Used => "used",
        SsdState::Bound => "bound",
        SsdState::Open => "open",
        SsdState::Foreign => "foreign",
    };
    let known = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    [
        ssd.address.clone(),
        state.to_owned(),
        known(ssd.driver.clone()),
        known(ssd.node.map(|node| node.to_string())),
        known(ssd.iommu_group.map(|group| group.to_string())),
        ssd.id.clone(),
        known(ssd.used_by.clone().or_else(|| ssd.model.clone())),
    ]
}

fn pool_row(&PagePool { pool, total, free }: &PagePool) -> [String; 7] {
    let mib = |pages: u64| (pages.saturating_mul(pool.page_kib) / 1024).to_string();
    let page = if pool.page_kib < 1 << 20 {
        format!("{} MiB", pool.page_kib / 1024)
    } else {
        format!("{} GiB", pool.page_kib >> 20)
    };
    [page, pool.node.to_string(), total.to_string(), free.to_string(), mib(total), mib(free), String::new()]
}

/// Aligned columns below their headings.
fn table(headings: [&str; 7], rows: &[[String; 7]], style: Style) -> String {
    if rows.is_empty() {
        return format!("{}\n(none)", style.heading(headings[0]));
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |cells: [&str; 7]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let body = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    [style.heading(&line(headings))].into_iter().chain(body).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_plain_without_a_terminal() {
        let row = |cells: [&str; 7]| cells.map(str::to_owned);
        let rows = [
            row(["a", "free", "-", "0", "1", "x", "y"]),
            row(["long name", "used", "nvme", "0", "1", "x", ""]),
        ];
        let text = table(["SSD", "state", "driver", "node", "group", "id", "model"], &rows, Style::Plain);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "SSD        state  driver  node  group  id  model");
        assert_eq!(lines[1], "a          free   -       0     1      x   y");
        assert_eq!(lines[2], "long name  used   nvme    0     1      x");
    }

    #[test]
    fn a_person_is_told_what_hugepages_are_needed_for() {
        let text = needs_of(&[SsdMemory { node: 1, ssds: 3, mib_per_core: 6 }], Style::Plain);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "- node 1: 6 MiB for each core of Luge (SSDs: 3)");
        assert_eq!(lines.len(), 3, "{text}");
    }

    #[test]
    fn a_table_without_rows_says_so() {
        assert_eq!(table(["SSD", "", "", "", "", "", ""], &[], Style::Plain), "SSD\n(none)");
    }
}
