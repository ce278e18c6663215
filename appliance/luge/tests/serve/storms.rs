//! Clients that create and delete objects at the same time.

use crate::daemon::{Daemon, LUGE, command};
use luge_rpc::CallError;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::thread;

fn null(name: &str) -> Value {
    json!({"name": name, "num_blocks": 4096, "block_size": 512})
}

/// Names in a folder, in order.
fn names(luge: &Daemon) -> Vec<String> {
    let entries = std::fs::read_dir(luge.folder.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn disks_that_are_made_served_and_deleted_on_all_sides_leave_nothing() {
    let luge = Daemon::start();
    let before = names(&luge);
    thread::scope(|scope| {
        for client in 0..6 {
            let luge = &luge;
            scope.spawn(move || {
                for _ in 0..20 {
                    let (disk, controller) = (format!("n{client}"), format!("v{client}"));
                    luge.call("bdev_null_create", null(&disk));
                    luge.call("vhost_create_blk_controller", json!({"ctrlr": controller, "dev_name": disk}));
                    let _front_end = UnixStream::connect(luge.path(&controller)).unwrap();
                    luge.call("vhost_delete_controller", json!({"ctrlr": controller, "force": true}));
                    luge.call("bdev_null_delete", json!({"name": disk}));
                }
            });
        }
    });
    assert_eq!(luge.call("bdev_get_bdevs", Value::Null), json!([]));
    assert_eq!(luge.call("vhost_get_controllers", Value::Null), json!([]));
    assert_eq!(luge.call("framework_get_reactors", Value::Null)["reactors"][0]["rings"], 0);
    assert_eq!(names(&luge), before);
}

/// Starts a daemon that has its sockets in the folder of another daemon.
fn beside(other: &Daemon) -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    let mut luge = command(LUGE);
    luge.args(["serve", "--no-huge", "-s", "64", "-S"]).arg(other.folder.path());
    luge.arg("-r").arg(folder.path().join("rpc.sock")).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = luge.spawn().unwrap();
    let mut greeting = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
    Daemon { folder, child, greeting }
}

#[test]
fn of_two_daemons_with_one_folder_one_has_a_socket_and_keeps_it() {
    let first = Daemon::start();
    let second = beside(&first);
    [&first, &second].into_iter().for_each(|luge| _ = luge.call("bdev_null_create", null("n")));
    let controller = json!({"ctrlr": "v", "dev_name": "n"});
    for _ in 0..20 {
        // As a server that was killed leaves it.
        drop(UnixListener::bind(first.path("v")).unwrap());
        let attempts: Vec<_> = thread::scope(|scope| {
            let make = |luge: &Daemon| luge.client().call("vhost_create_blk_controller", controller.clone());
            let attempts = [&first, &second].map(|luge| scope.spawn(move || make(luge)));
            attempts.into_iter().map(|attempt| attempt.join().unwrap()).collect()
        });
        let winner = match &attempts[..] {
            [Ok(_), Err(CallError::Rpc(error))] | [Err(CallError::Rpc(error)), Ok(_)] => {
                assert_eq!(error.code.0, -17, "{error}");
                if attempts[0].is_ok() { &first } else { &second }
            }
            other => panic!("one of them has it: {other:?}"),
        };
        assert!(UnixStream::connect(first.path("v")).is_ok());
        winner.call("vhost_delete_controller", json!({"ctrlr": "v", "force": true}));
    }
}
