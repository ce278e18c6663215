//! Test of making a socket with few file descriptors left. Alone in its process, because it uses them up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_socket::{Permissions, Socket};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::File;

#[test]
fn a_socket_that_cannot_be_made_for_want_of_descriptors_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
    let mut others: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let mut failures = 0;
    let socket = loop {
        match Socket::bind(&path, &Permissions::GROUP) {
            Ok(socket) => break socket,
            Err(_) => failures += 1,
        }
        let file = others.pop();
        assert!(file.is_some(), "it needs few descriptors");
        drop(file);
        // A folder can be read where there is a descriptor for that.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "after {failures} failures");
    };
    assert!(failures >= 3, "lock, socket and file take a descriptor each");
    drop(socket);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
