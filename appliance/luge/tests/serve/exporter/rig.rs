//! Test rig: a `luge exporter` on a port of its own, ended with the test.

use crate::daemon::{LUGE, TIMEOUT, command};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

pub struct Exporter {
    child: Child,
    /// Address and port.
    pub address: String,
}

impl Exporter {
    /// Starts an exporter of the Luge at `socket`, which need not be there.
    pub fn of(socket: &Path) -> Self {
        let mut exporter = command(LUGE);
        exporter.args(["exporter", "--listen", "127.0.0.1:0", "--socket"]).arg(socket);
        let mut child = exporter.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
        let address = greeting.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        Self { child, address }
    }

    /// Body at a path.
    pub fn get(&self, path: &str) -> String {
        get(&self.address, path).unwrap()
    }
}

/// Body at a path of a server; its head if that is no success.
pub fn get(address: &str, path: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1);
    if status == Some("200") { Ok(body.to_owned()) } else { Err(format!("{path}: {head}")) }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
