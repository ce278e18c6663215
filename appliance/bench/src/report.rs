//! The report of a run, for people and as JSON.

use crate::load::Measured;
use crate::options::Options;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Options of the run.
    pub options: Options,
    /// Requests.
    pub ios: u64,
    /// Of them, reads.
    pub reads: u64,
    /// Of them, writes.
    pub writes: u64,
    /// Seconds measured.
    pub seconds: f64,
    /// Requests a second.
    pub iops: f64,
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// Latency in nanoseconds.
    pub latency_ns: Latency,
    /// Share of the time in which the generator had something to do: near 1, it is the limit.
    pub generator_busy: f64,
    /// CPU time of the generator for each request, while it had something to do.
    pub generator_ns_per_io: f64,
    /// CPU time of all the server's threads for each request; none where they are not visible.
    pub target_ns_per_io: Option<f64>,
    /// There and back between the generator's and the server's CPU; none where not measured.
    pub cache_line_round_trip_ns: Option<f64>,
    /// Reads whose data was checked and found right; none without `--verify`.
    pub verified: Option<u64>,
    /// Times that the server has gone and come back.
    pub reconnects: u64,
    /// Kicks for each request.
    pub kicks_per_io: f64,
    /// Interrupts for each request.
    pub interrupts_per_io: f64,
}

/// Latencies in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    pub mean: f64,
    pub min: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub p99_99: u64,
    pub max: u64,
    /// Upper bounds by powers of two, each with the number of latencies from the bound before to this one.
    pub histogram: Vec<(u64, u64)>,
}

impl Latency {
    fn of(all: &Histogram<u64>) -> Self {
        let at = |quantile| all.value_at_quantile(quantile);
        let steps =
            all.iter_log(1, 2.0).map(|step| (step.value_iterated_to(), step.count_since_last_iteration()));
        Self {
            mean: all.mean(),
            min: all.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: all.max(),
            histogram: steps.filter(|&(_, count)| count > 0).collect(),
        }
    }
}

impl Report {
    /// As one JSON object, with the field names above.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers, strings and structures of them: it cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    pub(crate) fn new(options: &Options, measured: Measured, distance: Option<f64>) -> Self {
        let ios = measured.reads + measured.writes;
        let (count, seconds) = (ios.max(1) as f64, measured.elapsed.as_secs_f64());
        Self {
            options: options.clone(),
            ios,
            reads: measured.reads,
            writes: measured.writes,
            seconds,
            iops: ios as f64 / seconds,
            bytes_per_second: ios as f64 * f64::from(options.bs) / seconds,
            latency_ns: Latency::of(&measured.latency_ns),
            generator_busy: measured.busy,
            generator_ns_per_io: measured.worked.as_secs_f64() * 1e9 / count,
            target_ns_per_io: measured.server.map(|time| time.as_secs_f64() * 1e9 / count),
            cache_line_round_trip_ns: distance,
            verified: measured.verified,
            reconnects: measured.reconnects,
            kicks_per_io: measured.kicks as f64 / count,
            interrupts_per_io: measured.interrupts as f64 / count,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |value: Option<f64>| value.map_or("unknown".into(), |ns| format!("{ns:.1} ns"));
        let latency = &self.latency_ns;
        writeln!(
            f,
            "requests            {} in {:.2} s ({} reads, {} writes)",
            self.ios, self.seconds, self.reads, self.writes
        )?;
        let asked = self.options.rate.map_or(String::new(), |rate| format!(" of {rate} asked for"));
        writeln!(f, "IOPS                {:.0}{asked}", self.iops)?;
        writeln!(f, "bandwidth           {:.1} MiB/s", self.bytes_per_second / f64::from(1 << 20))?;
        writeln!(f, "latency mean        {:.0} ns (min {}, max {})", latency.mean, latency.min, latency.max)?;
        writeln!(
            f,
            "latency percentiles 50: {}  90: {}  99: {}  99.9: {}  99.99: {} ns",
            latency.p50, latency.p90, latency.p99, latency.p99_9, latency.p99_99
        )?;
        writeln!(f, "target CPU per I/O  {}", known(self.target_ns_per_io))?;
        writeln!(
            f,
            "generator           {:.0} % busy, {:.1} ns per I/O",
            self.generator_busy * 100.0,
            self.generator_ns_per_io
        )?;
        writeln!(f, "cache line          {} there and back", known(self.cache_line_round_trip_ns))?;
        if let Some(reads) = self.verified {
            writeln!(f, "verified            {reads} reads")?;
        }
        if self.options.reconnect {
            writeln!(f, "reconnects          {}", self.reconnects)?;
        }
        write!(
            f,
            "per I/O             {:.4} kicks, {:.4} interrupts",
            self.kicks_per_io, self.interrupts_per_io
        )
    }
}
