//! The load generator against servers that are right, wrong, silent and mortal.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use clap::Parser;
use luge_bench::{BenchError, Increments, Options, Report};
use rig::{BLK_SIZE, CONFIG, MQ, Manners, NEEDED, PROTOCOL_MQ, RO, Reply, Request, Server, right};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// Runs `line` against `server`.
fn run(server: &Server, line: &str) -> Result<Report, BenchError> {
    run_until(server, line, &AtomicBool::new(false))
}

fn run_until(server: &Server, line: &str, stop: &AtomicBool) -> Result<Report, BenchError> {
    let socket = server.socket().display().to_string();
    let words = ["bench", &socket].into_iter().chain(line.split_whitespace());
    luge_bench::run(&Line::parse_from(words).options, stop, &mut |_| ())
}

/// Error, as a sentence, of a run of `line` against a server.
fn sentence(
    manners: Manners,
    line: &str,
    answer: impl FnMut(&mut [u8], &Request) -> Reply + Send + 'static,
) -> String {
    run(&Server::start(manners, answer), line).unwrap_err().to_string()
}

#[test]
fn what_a_server_cannot_do_is_said_in_a_sentence() {
    let usual = Manners::default();
    for (manners, line, expected) in [
        (Manners { features: 1 << 30, ..usual }, "", "does not offer VIRTIO_F_VERSION_1"),
        (Manners { protocol: 0, ..usual }, "", "does not tell how large its disk is"),
        (Manners { features: NEEDED | RO, ..usual }, "--rw randrw", "the disk is read-only"),
        (Manners { sectors: 0, ..usual }, "--bs 512", "the disk has 0 sectors only"),
        (Manners { sectors: 7, ..usual }, "--bs 4k", "the disk has 7 sectors only"),
        (
            Manners { features: NEEDED | BLK_SIZE, block_bytes: 4096, ..usual },
            "--bs 512",
            "blocks of 4096 bytes",
        ),
        // One queue is all there is where several were not negotiated, on both levels.
        (Manners { queues: 4, ..usual }, "--queues 2", "--queues 2: the server has 1"),
        (Manners { queues: 4, features: NEEDED | MQ, ..usual }, "--queues 2", "the server has 1"),
        (Manners { queues: 4, protocol: CONFIG | PROTOCOL_MQ, ..usual }, "--queues 2", "the server has 1"),
        (
            Manners { queues: 4, features: NEEDED | MQ, protocol: CONFIG | PROTOCOL_MQ, ..usual },
            "--queues 5",
            "the server has 4",
        ),
        (Manners { sectors: 8, ..usual }, "--rw write --bs 512 --verify crc32c", "needs a disk of 32"),
    ] {
        let said = sentence(manners, line, right);
        assert!(said.contains(expected), "{line}: {said}");
    }
}

#[test]
fn a_server_that_is_right_and_simple_is_measured_and_its_data_checked() {
    let report = run(
        &Server::start(Manners::default(), right),
        "--rw randrw --bs 1k --iodepth 8 --runtime 0.1 --verify crc32c",
    );
    let report = report.unwrap();
    assert!(report.reads > 0 && report.writes > 0 && report.ios == report.reads + report.writes);
    assert!(report.verified.unwrap() > 0, "{report}");
    let counted: u64 = report.latency_ns.histogram.iter().map(|&(_, count)| count).sum();
    assert_eq!(counted, report.ios);
}

#[test]
fn nothing_is_written_that_is_not_measured() {
    let writes = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&writes);
    let server = Server::start(Manners::default(), move |disk, request| {
        seen.fetch_add(u64::from(request.writes), Relaxed);
        right(disk, request)
    });
    let report = run(&server, "--rw randwrite --bs 512 --iodepth 4 --runtime 0.05").unwrap();
    drop(server);
    assert_eq!(report.reads, 0);
    assert_eq!(report.writes, writes.load(Relaxed));
}

#[test]
fn data_that_a_server_damages_is_found_though_only_writes_were_asked_for() {
    for rw in ["write", "randwrite", "randrw"] {
        let line = format!("--rw {rw} --bs 4k --iodepth 2 --runtime 0.5 --verify crc32c");
        let small = Manners { sectors: 32, ..Manners::default() };
        let said = sentence(small, &line, |disk, request| {
            let reply = right(disk, request);
            disk[16 * 512 + 1000] = 0xee;
            reply
        });
        assert!(
            said.contains("request 2 of the disk, at byte 8192: byte 1000 of it is 0xee, not 0x"),
            "{rw}: {said}"
        );
    }
}

