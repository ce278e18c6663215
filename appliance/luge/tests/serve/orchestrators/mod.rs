//! Public orchestrators: the calls of a disk's whole life, sent and read as in each
//! orchestrator's source. One file each.
//!
//! Not here: methods that Luge does not have (logical volumes, encryption, NVMe over fabrics); SSDs
//! (`methods/nvme/tests.rs`).

mod ceph_nvmeof;
mod cinder;
mod kata;
mod longhorn;
mod open_local;
mod opi;
mod proxmox;
mod simplyblock;
mod spdk_csi;
mod truenas;
mod ubicloud;

use crate::daemon::Daemon;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Time limit of an answer.
const TIMEOUT: Option<Duration> = Some(Duration::from_secs(30));

/// A client with a form of requests. Each call has a connection of its own.
struct Orchestrator<'a> {
    luge: &'a Daemon,
    /// Text of a request for a method with parameters; null for none.
    form: fn(&str, &Value) -> String,
}

impl Orchestrator<'_> {
    /// Makes a call that must work.
    fn call(&self, method: &str, params: Value) -> Value {
        let answer = answer_of(&mut self.send(method, &params));
        assert_eq!(answer.get("error"), None, "{method} {params}");
        answer["result"].clone()
    }

    /// Makes a call that must fail; returns code and message.
    fn refusal(&self, method: &str, params: Value) -> (i64, String) {
        let answer = answer_of(&mut self.send(method, &params));
        assert_eq!(answer.get("result"), None, "{method} {params}");
        let error = &answer["error"];
        (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().into())
    }

    fn send(&self, method: &str, params: &Value) -> UnixStream {
        let mut stream = UnixStream::connect(self.luge.socket()).unwrap();
        stream.set_read_timeout(TIMEOUT).unwrap();
        stream.write_all((self.form)(method, params).as_bytes()).unwrap();
        stream
    }
}

/// Reads until the bytes so far are JSON.
fn answer_of(stream: &mut UnixStream) -> Value {
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "closed after {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..length]);
        if let Ok(answer) = serde_json::from_slice(&text) {
            return answer;
        }
    }
}

/// A request with members in this order, and `params` unless they are null.
fn request(mut members: Value, params: &Value) -> Value {
    if !params.is_null() {
        members["params"] = params.clone();
    }
    members
}

/// A daemon with a file of 1 MiB beside its sockets, and that file's path.
fn with_file(name: &str) -> (Daemon, String) {
    let luge = Daemon::start();
    let path = luge.path(name);
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    (luge, path)
}

/// Form of SPDK's own Python client.
fn python(method: &str, params: &Value) -> String {
    let members = json!({"jsonrpc": "2.0", "method": method, "id": 1});
    let request = request(members, params);
    serde_json::to_string_pretty(&request).unwrap()
}
