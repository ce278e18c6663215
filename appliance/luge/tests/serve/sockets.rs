//! Sockets: names, permissions, and other files in their folder.

use crate::daemon::{Daemon, command, eventually, failure, luge};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;

fn null(name: &str) -> Value {
    json!({"name": name, "num_blocks": 4096, "block_size": 512})
}

/// A daemon with a null device `n`, served as `v`.
fn serving(args: &[&str]) -> Daemon {
    let luge = Daemon::with(args);
    luge.call("bdev_null_create", null("n"));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "n"}));
    luge
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn counts(luge: &Daemon) -> Value {
    luge.call("vhost_get_controllers", json!({"name": "v"}))[0]["front_ends"].clone()
}

#[test]
fn a_controller_cannot_have_the_name_of_what_shares_its_folder() {
    let luge = Daemon::start();
    luge.call("bdev_null_create", null("n"));
    for name in ["vm", "rpc.sock", "rpc.sock.lock", ".luge.lock"] {
        let error = luge.refusal("vhost_create_blk_controller", json!({"ctrlr": name, "dev_name": "n"}));
        assert_eq!(error.code.0, -17, "{error}");
        assert!(error.message.contains(&format!("/{name} is in use by Luge itself")), "{error}");
        assert!(error.message.contains("another name"), "{error}");
    }
    for name in ["vm.sock", "vm.lock", "VM", "vm2", "rpc", "rpc.sock.lock.lock"] {
        luge.call("vhost_create_blk_controller", json!({"ctrlr": name, "dev_name": "n"}));
        luge.call("vhost_delete_controller", json!({"ctrlr": name}));
    }
    assert_eq!(luge.call("bdev_get_bdevs", Value::Null)[0]["claimed"], false);
}

#[test]
fn names_that_differ_by_an_ending_are_different_controllers() {
    let luge = Daemon::start();
    luge.call("bdev_null_create", null("n"));
    let names = ["d", "d.lock", "d.sock", "d.sock.lock"];
    for name in names {
        luge.call("vhost_create_blk_controller", json!({"ctrlr": name, "dev_name": "n"}));
    }
    for name in names {
        luge.call("vhost_delete_controller", json!({"ctrlr": name, "force": false}));
        assert!(!fs::exists(luge.path(name)).unwrap());
    }
}

#[test]
fn a_vm_whose_console_would_have_too_long_a_path_is_not_defined() {
    let deep = tempfile::Builder::new().prefix(&"d".repeat(60)).tempdir().unwrap();
    let luge = Daemon::within(deep, &[]);
    let vm = |name: &str| json!({"name": name, "cpus": 1, "memory_mb": 64});
    luge.call("vm_create", vm("short"));
    let error = luge.refusal("vm_create", vm(&"x".repeat(64)));
    assert_eq!(error.code.0, -32602);
    assert!(error.message.contains("`name`") && error.message.contains("-S"), "{error}");
}

#[test]
fn sockets_have_the_mode_and_the_group_that_were_asked_for() {
    let luge = serving(&[]);
    assert_eq!(mode(&luge.path("v")), 0o660);
    assert_eq!(mode(&luge.path("rpc.sock")), 0o600);
    let (group, number) = (54321, "54321");
    let luge = serving(&["--socket-mode", "0666", "--socket-group", number, "--rpc-socket-mode", "660"]);
    assert_eq!(mode(&luge.path("v")), 0o666);
    assert_eq!(mode(&luge.path("rpc.sock")), 0o660);
    assert_eq!(fs::metadata(luge.path("v")).unwrap().gid(), group);
    assert_ne!(fs::metadata(luge.path("rpc.sock")).unwrap().gid(), 54321);
    let luge = serving(&["--rpc-socket-group", number]);
    assert_eq!(fs::metadata(luge.path("rpc.sock")).unwrap().gid(), group);
    assert_eq!(mode(&luge.path("rpc.sock")), 0o600);
}