#[test]
fn a_write_that_a_server_loses_is_found() {
    let said = sentence(
        Manners::default(),
        "--rw write --bs 512 --iodepth 1 --runtime 0.1 --verify crc32c",
        |disk, request| match (request.writes, request.sector) {
            (true, 3) => Reply::Status(0),
            _ => right(disk, request),
        },
    );
    assert!(said.contains("request 3 of the disk, at byte 1536"), "{said}");
}

#[test]
fn a_run_that_only_reads_does_not_take_anything_for_data() {
    let line = "--rw read --bs 512 --iodepth 1 --runtime 0.1 --verify crc32c";
    let said = sentence(Manners::default(), line, right);
    assert!(
        said.contains("request 0 of the disk, at byte 0: it holds nothing that `--verify` wrote"),
        "{said}"
    );
}

#[test]
fn a_server_that_fails_requests_is_named_with_the_first_of_them_and_not_asked_for_long() {
    let start = Instant::now();
    let said = sentence(Manners::default(), "--bs 512 --iodepth 4 --runtime 3600", |disk, request| {
        if request.sector == 500 { Reply::Status(1) } else { right(disk, request) }
    });
    assert!(said.contains("the first, a read of sector 500, with status 1"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_server_that_does_not_keep_to_the_ring_is_found_out() {
    let usual = Manners::default();
    let wrong = |id| {
        move |disk: &mut [u8], request: &Request| {
            if request.number < 1000 { right(disk, request) } else { Reply::Used(id) }
        }
    };
    for id in [1, 12, 65535, u32::MAX] {
        let said = sentence(usual, "--iodepth 4 --runtime 3600", wrong(id));
        assert!(said.contains(&format!("used descriptor {id}, which was not in use")), "{said}");
    }
    let said = sentence(usual, "--iodepth 4 --runtime 3600", |disk, request| {
        if request.number < 1000 { right(disk, request) } else { Reply::NoStatus }
    });
    assert!(said.contains("with status 255"), "{said}");
}

#[test]
fn a_server_that_dies_ends_the_run_at_once() {
    for number in [0, 1000] {
        let start = Instant::now();
        let said = sentence(Manners::default(), "--iodepth 4 --runtime 3600", move |disk, request| {
            if request.number < number { right(disk, request) } else { Reply::HangUp }
        });
        assert!(said.contains("the server has closed the connection"), "{said}");
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn requests_that_are_never_answered_are_counted() {
    let said = sentence(Manners::default(), "--bs 512 --iodepth 4 --runtime 0.3", |disk, request| {
        if request.number == 5 { Reply::Never } else { right(disk, request) }
    });
    assert!(said.contains("1 requests were not answered within 10 s"), "{said}");
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let mute = Manners { is_mute: true, ..Manners::default() };
    assert!(sentence(mute, "", right).contains("no answer within 10 s"));
    let server = Server::start(mute, right);
    let said = run_until(&server, "", &AtomicBool::new(true)).unwrap_err().to_string();
    assert!(said.contains("not waited for any longer"), "{said}");
}

#[test]
fn a_run_that_is_stopped_reports_what_was_done_until_then() {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let server = Server::start(Manners::default(), move |disk, request| {
        // Long after the warm-up.
        asked.store(request.number > 0 && request.writes, Relaxed);
        right(disk, request)
    });
    let report = run_until(&server, "--rw write --iodepth 4 --runtime 3600", &stop).unwrap();
    assert!(report.ios > 0 && report.seconds < 60.0, "{report}");
}

#[test]
fn with_a_rate_a_server_that_stood_still_is_charged_for_all_that_it_kept_waiting() {
    let mut stood = false;
    let server = Server::start(Manners::default(), move |disk, request| {
        if request.writes && !stood {
            stood = true;
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(200) {}
        }
        right(disk, request)
    });
    let report = run(&server, "--rw write --bs 512 --iodepth 1 --runtime 0.4 --rate 1000").unwrap();
    // Half of all were due while it stood still, and all but the last of them waited for long.
    let long = report.latency_ns.histogram.iter().filter(|&&(ns, _)| ns > 1 << 24);
    let waited: u64 = long.map(|&(_, count)| count).sum();
    assert!(waited * 3 > report.ios, "{waited} of {report}");
}

const SCSI: Manners = Manners {
    features: NEEDED,
    protocol: PROTOCOL_MQ,
    queues: 3,
    sectors: 1024,
    block_bytes: 512,
    is_scsi: true,
    is_mute: false,
};

#[test]
fn a_lun_is_measured_and_its_data_checked() {
    for block_bytes in [512, 4096] {
        let server = Server::start(Manners { block_bytes, ..SCSI }, right);
        let line = "--target 3 --lun 300 --rw randrw --bs 4k --iodepth 8 --runtime 0.1 --verify crc32c";
        let report = run(&server, line).unwrap();
        assert!(report.reads > 0, "{report}");
        assert!(report.verified.unwrap() > 0, "{report}");
    }
}

#[test]
fn a_unit_attention_is_no_failure_and_its_request_is_sent_again() {
    let server =
        Server::start(
            SCSI,
            |disk, request| {
                if request.number % 10 == 3 { Reply::Sense(6) } else { right(disk, request) }
            },
        );
    let line = "--target 3 --lun 300 --rw randrw --bs 512 --iodepth 8 --runtime 0.1 --verify crc32c";
    assert!(run(&server, line).unwrap().verified.unwrap() > 0);
}

#[test]
fn what_a_lun_cannot_do_or_does_wrong_is_said_in_a_sentence() {
    for (manners, line, reply, expected) in [
        (SCSI, "--queues 2", None, "--queues 2: the server has 1"),
        (Manners { block_bytes: 4096, ..SCSI }, "--bs 512", None, "blocks of 4096 bytes, name a multiple"),
        (Manners { sectors: 7, ..SCSI }, "--bs 4k", None, "the LUN has 7 blocks only"),
        (Manners { block_bytes: 0x300, ..SCSI }, "", None, "the LUN has blocks of 768 bytes"),
        (SCSI, "--runtime 60", Some(0x18), "with status 0x18 and response 0"),
        (SCSI, "--runtime 60", Some(2), "with status 0x02 and response 0"),
    ] {
        let line = format!("--target 3 --lun 300 {line}");
        let said = sentence(manners, &line, move |disk, request| match reply {
            Some(2) => Reply::Sense(5),
            Some(status) => Reply::Status(status),
            None => right(disk, request),
        });
        assert!(said.contains(expected), "{line}: {said}");
    }
    let said = sentence(SCSI, "--target 3 --lun 300 --runtime 60", |_, _| Reply::Short);
    assert!(said.contains("less data than asked for"), "{said}");
    let said = sentence(SCSI, "--target 3 --lun 300 --runtime 60", |_, _| Reply::NoStatus);
    assert!(said.contains("with status 0xff and response 255"), "{said}");
}

/// Increments of the number on a server's LUN.
fn increment(server: &Server, times: u64) -> Result<Increments, BenchError> {
    let socket = server.socket().display().to_string();
    let words = ["bench", &socket, "--target", "3", "--lun", "300"];
    luge_bench::increment(&Line::parse_from(words).options, times)
}

#[test]
fn increments_are_counted_and_those_that_came_too_late() {
    let server = Server::start(SCSI, |disk, request| {
        // Another client increments the number, too.
        if request.compares && request.number % 10 == 5 {
            let number = u64::from_le_bytes(disk[..8].try_into().unwrap());
            disk[..512].copy_from_slice(&(number + 1).to_le_bytes().repeat(64));
        }
        right(disk, request)
    });
    let all = increment(&server, 1000).unwrap();
    assert_eq!(all.made, 1000);
    assert!(all.late > 0);
    assert_eq!(all.number, all.made + all.late);
}

#[test]
fn a_number_that_is_torn_is_found() {
    let server = Server::start(SCSI, |disk, request| {
        let reply = if request.number == 100 { Reply::Sense(0xe) } else { right(disk, request) };
        disk[256] = 7;
        reply
    });
    let said = increment(&server, 1000).unwrap_err().to_string();
    assert!(said.contains("is torn"), "{said}");
}
