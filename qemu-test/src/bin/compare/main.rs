//! `cargo compare`: measures Luge and a peer in one run, under the same load.
//!
//! 1. Build luge and prepare QEMU.
//! 2. Start both servers on one CPU, each with a null, a memory and a file disk.
//! 3. Measure the limit that the memory between the two CPUs sets: the ideal loop.
//! 4. For each row, load the servers in turns.
//! 5. Print medians, spreads and ratios. No number makes the command fail.
//!
//! All processes end with the command, also when it is interrupted; then it prints the results so far.
//!
//! With `--neighbours` it measures something else: a disk of Luge that shares its core with others; with `--nvme` Luge's
//! NVMe controllers, and with `--scsi` its LUNs.
//!
//! Not here: the load generator (`luge bench`) and the ideal loop (`luge ideal`).

mod cpus;
mod files;
mod machine;
mod measure;
mod neighbours;
mod nvme;
mod peer;
mod picture;
mod report;
mod rows;
mod scsi;
mod servers;
mod stats;
mod stop;
mod table;

use clap::Parser;
use cpus::Cpus;
use files::Sizes;
use luge_image::Progress;
use luge_qemu_test::{Lab, TestError};
use machine::Machine;
use measure::Meter;
use neighbours::Extent;
use report::{Compared, Form, Ideal, Report};
use rows::{Row, Selection};
use serde_json::Value;
use servers::Servers;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};
use stop::Stop;

/// Requests in flight of the ideal loop.
const IDEAL_DEPTHS: [u16; 3] = [1, 16, 128];

/// Measures Luge beside qemu-storage-daemon, under the same load, and prints a table.
#[derive(Parser)]
#[command(name = "cargo compare", version)]
struct Arguments {
    /// Measurements of each row
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds of load in each measurement
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Measure a few rows on small disks only
    #[arg(long)]
    quick: bool,
    /// Measure all combinations of device, size, direction, queues and depth
    #[arg(long, conflicts_with = "quick")]
    all: bool,
    /// Measure a disk of Luge beside honest and hostile neighbours on its core instead
    #[arg(long, conflicts_with = "all")]
    neighbours: bool,
    /// Measure Luge's NVMe controllers beside the virtio disk of the same volume instead
    #[arg(long, conflicts_with_all = ["all", "neighbours"])]
    nvme: bool,
    /// Measure Luge's SCSI LUNs beside the virtio disks of the same volumes, and of the peer
    #[arg(long, conflicts_with_all = ["neighbours", "nvme"])]
    scsi: bool,
    /// Print Markdown
    #[arg(long)]
    markdown: bool,
    /// Print JSON, with more numbers than the table has
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Draw the results, too, into this file (SVG)
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Measure nothing; draw a report that was saved with --json, into the file of --svg
    #[arg(long, value_name = "REPORT", requires = "svg")]
    draw: Option<PathBuf>,
}

impl Arguments {
    const fn selection(&self) -> Selection {
        match (self.quick, self.all) {
            (true, _) => Selection::Quick,
            (false, true) => Selection::All,
            (false, false) => Selection::Default,
        }
    }

    /// Prints a report and draws it, if that was asked for. A run that failed has the rows so far.
    fn show(&self, text: &str, json: impl FnOnce() -> Value) -> Result<(), TestError> {
        print!("{text}");
        self.save_picture(|| picture::draw(&json()))
    }

    fn save_picture(&self, draw: impl FnOnce() -> Result<String, TestError>) -> Result<(), TestError> {
        let Some(file) = &self.svg else { return Ok(()) };
        fs::write(file, draw()?).map_err(|error| named(file, &error))
    }

