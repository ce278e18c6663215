//! Instruction counts by callgrind, which hardly vary between runs and machines.
//!
//! A benchmark is a program that passes its [`Trace`]s to [`instructions`]. The program runs itself
//! under callgrind once per trace, where only code inside of [`counted`] is counted. A file beside the
//! benchmark has the kept counts. A run shows the changes against them; `-- --keep` keeps the new
//! counts, and `-- --check` fails if one has grown.

use std::env;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// Internal argument, under callgrind: the index of the trace to run.
const TRACE: &str = "--trace";

/// Argument that keeps the new counts.
const KEEP: &str = "--keep";

/// Argument that makes a run fail if a count has grown by more than [`GROWTH_MAX`].
const CHECK: &str = "--check";

/// Growth of a count that passes the check; compilers differ by less.
const GROWTH_MAX: f64 = 0.03;

/// A fixed piece of work whose instructions are counted.
pub struct Trace {
    /// Name in the file of counts, without a colon.
    pub name: &'static str,
    /// Does the work once and returns its number of requests; the count is per request.
    pub run: fn() -> u32,
}

/// Runs `work`, the code that is counted. Calls must not be nested.
#[inline(never)]
pub fn counted<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Counts the traces and prints the counts beside those in the file `kept`; the body of a
/// benchmark's `main`.
///
/// # Errors
/// If a file cannot be read or written, or a trace fails under callgrind. With `--check` also if a
/// count has grown, or valgrind is missing.
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
        // Writing to a string cannot fail.
        let _ = writeln!(now, "{name}: {count}");
    }
    if before.is_empty() || asked(KEEP) {
        fs::write(kept, now)?;
    }
    if asked(CHECK) && !grown.is_empty() {
        let grown = grown.join("; ");
        return Err(io::Error::other(format!(
            "more instructions than in {}: {grown}; reduce them, or keep the new counts (-- --keep) and give the reason",
            kept.display()
        )));
    }
    Ok(())
}

fn asked(option: &str) -> bool {
    env::args().any(|argument| argument == option)
}

/// Whether a count has grown by more than [`GROWTH_MAX`], or has no kept count.
fn has_grown(was: Option<&str>, now: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    match (was.and_then(number), number(now)) {
        (Some(was), Some(now)) => now > was * (1.0 + GROWTH_MAX),
        _ => true,
    }
}

/// Trace that the internal argument selects.
fn asked_for(traces: &[Trace]) -> Option<&Trace> {
    let mut arguments = env::args().skip_while(|argument| argument != TRACE).skip(1);
    traces.get(arguments.next()?.parse::<usize>().ok()?)
}

/// Instructions per request of a trace, to a tenth; none if valgrind is missing.
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

/// Total in a report of callgrind.
fn total_of(report: &str) -> Option<f64> {
    report.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

/// Kept count of a trace.
fn count_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.split_once(": ").filter(|(kept, _)| *kept == name))
        .map(|(_, count)| count)
}

/// Change of a count in percent; empty if there is none.
fn change(was: Option<&str>, now: &str) -> String {
    let [was, now] = [was.unwrap_or(now), now].map(|count| count.parse().unwrap_or(0.0));
    if was == now || was == 0.0 { String::new() } else { format!("{:+.1} %", (now / was - 1.0) * 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_where_a_count_has_moved_and_only_there() {
        assert_eq!(change(Some("380.0"), "361.0"), "-5.0 %");
        assert_eq!(change(Some("7.0"), "7.1"), "+1.4 %");
        assert_eq!(change(Some("7.0"), "7.0"), "");
        assert_eq!(change(None, "7.0"), "");
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
        assert_eq!(count_of(text, "submit"), Some("7.0"));
        assert_eq!(count_of(text, "poll"), None);
    }

    #[test]
    fn the_total_of_a_report_is_its_own_line() {
        assert_eq!(total_of("summary: 1\nfn=(1)\n3 4\n\ntotals: 1280\n"), Some(1280.0));
        assert_eq!(total_of("summary: 1\n"), None);
    }
}
