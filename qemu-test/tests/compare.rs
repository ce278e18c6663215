//! `cargo compare`, briefly: the report has every number, and no process or file remains. The numbers
//! themselves are not checked.

use luge_qemu_test::{Bench, Deadline, Lab, Process, TestError};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Time limit of a run: a few seconds of load, after servers were started and files made.
const RUN_SECONDS: u32 = 300;

/// Starts `cargo compare`, with all its temporary folders in one of `bench`.
fn compare(bench: &Bench<'_>, arguments: &str) -> Result<Process, TestError> {
    bench.lab().luge()?;
    let folder = bench.path("inside");
    fs::create_dir_all(&folder).map_err(|error| TestError::Host(error.to_string()))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare"));
    command.args(arguments.split(' ')).env("TMPDIR", &folder);
    Process::start("compare", command, &bench.log("compare"))
}

/// Files in the folders of `compare`, and processes that use them.
fn left_behind(bench: &Bench<'_>, compare: &Process) -> Vec<String> {
    let folder = bench.path("inside");
    let files = [folder.as_path(), Path::new("/dev/shm")].map(fs::read_dir);
    let files = files.into_iter().flatten().flatten().flatten();
    let files = files.map(|entry| entry.path().display().to_string());
    let own = [folder.display().to_string(), format!("luge-compare-{}-", compare.id())];
    let files = files.filter(|path| own.iter().any(|own| path.contains(own)));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    files.chain(lines.filter(|line| line.contains(&*folder.to_string_lossy()))).collect()
}