    const fn form(&self) -> Form {
        match (self.markdown, self.json) {
            (true, _) => Form::Markdown,
            (false, true) => Form::Json,
            (false, false) => Form::Text,
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let wanted = text.parse().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
    wanted.ok_or_else(|| format!("{text} is not from 0.01 to 3600 seconds"))
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), TestError> {
    if let Some(report) = &arguments.draw {
        return draw_again(arguments, report);
    }
    let progress = Progress::to_stderr();
    let lab = Lab::open(progress.clone())?;
    lab.luge()?;
    let _turn = lab.turn()?;
    let (cpus, stop) = (Cpus::choose()?, Stop::watch()?);
    let bench = lab.bench("compare")?;
    let meter = Meter { bench: &bench, stop: &stop, seconds: arguments.seconds, cpus };
    if arguments.neighbours {
        beside_neighbours(arguments, meter, progress)
    } else if arguments.nvme {
        of_nvme(arguments, meter, progress)
    } else if arguments.scsi {
        of_scsi(arguments, meter, progress)
    } else {
        with_peer(arguments, meter, progress)
    }
}

/// Draws a saved report.
fn draw_again(arguments: &Arguments, report: &Path) -> Result<(), TestError> {
    let text = fs::read_to_string(report).map_err(|error| named(report, &error))?;
    arguments.save_picture(|| picture::draw_text(&text))
}

fn named(file: &Path, error: &io::Error) -> TestError {
    TestError::Host(format!("{}: {error}", file.display()))
}

/// Measures a victim beside its neighbours.
fn beside_neighbours(arguments: &Arguments, meter: Meter<'_>, progress: Progress) -> Result<(), TestError> {
    let rounds = arguments.rounds;
    let ours = [
        ("CPUs", neighbours::cpus_in_words(meter.cpus)),
        ("rounds", format!("{rounds} of {} s each", meter.seconds)),
        ("load before", machine::load()),
    ];
    let facts = machine::host_facts().into_iter().chain(ours).collect();
    let mut report = neighbours::Report { facts, rows: Vec::new() };
    let extent = if arguments.quick { Extent::Quick } else { Extent::All };
    let outcome = neighbours::Measuring { meter, progress, rounds }.fill(&mut report, extent);
    let shown = arguments.show(&report.write(arguments.form()), || report.to_json());
    outcome.and(shown)
}

/// Measures NVMe controllers.
fn of_nvme(arguments: &Arguments, meter: Meter<'_>, progress: Progress) -> Result<(), TestError> {
    let (rounds, load) = (arguments.rounds, machine::load());
    let sizes = if arguments.quick { Sizes::SMALL } else { Sizes::that_fit() };
    let ours = [
        ("CPUs", nvme::cpus_in_words(meter.cpus)),
        ("rounds", format!("{rounds} of {} s each", meter.seconds)),
        ("memory device", format!("{} MiB", sizes.memory_mib)),
        ("load before", load),
    ];
    let facts = machine::host_facts().into_iter().chain(ours).collect();
    let mut report = nvme::Report { facts, ideal: Vec::new(), rows: Vec::new() };
    let memory_mib = sizes.memory_mib;
    let extent = if arguments.quick { nvme::Extent::Quick } else { nvme::Extent::All };
    let outcome =
        nvme::Measuring { meter, memory_mib, progress, rounds }.fill(&mut report, &IDEAL_DEPTHS, extent);
    let shown = arguments.show(&report.write(arguments.form()), || report.to_json());
    outcome.and(shown)
}

/// Measures Luge and its peer.
fn with_peer(arguments: &Arguments, meter: Meter<'_>, progress: Progress) -> Result<(), TestError> {
    let (servers, machine) = start_both(arguments, &meter)?;
    let mut report = Report { machine, ideal: Vec::new(), rows: Vec::new() };
    let measuring = Measuring { meter, servers, progress, rounds: arguments.rounds };
    let outcome = measuring.fill(&mut report, arguments.selection());
    let shown = arguments.show(&report.write(arguments.form()), || report.to_json());
    outcome.and(shown)
}

/// Measures LUNs.
fn of_scsi(arguments: &Arguments, meter: Meter<'_>, progress: Progress) -> Result<(), TestError> {
    let (mut servers, machine) = start_both(arguments, &meter)?;
    servers.add_hba()?;
    let mut report = scsi::Report { machine, ideal: Vec::new(), rows: Vec::new() };
    let measuring = scsi::Measuring { meter, servers, progress, rounds: arguments.rounds };
    let outcome = measuring.fill(&mut report, &IDEAL_DEPTHS, arguments.selection());
    let shown = arguments.show(&report.write(arguments.form()), || report.to_json());
    outcome.and(shown)
}

/// Starts Luge and its peer; describes the machine before.
fn start_both(arguments: &Arguments, meter: &Meter<'_>) -> Result<(Servers, Machine), TestError> {
    let (bench, cpus, load) = (meter.bench, meter.cpus, machine::load());
    let sizes = if arguments.quick { Sizes::SMALL } else { Sizes::that_fit() };
    let servers = Servers::start(bench, sizes, cpus.server)?;
    let (rounds, seconds) = (arguments.rounds, arguments.seconds);
    let (files_in_memory, peer) = (servers.files_in_memory(), peer::version(bench)?);
    Ok((servers, Machine { cpus, sizes, files_in_memory, peer, rounds, seconds, load }))
}

/// All measurements of one run.
struct Measuring<'a> {
    meter: Meter<'a>,
    servers: Servers,
    progress: Progress,
    rounds: u32,
}

impl Measuring<'_> {
    /// Measures the selected rows. A row that cannot be measured is reported and left out. A signal ends
    /// the measurements, and the report has the rows so far.
    fn fill(&self, report: &mut Report, selection: Selection) -> Result<(), TestError> {
        for depth in IDEAL_DEPTHS {
            report.ideal.push(self.ideal(depth)?);
        }
        let rows = selection.rows();
        for (done, row) in rows.iter().enumerate() {
            match self.compare(*row, &format!("{}/{} {row}", done + 1, rows.len())) {
                Ok(compared) => report.rows.push(compared),
                Err(error) if self.meter.stop.was_asked() => return Err(error),
                Err(error) => self.progress.say(&error.to_string()),
            }
        }
        match rows.len() - report.rows.len() {
            0 => Ok(()),
            lost => Err(TestError::Host(format!("{lost} of {} rows could not be measured", rows.len()))),
        }
    }

