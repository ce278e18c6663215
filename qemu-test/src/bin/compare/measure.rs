//! One measurement: a run of `luge bench` or `luge ideal`, and its result.

use crate::cpus::Cpus;
use crate::rows::Row;
use crate::stop::Stop;
use luge_qemu_test::{Bench, Deadline, Process, TestError};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Time limit of a run besides its load: for finding the server's CPU, and for draining.
const AROUND_SECONDS: f64 = 60.0;

/// Settings of all measurements.
pub(crate) struct Meter<'a> {
    pub(crate) bench: &'a Bench<'a>,
    pub(crate) stop: &'a Stop,
    /// Seconds of load.
    pub(crate) seconds: f64,
    pub(crate) cpus: Cpus,
}

/// LUN 0 of a target of a host bus adapter.
pub(crate) struct Lun {
    pub(crate) socket: PathBuf,
    pub(crate) target: u8,
}

/// Result of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) iops: f64,
    /// CPU time of the server per request.
    pub(crate) target_ns: f64,
    /// Round trip of a cache line; none if the server's CPU was too busy to measure it.
    pub(crate) round_trip_ns: Option<f64>,
    /// Interrupts per request; none for the ideal loop.
    pub(crate) interrupts: Option<f64>,
    /// Share of the time in which the generator had work; none for the ideal loop.
    pub(crate) generator_busy: Option<f64>,
    pub(crate) p50_ns: Option<f64>,
    pub(crate) p99_ns: Option<f64>,
    pub(crate) max_ns: Option<f64>,
    pub(crate) mean_ns: Option<f64>,
    pub(crate) p99_99_ns: Option<f64>,
}

impl Sample {
    /// Parses the JSON of `luge bench` or `luge ideal`; none if a number is missing.
    fn parse(report: &Value) -> Option<Self> {
        let number = |name: &str| report[name].as_f64();
        Some(Self {
            iops: number("iops")?,
            target_ns: number("target_ns_per_io")?,
            round_trip_ns: number("cache_line_round_trip_ns"),
            interrupts: number("interrupts_per_io"),
            generator_busy: number("generator_busy"),
            p50_ns: report["latency_ns"]["p50"].as_f64(),
            p99_ns: report["latency_ns"]["p99"].as_f64(),
            max_ns: report["latency_ns"]["max"].as_f64(),
            mean_ns: report["latency_ns"]["mean"].as_f64(),
            p99_99_ns: report["latency_ns"]["p99_99"].as_f64(),
        })
    }
}

impl Meter<'_> {
    /// Loads the disk at `socket`; `round` is the seed of the random blocks.
    ///
    /// # Errors
    /// If the load generator fails, or a signal arrived.
    pub(crate) fn load(&self, socket: &Path, row: &Row, round: u32) -> Result<Sample, TestError> {
        self.load_all(&[socket.to_owned()], row, round)
    }

    /// Loads several disks at once.
    ///
    /// # Errors
    /// As for [`Meter::load`].
    pub(crate) fn load_all(&self, disks: &[PathBuf], row: &Row, round: u32) -> Result<Sample, TestError> {
        let mut command = self.bench(row, round)?;
        command.args(disks);
        let first = disks.first().map(|disk| disk.display().to_string()).unwrap_or_default();
        self.run(&format!("luge bench {first} ({row})"), command)
    }

    /// Loads a LUN.
    ///
    /// # Errors
    /// As for [`Meter::load`].
    pub(crate) fn load_lun(&self, lun: &Lun, row: &Row, round: u32) -> Result<Sample, TestError> {
        let Lun { socket, target } = lun;
        let mut command = self.bench(row, round)?;
        command.arg(socket).args(["--target", &target.to_string()]);
        self.run(&format!("luge bench {} --target {target} ({row})", socket.display()), command)
    }

    /// Load generator for a row, without a disk.
    fn bench(&self, row: &Row, round: u32) -> Result<Command, TestError> {
        let mut command = self.luge("bench", row.depth)?;
        command.args(["--rw", row.direction.name()]);
        let numbers = [("--bs", row.bytes), ("--queues", row.queues.into()), ("--seed", round)];
        for (option, number) in numbers {
            command.args([option, &number.to_string()]);
        }
        Ok(command)
    }

    /// Runs the ideal loop.
    ///
    /// # Errors
    /// As for [`Meter::load`].
    pub(crate) fn ideal(&self, depth: u16) -> Result<Sample, TestError> {
        let mut command = self.luge("ideal", depth)?;
        command.args(["--device-cpu", &self.cpus.server.to_string()]);
        self.run("luge ideal", command)
    }

    fn luge(&self, verb: &str, depth: u16) -> Result<Command, TestError> {
        let mut command = Command::new(self.bench.lab().luge()?);
        command.args([verb, "--json", "--iodepth", &depth.to_string()]);
        command.args(["--runtime", &self.seconds.to_string(), "--cpu", &self.cpus.generator.to_string()]);
        Ok(command)
    }

    fn run(&self, who: &str, command: Command) -> Result<Sample, TestError> {
        // All runs, which may be hundreds, share one log, overwritten each time.
        let mut process = Process::start(who, command, &self.bench.path("run.log"))?;
        let deadline = Deadline::within(seconds(self.seconds + AROUND_SECONDS));
        let status = self.stop.wait(&mut process, deadline)?;
        process.output.wait_end(deadline)?;
        let said = process.output.text();
        if !status.success() {
            return Err(TestError::Program { program: who.to_owned(), status: status.to_string(), said });
        }
        let report = serde_json::from_str(&said).ok();
        let sample = report.as_ref().and_then(Sample::parse);
        sample.ok_or_else(|| TestError::Confused { who: who.to_owned(), said })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an hour at most, above zero")]
fn seconds(time: f64) -> u32 {
    time.ceil() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_without_a_number_is_no_sample() {
        let mut report = json!({ "iops": 2e6, "target_ns_per_io": 17.5, "cache_line_round_trip_ns": null,
            "interrupts_per_io": 0.25, "generator_busy": 0.5, "latency_ns": { "p50": 900, "p99": 1000, "max": 2000 } });
        let sample = Sample::parse(&report).unwrap();
        assert_eq!(sample.iops, 2e6);
        assert_eq!(sample.target_ns, 17.5);
        assert_eq!(sample.round_trip_ns, None);
        assert_eq!(sample.interrupts, Some(0.25));
        assert_eq!(sample.p50_ns, Some(900.0));
        assert_eq!(sample.p99_ns, Some(1000.0));
        assert_eq!(sample.max_ns, Some(2000.0));
        report["target_ns_per_io"] = Value::Null;
        assert_eq!(Sample::parse(&report), None);
    }

    #[test]
    fn a_part_of_a_second_is_waited_for_as_a_whole_one() {
        assert_eq!([0.1, 2.0, 60.5].map(seconds), [1, 2, 61]);
    }
}