#[test]
fn every_row_has_its_numbers_and_nothing_stays_behind() -> Result<(), TestError> {
    let bench = Lab::shared().bench("cargo-compare")?;
    let mut compare = compare(&bench, "--quick --rounds 1 --seconds 0.05 --json")?;
    let (status, said) = (compare.wait(Deadline::within(RUN_SECONDS))?, compare.output.text());
    assert!(status.success(), "{status}:\n{said}");
    // Progress comes first, in lines that do not begin an object.
    let report = said.find("\n{").and_then(|at| serde_json::from_str::<Value>(&said[at..]).ok());
    let report = report.unwrap_or_else(|| panic!("no JSON:\n{said}"));
    let list = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let known = |value: &Value| value["median"].as_f64().is_some_and(|number| number > 0.0);
    assert_eq!(list("ideal").len(), 3, "{said}");
    assert_eq!(list("rows").len(), 5, "{said}");
    for ideal in list("ideal") {
        assert!(known(&ideal["result"]["iops"]) && known(&ideal["result"]["target_ns_per_io"]), "{ideal}");
    }
    for row in list("rows") {
        let of = |who: &str| known(&row[who]["iops"]) && known(&row[who]["target_ns_per_io"]);
        assert!(of("luge") && of("peer") && row["ratio"].as_f64() > Some(0.0), "{row}");
        assert!(row["peer"]["interrupts_per_io"]["median"].is_number(), "{row}");
    }
    assert_eq!(left_behind(&bench, &compare), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_victim_has_its_numbers_beside_nobody_and_each_neighbour() -> Result<(), TestError> {
    let bench = Lab::shared().bench("cargo-compare-neighbours")?;
    let mut compare = compare(&bench, "--neighbours --quick --rounds 1 --seconds 0.05 --json")?;
    let (status, said) = (compare.wait(Deadline::within(RUN_SECONDS))?, compare.output.text());
    assert!(status.success(), "{status}:\n{said}");
    let report = said.find("\n{").and_then(|at| serde_json::from_str::<Value>(&said[at..]).ok());
    let report = report.unwrap_or_else(|| panic!("no JSON:\n{said}"));
    let rows = report["rows"].as_array().cloned().unwrap_or_default();
    let beside: Vec<&str> = rows.iter().filter_map(|row| row["beside"].as_str()).collect();
    assert_eq!(beside, ["nobody", "an honest tenant", "100 honest tenants", "256 idle rings"]);
    assert!(rows.iter().all(|row| row["refusal"].is_null()), "{rows:?}");
    assert!(rows[2]["parts_of_equal"]["least"].as_f64() > Some(0.0), "{}", rows[2]);
    for (row, number) in rows.iter().flat_map(|row| {
        ["latency_p50_ns", "latency_p99_ns", "latency_max_ns", "iops", "share"].map(|number| (row, number))
    }) {
        assert!(row[number]["value"].as_f64() > Some(0.0), "{number} in {row}");
        assert!(row[number]["ratio"].as_f64() > Some(0.0), "{number} in {row}");
    }
    assert_eq!(left_behind(&bench, &compare), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_signal_ends_it_in_order_and_what_was_measured_is_shown() -> Result<(), TestError> {
    let bench = Lab::shared().bench("cargo-compare-signal")?;
    let mut compare = compare(&bench, "--quick --rounds 1 --seconds 600")?;
    compare.output.wait_for("ideal loop, depth 1", Deadline::within(RUN_SECONDS))?;
    assert_ne!(left_behind(&bench, &compare), Vec::<String>::new(), "it has started nothing");
    compare.terminate()?;
    let status = compare.wait(Deadline::within(60))?;
    assert_eq!(status.code(), Some(1), "{}", compare.output.tail());
    compare.output.wait_for("cargo compare: interrupted", Deadline::within(10))?;
    assert!(compare.output.has("processor"), "{}", compare.output.tail());
    assert_eq!(left_behind(&bench, &compare), Vec::<String>::new());
    Ok(())
}

#[test]
fn every_row_of_nvme_has_its_numbers() -> Result<(), TestError> {
    let bench = Lab::shared().bench("cargo-compare-nvme")?;
    let mut compare = compare(&bench, "--nvme --quick --rounds 1 --seconds 0.05 --json")?;
    let (status, said) = (compare.wait(Deadline::within(RUN_SECONDS))?, compare.output.text());
    assert!(status.success(), "{status}:\n{said}");
    let report = said.find("\n{").and_then(|at| serde_json::from_str::<Value>(&said[at..]).ok());
    let report = report.unwrap_or_else(|| panic!("no JSON:\n{said}"));
    let rows = report["rows"].as_array().cloned().unwrap_or_default();
    assert_eq!(rows.len(), 3, "{said}");
    for (row, number) in rows.iter().flat_map(|row| {
        ["iops", "target_ns_per_io", "latency_mean_ns", "latency_p99_99_ns"].map(|number| (row, number))
    }) {
        assert!(row["nvme"][number]["median"].as_f64() > Some(0.0), "{number} in {row}");
    }
    assert!(rows[0]["ratio"].as_f64() > Some(0.0), "a virtio disk of the same volume: {said}");
    assert_eq!(rows[1]["ratio"], Value::Null, "two controllers: {said}");
    assert_eq!(rows[2]["cores"], 2, "{said}");
    assert_eq!(left_behind(&bench, &compare), Vec::<String>::new());
    Ok(())
}

#[test]
fn every_row_of_scsi_has_its_numbers() -> Result<(), TestError> {
    let bench = Lab::shared().bench("cargo-compare-scsi")?;
    let picture = bench.path("lun.svg");
    let arguments = format!("--scsi --quick --rounds 1 --seconds 0.05 --json --svg {}", picture.display());
    let mut compare = compare(&bench, &arguments)?;
    let (status, said) = (compare.wait(Deadline::within(RUN_SECONDS))?, compare.output.text());
    assert!(status.success(), "{status}:\n{said}");
    let report = said.find("\n{").and_then(|at| serde_json::from_str::<Value>(&said[at..]).ok());
    let report = report.unwrap_or_else(|| panic!("no JSON:\n{said}"));
    let rows = report["rows"].as_array().cloned().unwrap_or_default();
    assert_eq!(rows.len(), 5, "{said}");
    for row in &rows {
        for (who, number) in ["scsi", "virtio", "peer"]
            .into_iter()
            .flat_map(|who| ["iops", "target_ns_per_io"].map(|number| (who, number)))
        {
            assert!(row[who][number]["median"].as_f64() > Some(0.0), "{who} {number} in {row}");
        }
        assert!(row["ratio"].as_f64() > Some(0.0), "{row}");
        assert!(row["ratio_to_peer"].as_f64() > Some(0.0), "{row}");
    }
    let picture = fs::read_to_string(picture).map_err(|error| TestError::Host(error.to_string()))?;
    assert_eq!(picture.matches("class=\"bar").count(), 15, "three bars of each row: {picture}");
    assert_eq!(left_behind(&bench, &compare), Vec::<String>::new());
    Ok(())
}
