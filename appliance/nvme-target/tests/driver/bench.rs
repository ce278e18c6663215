//! The load generator as a host of the target.

use super::world::Target;
use clap::Parser;
use luge_bench::{BenchError, Options, Report};
use std::sync::atomic::AtomicBool;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn bench(targets: &[Target], line: &str) -> Result<Report, BenchError> {
    let paths = targets.iter().map(|target| target.path().to_str().unwrap().to_owned());
    let words = ["bench".to_owned()].into_iter().chain(paths).chain(line.split(' ').map(String::from));
    // The load generator pins its thread.
    let options = Line::parse_from(words).options;
    let run = std::thread::spawn(move || luge_bench::run(&options, &AtomicBool::new(false), &mut |_| ()));
    run.join().unwrap()
}

#[test]
fn what_it_writes_it_reads_back_by_every_queue_of_every_target() {
    let targets = [Target::new(), Target::new()];
    let line = "--rw randrw --bs 8k --iodepth 8 --queues 2 --runtime 0.2 --verify crc32c";
    let report = bench(&targets, line).unwrap();
    assert!(report.reads > 0, "{report}");
    assert!(report.writes > 0, "{report}");
    assert!(report.verified.unwrap() > 0, "{report}");
    assert_eq!(report.kicks_per_io, 0.0);
    assert_eq!(report.interrupts_per_io, 0.0);
}

#[test]
fn what_a_target_does_not_have_is_refused_in_a_sentence() {
    let targets = [Target::new()];
    for (line, sentence) in [
        ("--queues 5", "the controller has 4"),
        ("--nsid 3", "are 1, 2"),
        ("--bs 2m", "at once, name no more"),
        ("--reconnect", "leave it out"),
    ] {
        let said = bench(&targets, line).unwrap_err().to_string();
        assert!(said.contains(sentence), "{line}: {said}");
    }
}