    fn ideal(&self, depth: u16) -> Result<Ideal, TestError> {
        let _step = self.progress.step(&format!("ideal loop, depth {depth}"));
        let samples = (0..self.rounds).map(|_| self.meter.ideal(depth)).collect::<Result<_, _>>()?;
        Ok(Ideal { depth, samples })
    }

    /// Measures both servers in turns, so that changes of the machine affect both.
    fn compare(&self, row: Row, what: &str) -> Result<Compared, TestError> {
        let step = self.progress.step(what);
        let (luge, peer) = (self.servers.luge(row.device), self.servers.peer(row.device));
        let mut compared = Compared { row, luge: Vec::new(), peer: Vec::new() };
        for round in 1..=self.rounds {
            step.note(&format!("round {round} of {}", self.rounds));
            compared.luge.push(self.meter.load(&luge, &row, round)?);
            compared.peer.push(self.meter.load(&peer, &row, round)?);
        }
        Ok(compared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed_and_refuses_invalid_values() {
        Arguments::command().debug_assert();
        for wrong in [
            "--rounds 0",
            "--seconds 0",
            "--seconds nan",
            "--quick --all",
            "--neighbours --all",
            "--nvme --all",
            "--nvme --neighbours",
            "--scsi --nvme",
            "--json --markdown",
            "--draw report.json",
        ] {
            let words = ["compare"].into_iter().chain(wrong.split(' '));
            assert!(Arguments::try_parse_from(words).is_err(), "{wrong}");
        }
    }
}
