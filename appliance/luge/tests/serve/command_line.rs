//! Command lines, their output, and the exit codes.

use crate::daemon::{Daemon, eventually, failure, luge};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::PipeWriter;
use std::os::unix::net::UnixStream;

#[test]
fn help_and_version_are_there() {
    let say = |args: &[&str]| String::from_utf8(luge(args).stdout).unwrap();
    assert_eq!(say(&["--version"]), concat!("luge ", env!("CARGO_PKG_VERSION"), "\n"));
    for letter in ["-S", "-m", "-r", "-s", "-c", "--wait-for-rpc", "--no-huge"] {
        assert!(say(&["serve", "--help"]).contains(letter), "{letter}");
    }
    assert!(say(&["--help"]).contains("serve") && say(&["rpc", "--help"]).contains("rpc_get_methods"));
    assert_eq!(luge(&[]).status.code(), Some(2));
}

#[test]
fn cpus_that_are_not_there_are_refused_with_those_that_are() {
    for mask in ["0xffffffffffffffffffffffff00000000", "[500]"] {
        let said = failure(&["serve", "--no-huge", "-m", mask]);
        assert!(said.contains("cannot be used: this process has 0"), "{said}");
    }
    for mask in ["0x0", "", "all", "[3-1]", "-1"] {
        assert!(failure(&["serve", "--no-huge", "-m", mask]).contains("CPU"), "{mask}");
    }
}

#[test]
fn memory_that_is_not_there_is_refused_with_the_remedy() {
    let said = failure(&["serve", "-s", "1000000000"]);
    assert!(said.contains("nr_hugepages") && said.contains("--no-huge"), "{said}");
    assert!(failure(&["serve", "--no-huge", "-s", "1000000000"]).contains("-s"));
    assert_eq!(luge(&["serve", "-s", "0"]).status.code(), Some(2));
}

#[test]
fn a_folder_that_is_not_there_is_refused() {
    for folder in ["/nowhere/at/all", "/proc/self/exe"] {
        let said = failure(&["serve", "--no-huge", "-S", folder]);
        assert!(said.contains(folder) && said.contains("-S"), "{said}");
    }
    let said = failure(&["serve", "--no-huge", "-S", "/tmp", "-r", "/nowhere/at/all"]);
    assert!(said.contains("/nowhere/at/all") && said.contains("(-r)"), "{said}");
}

#[test]
fn folders_and_users_that_vms_cannot_have_are_refused() {
    for option in ["--vm-files", "--vm-cgroup"] {
        for folder in ["/nowhere/at/all", "/proc/self/exe", "/"] {
            let said = failure(&["serve", "--no-huge", option, folder]);
            assert!(said.contains(&format!("{folder} cannot be used for VMs")), "{said}");
            assert!(said.contains(option), "{said}");
        }
    }
    for first_user in ["0", "4294967295", "root"] {
        assert_eq!(luge(&["serve", "--vm-users", first_user]).status.code(), Some(2), "{first_user}");
    }
}

#[test]
fn a_socket_in_use_is_refused_and_its_owner_goes_on() {
    let first = Daemon::start();
    let (folder, socket) = (first.path(""), first.path("rpc.sock"));
    let said = failure(&["serve", "--no-huge", "-S", &folder, "-r", &socket]);
    assert!(said.contains(&socket) && said.contains("in use"), "{said}");
    assert_eq!(first.call("framework_wait_init", Value::Null), true);
}

#[test]
fn the_sockets_of_a_process_that_was_killed_are_taken_over() {
    let mut first = Daemon::start();
    first.call("bdev_null_create", json!({"name": "n", "num_blocks": 8, "block_size": 512}));
    first.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "n"}));
    let config = first.call("save_config", Value::Null);
    first.signal(Signal::KILL);
    assert_eq!(first.exit_code(), None);
    assert!(first.socket().exists() && UnixStream::connect(first.socket()).is_err());
    let folder = std::mem::replace(&mut first.folder, tempfile::tempdir().unwrap());
    let second = Daemon::within(folder, &[]);
    assert_eq!(second.call("load_config", config), true);
    assert!(UnixStream::connect(second.path("v")).is_ok());
}

