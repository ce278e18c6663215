//! Counts the instructions of traces by callgrind: a count does not wobble with the machine's mood.
//!
//! A benchmark is a program that names its [`Trace`]s and gives them to [`instructions`]. The program runs
//! itself under callgrind once for each trace; there only what a trace does inside of [`counted`]
//! is counted. The counts of the tree are kept in a file beside the benchmark. A run shows what has
//! changed since; `-- --keep` keeps the new ones, and `-- --check` fails where one has grown.

use std::env;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// Our own argument: under callgrind, run this trace.
const TRACE: &str = "--trace";

/// The argument that keeps the new counts.
const KEEP: &str = "--keep";

/// The argument that lets a run fail where a count has grown by more than [`GROWTH_MAX`].
const CHECK: &str = "--check";

/// The most by which a count may grow unnoticed: a compiler's whim.
const GROWTH_MAX: f64 = 0.03;

/// Something fixed that is counted.
pub struct Trace {
    /// What the file of counts calls it: without a colon.
    pub name: &'static str,
    /// Does it once, and returns how many requests that was: the count is for one of them.
    pub run: fn() -> u32,
}

/// What is counted, and nothing else is. Not to be nested.
#[inline(never)]
pub fn counted<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// The `main` of a benchmark of instructions: counts the traces, and prints them beside the counts in the file `kept`.
///
/// # Errors
/// Of files, of a trace that failed under callgrind, and with `--check` of counts that have grown, or of a
/// machine without valgrind.
pub fn instructions(title: &str, kept: &Path, traces: &[Trace]) -> io::Result<()> {
    if let Some(trace) = asked_for(traces) {
        println!("{}", (trace.run)());
        return Ok(());
    }
    let before = fs::read_to_string(kept).unwrap_or_default();
    let (mut now, mut grown) = (String::new(), Vec::new());
    println!("{title:<54}{:>8}{:>8}{:>9}", "before", "now", "change");
    for (index, Trace { name, .. }) in traces.iter().enumerate() {
        let Some(count) = count(index)? else {
            println!("valgrind is missing: apt-get install valgrind");
            return if asked(CHECK) { Err(io::Error::other("nothing was counted")) } else { Ok(()) };
        };
        let was = count_of(&before, name);
        println!("{name:<54}{:>8}{count:>8}{:>9}", was.unwrap_or("-"), change(was, &count));
        if has_grown(was, &count) {
            grown.push(*name);
        }
        // Writing to a string does not fail.
        let _ = writeln!(now, "{name}: {count}");
    }
    if before.is_empty() || asked(KEEP) {
        fs::write(kept, now)?;
    }
    if asked(CHECK) && !grown.is_empty() {
        let grown = grown.join("; ");
        return Err(io::Error::other(format!(
            "more instructions than {} has: {grown}; save some, or keep the new counts (-- --keep) and say why",
            kept.display()
        )));
    }
    Ok(())
}

fn asked(option: &str) -> bool {
    env::args().any(|argument| argument == option)
}

/// Whether a count has grown by more than [`GROWTH_MAX`], or is one that the tree does not have.
fn has_grown(was: Option<&str>, now: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    match (was.and_then(number), number(now)) {
        (Some(was), Some(now)) => now > was * (1.0 + GROWTH_MAX),
        _ => true,
    }
}

/// The trace that our own argument names.
fn asked_for(traces: &[Trace]) -> Option<&Trace> {
    let mut arguments = env::args().skip_while(|argument| argument != TRACE).skip(1);
    traces.get(arguments.next()?.parse::<usize>().ok()?)
}

/// The instructions of one request of a trace, to a tenth; none where there is no callgrind.
fn count(index: usize) -> io::Result<Option<String>> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", "--collect-atstart=no"]);
    valgrind.arg("--toggle-collect=luge_measure::callgrind::counted*");
    valgrind.arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(env::current_exe()?).args([TRACE, &index.to_string()]);
    let output = match valgrind.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
    let failed = || io::Error::other(format!("{valgrind:?}: {}", String::from_utf8_lossy(&output.stderr)));
    let requests: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().map_err(|_| failed())?;
    let total = total_of(&fs::read_to_string(out)?).ok_or_else(failed)?;
    Ok(Some(format!("{:.1}", total / requests)))
}

/// The instructions that a report of callgrind sums up.
fn total_of(report: &str) -> Option<f64> {
    report.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

/// The count that a file of counts has for a trace.
fn count_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.split_once(": ").filter(|(kept, _)| *kept == name))
        .map(|(_, count)| count)
}

/// By how much a count has moved, in percent; nothing where it has not.
fn change(was: Option<&str>, now: &str) -> String {
    let [was, now] = [was.unwrap_or(now), now].map(|count| count.parse().unwrap_or(0.0));
    if was == now || was == 0.0 { String::new() } else { format!("{:+.1} %", (now / was - 1.0) * 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_where_a_count_has_moved_and_only_there() {
        assert_eq!(
            (change(Some("380.0"), "361.0"), change(Some("7.0"), "7.1")),
            ("-5.0 %".into(), "+1.4 %".into())
        );
        assert_eq!((change(Some("7.0"), "7.0"), change(None, "7.0")), (String::new(), String::new()));
    }

    #[test]
    fn a_count_has_grown_beyond_three_percent_or_where_there_was_none() {
        for (was, now, grown) in [
            (Some("100.0"), "103.0", false),
            (Some("100.0"), "103.1", true),
            (Some("100.0"), "50.0", false),
            (None, "1.0", true),
            (Some("no number"), "1.0", true),
        ] {
            assert_eq!(has_grown(was, now), grown, "{was:?} {now}");
        }
    }

    #[test]
    fn a_kept_count_is_found_by_the_whole_name_of_its_trace() {
        let text = "submit two: 12.5\nsubmit: 7.0\n";
        assert_eq!((count_of(text, "submit"), count_of(text, "poll")), (Some("7.0"), None));
    }

    #[test]
    fn the_total_of_a_report_is_its_own_line() {
        assert_eq!(total_of("summary: 1\nfn=(1)\n3 4\n\ntotals: 1280\n"), Some(1280.0));
        assert_eq!(total_of("summary: 1\n"), None);
    }
}