#[test]
fn the_mode_does_not_depend_on_the_umask() {
    let mut sh = command("sh");
    sh.args(["-c", "umask 0777; exec \"$0\" \"$@\"", crate::daemon::LUGE]);
    let luge = Daemon::run(
        sh,
        tempfile::tempdir().unwrap(),
        &["--socket-mode", "0606"],
        std::process::Stdio::inherit(),
    );
    luge.call("bdev_null_create", null("n"));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "n"}));
    assert_eq!(mode(&luge.path("v")), 0o606);
    assert_eq!(mode(&luge.path("rpc.sock")), 0o600);
}

#[test]
fn modes_and_groups_that_are_none_are_refused_with_the_remedy() {
    for (option, value, remedy) in [
        ("--socket-mode", "0888", "octal"),
        ("--socket-mode", "01777", "octal"),
        ("--rpc-socket-mode", "rw-rw----", "octal"),
        ("--socket-group", "no-such-group", "groupadd"),
        ("--rpc-socket-group", "-1", "number"),
    ] {
        let output = luge(&["serve", "--no-huge", &format!("{option}={value}")]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(value) && said.contains(option) && said.contains(remedy), "{said}");
    }
}

#[test]
fn a_group_that_the_socket_cannot_have_is_an_error_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    chown(place.path(), Some(54321), Some(54321)).unwrap();
    let socket = place.path().join("r.sock");
    let mut nobody = std::process::Command::new(crate::daemon::LUGE);
    nobody.args(["serve", "--no-huge", "-s", "64", "-S"]).arg(place.path()).arg("-r").arg(&socket);
    nobody.args(["--rpc-socket-group", "12345"]).uid(54321).gid(54321);
    let output = nobody.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("group 12345") && said.contains(socket.to_str().unwrap()), "{said}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

/// Folder in which every user can make files, with a file at the path of an RPC socket's lock.
fn folder_for_everybody(plant: impl FnOnce(&Path)) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    plant(&place.path().join("rpc.sock.lock"));
    place
}

/// Error message of a start that must fail in that folder.
fn refused_in(place: &tempfile::TempDir) -> String {
    let folder = place.path().to_str().unwrap();
    failure(&["serve", "--no-huge", "-s", "64", "-S", folder, "-r", &format!("{folder}/rpc.sock")])
}

#[test]
fn a_lock_file_that_belongs_to_somebody_else_does_not_keep_root_out() {
    let place = folder_for_everybody(|lock| {
        File::create(lock).unwrap();
        chown(lock, Some(54321), Some(54321)).unwrap();
    });
    let mut luge = Daemon::within(place, &[]);
    luge.signal(rustix::process::Signal::TERM);
    assert_eq!(luge.exit_code(), Some(0));
    assert_eq!(fs::read_dir(luge.folder.path()).unwrap().count(), 0);
}

#[test]
fn a_planted_lock_is_named_with_the_remedy_and_not_followed() {
    let target = tempfile::NamedTempFile::new().unwrap();
    let place = folder_for_everybody(|lock| symlink(target.path(), lock).unwrap());
    let said = refused_in(&place);
    assert!(said.contains("/rpc.sock.lock"), "{said}");
    assert!(said.contains("symbolic link: remove it, or choose another path (-r)"), "{said}");
    assert!(place.path().join("rpc.sock.lock").is_symlink());
}

#[test]
fn a_lock_that_somebody_holds_is_named() {
    let mut held = None;
    let place = folder_for_everybody(|lock| {
        let file = File::create(lock).unwrap();
        file.lock().unwrap();
        held = Some(file);
    });
    let said = refused_in(&place);
    assert!(said.contains("/rpc.sock.lock") && said.contains("(-r)"), "{said}");
}

#[test]
fn a_lock_file_that_cannot_be_opened_is_named_with_its_owner() {
    let place = folder_for_everybody(|lock| {
        File::create(lock).unwrap();
        fs::set_permissions(lock, PermissionsExt::from_mode(0o600)).unwrap();
    });
    let socket = place.path().join("rpc.sock").to_str().unwrap().to_owned();
    let mut other = std::process::Command::new(crate::daemon::LUGE);
    other.args(["serve", "--no-huge", "-s", "64", "-S"]).arg(place.path()).args(["-r", &socket]);
    let output = other.uid(54321).gid(54321).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{socket}.lock")) && said.contains("belongs to user 0"), "{said}");
    assert!(said.contains("remove it, or choose another path (-r)"), "{said}");
}