#[test]
fn signals_end_the_process_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut luge = Daemon::start();
        luge.call("bdev_malloc_create", json!({"num_blocks": 2048, "block_size": 512}));
        let idle = UnixStream::connect(luge.socket()).unwrap();
        luge.signal(signal);
        assert_eq!(luge.exit_code(), Some(0));
        assert!(!luge.socket().exists());
        drop(idle);
    }
}

#[test]
fn as_process_1_it_ends_by_the_signals_it_gets_and_refuses_those_it_does_not() {
    let mut luge = Daemon::as_process_1();
    let kill = |signal: &str| luge.client().call("spdk_kill_instance", json!({"sig_name": signal}));
    let refusal = kill("SIGKILL").unwrap_err().to_string();
    assert!(refusal.contains("process 1") && refusal.contains("SIGTERM"), "{refusal}");
    assert_eq!(kill("SIGTERM").unwrap(), true);
    assert_eq!(luge.exit_code(), Some(0));
}

#[test]
fn a_second_signal_ends_a_process_that_does_not_get_to_its_end() {
    let (log, full) = std::io::pipe().unwrap();
    let mut luge = Daemon::with_log(full.try_clone().unwrap());
    // Nothing reads the log, and its pipe is full: the first step of a stop blocks.
    fill(&full);
    luge.signal(Signal::TERM);
    eventually("the forced end", || {
        luge.signal(Signal::TERM);
        luge.child.try_wait().unwrap().is_some()
    });
    assert_eq!(luge.exit_code(), Some(1));
    drop(log);
}

/// Writes into a pipe until it is full.
fn fill(pipe: &PipeWriter) {
    let flags = fcntl_getfl(pipe).unwrap();
    fcntl_setfl(pipe, flags | OFlags::NONBLOCK).unwrap();
    while rustix::io::write(pipe, &[b'.'; 4096]).is_ok() {}
    while rustix::io::write(pipe, b".").is_ok() {}
    fcntl_setfl(pipe, flags).unwrap();
}

#[test]
fn a_process_that_waits_for_its_start_ends_too() {
    let mut luge = Daemon::with(&["--wait-for-rpc"]);
    let mut client = luge.client();
    let waiter = std::thread::spawn(move || client.call("framework_wait_init", Value::Null).is_err());
    luge.signal(Signal::TERM);
    assert_eq!(luge.exit_code(), Some(0));
    assert!(waiter.join().unwrap());
}

#[test]
fn calls_are_made_from_the_command_line() {
    let daemon = Daemon::start();
    let socket = daemon.path("rpc.sock");
    let say = |args: &[&str]| luge(&[&["rpc", "-s", &socket], args].concat());
    let made = say(&["bdev_null_create", r#"{"name": "n", "num_blocks": 8, "block_size": 512}"#]);
    assert_eq!(made.status.code(), Some(0));
    assert_eq!(made.stdout, b"\"n\"\n");
    let list = say(&["bdev_get_bdevs"]);
    assert!(String::from_utf8(list.stdout).unwrap().starts_with("[\n  {\n    \"name\": \"n\","));
    let again = failure(&[
        "rpc",
        "-s",
        &socket,
        "bdev_null_create",
        r#"{"name": "n", "num_blocks": 8, "block_size": 512}"#,
    ]);
    assert!(again.contains("take another name (code -17)"), "{again}");
    assert!(failure(&["rpc", "-s", &socket, "bdev_null_create", "[1]"]).contains("JSON object"));
    assert!(failure(&["rpc", "-s", &socket, "bdev_null_create", "{"]).contains("JSON object"));
    let twice = failure(&["rpc", "-s", &socket, "bdev_null_delete", r#"{"name": "n", "name": "m"}"#]);
    assert!(twice.contains("`name` is there twice"), "{twice}");
    let wait = r#"{"name": "nope", "timeout": 100000}"#;
    let late = failure(&["rpc", "-s", &socket, "-t", "1", "bdev_get_bdevs", wait]);
    assert!(late.contains("no answer in time") && late.contains("(-t)"), "{late}");
    let nobody = failure(&["rpc", "-s", "/nowhere/r.sock", "bdev_get_bdevs"]);
    assert!(nobody.contains("/nowhere/r.sock") && nobody.contains("running"), "{nobody}");
}
