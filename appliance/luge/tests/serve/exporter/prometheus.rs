//! The dashboard, with a Prometheus that scrapes the exporter.

use super::fake_sled::FakeSled;
use super::rig::{Exporter, get};
use crate::daemon::{command, eventually};
use luge_image::{Cache, Progress, prometheus};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

/// Values of the dashboard's variables.
const VARIABLES: [(&str, &str); 3] = [("$instance", ".*"), ("$volume", ".*"), ("$__rate_interval", "30s")];

/// A Prometheus, ended with the test.
struct Prometheus {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn scraping(exporter: &Exporter) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("prometheus.yml");
        let target = &exporter.address;
        let text = format!(
            "global: {{ scrape_interval: 500ms, scrape_timeout: 500ms }}\n\
             scrape_configs: [{{ job_name: luge, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n"
        );
        fs::write(&configuration, text).unwrap();
        let program = prometheus(&Cache::open().unwrap(), &Progress::to_stderr());
        let program = program.unwrap_or_else(|error| panic!("{error}"));
        let mut started = command(program.to_str().unwrap());
        started.arg(format!("--config.file={}", configuration.display()));
        started.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        started.arg("--web.listen-address=127.0.0.1:0");
        let mut child = started.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = log.find(|line| line.contains("\"Listening on\"")).expect("it does not listen");
        // Nobody else reads what follows.
        std::thread::spawn(move || log.for_each(drop));
        let address = line.split("address=").nth(1).unwrap().trim().to_owned();
        Self { child, address, _folder: folder }
    }

    /// Values of the series that a query has now; none while Prometheus starts.
    fn values(&self, query: &str) -> Vec<f64> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let Ok(answer) = get(&self.address, &format!("/api/v1/query?query={encoded}")) else {
            return Vec::new();
        };
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let series = answer["data"]["result"].as_array().unwrap();
        series.iter().map(|one| one["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Whether a query has series with numbers now.
    fn has_series(&self, query: &str) -> bool {
        let values = self.values(query);
        !values.is_empty() && values.iter().all(|value| value.is_finite())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Queries of the dashboard's panels and variables, each with what asks.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let with_values = |query: String| {
        VARIABLES.into_iter().fold(query, |query, (variable, value)| query.replace(variable, value))
    };
    let panels = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().unwrap();
        targets.iter().map(|target| (text(&panel["title"]), text(&target["expr"])))
    });
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let variables = variables.filter(|variable| variable["type"] == "query").map(|variable| {
        let query = text(&variable["query"]["query"]);
        let (metric, label) = query.strip_prefix("label_values(").unwrap().rsplit_once(", ").unwrap();
        (text(&variable["name"]), format!("count by ({label} ({metric})"))
    });
    panels.chain(variables).map(|(asking, query)| (asking, with_values(query))).collect()
}

#[test]
fn every_query_of_the_dashboard_has_series() {
    let sled = FakeSled::start();
    let exporter = Exporter::of(&sled.socket());
    let prometheus = Prometheus::scraping(&exporter);
    let dashboard: Value = serde_json::from_str(&exporter.get("/grafana.json")).unwrap();
    eventually("a scrape that Prometheus accepts", || prometheus.has_series("up == 1"));
    let queries = queries(&dashboard);
    assert!(queries.len() > 20, "{queries:?}");
    for (asking, query) in queries {
        eventually(&format!("series of {asking}: {query}"), || prometheus.has_series(&query));
    }
}