#[test]
fn a_socket_that_somebody_else_left_behind_is_named_with_the_remedy() {
    let place = folder_for_everybody(|_| {});
    let socket = place.path().join("rpc.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let mode = PermissionsExt::from_mode(0o666);
    fs::set_permissions(&socket, mode).unwrap();
    let mut other = std::process::Command::new(crate::daemon::LUGE);
    other.args(["serve", "--no-huge", "-s", "64", "-S"]).arg(place.path()).arg("-r").arg(&socket);
    let output = other.uid(54321).gid(54321).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(socket.to_str().unwrap()) && said.contains("left behind"), "{said}");
    assert!(said.contains("remove it as its owner, or choose another path (-r)"), "{said}");
    assert!(!place.path().join("rpc.sock.lock").exists());
}

#[test]
fn a_second_front_end_is_logged_at_once_and_counted() {
    let (mut log, into) = std::io::pipe().unwrap();
    let luge = Daemon::with_log(into);
    luge.call("bdev_null_create", null("n"));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "n"}));
    let first = UnixStream::connect(luge.path("v")).unwrap();
    eventually("the first front end", || counts(&luge)["connections"] == 1);
    let second = UnixStream::connect(luge.path("v")).unwrap();
    eventually("the second front end", || counts(&luge)["waiting"] == 1);
    assert_eq!(counts(&luge)["waited"], 1);
    assert_eq!(counts(&luge)["connections"], 1);
    eventually("the silence", || counts(&luge)["silent"] == 1);
    drop((first, second));
    eventually("their end", || counts(&luge)["waiting"] == 0);
    drop(luge);
    let mut said = String::new();
    log.read_to_string(&mut said).unwrap();
    assert!(said.contains("v: another front end has connected"), "{said}");
    assert!(said.contains("v: the front end has sent no message"), "{said}");
}

#[test]
fn an_endpoint_pauses_after_a_front_end_that_breaks_the_protocol_and_shows_it() {
    let luge = serving(&[]);
    for cut_off in 1..=3 {
        let mut front_end = UnixStream::connect(luge.path("v")).unwrap();
        front_end.write_all(&[0xff; 12]).unwrap();
        assert!(matches!(front_end.read(&mut [0; 8]), Ok(0) | Err(_)));
        eventually("its end", || counts(&luge)["cut_off_in_a_row"] == cut_off);
        assert_eq!(counts(&luge)["protocol_errors"], cut_off);
    }
    assert!(counts(&luge)["pause_left_ms"].is_u64());
    let _next = UnixStream::connect(luge.path("v")).unwrap();
    eventually("the next front end", || counts(&luge)["connections"] == 4);
}

#[test]
fn front_ends_are_cut_off_by_force_only() {
    let luge = serving(&[]);
    let mut front_ends = [(); 3].map(|()| UnixStream::connect(luge.path("v")).unwrap());
    eventually("the front ends", || counts(&luge)["waiting"] == 2);
    for params in [json!({"ctrlr": "v"}), json!({"ctrlr": "v", "force": false})] {
        let error = luge.refusal("vhost_delete_controller", params);
        assert_eq!(error.code.0, -16);
        assert!(error.message.contains("front end") && error.message.contains("force"), "{error}");
    }
    assert_eq!(luge.refusal("vhost_delete_controller", json!({"ctrlr": "v", "force": 1})).code.0, -32602);
    assert_eq!(luge.call("vhost_delete_controller", json!({"ctrlr": "v", "force": true})), true);
    for front_end in &mut front_ends {
        let end = front_end.read(&mut [0; 8]);
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    assert!(!fs::exists(luge.path("v")).unwrap());
    luge.call("bdev_null_delete", json!({"name": "n"}));
}
