//! Options of the exporter.

use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Options of `luge exporter`.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Path of the RPC socket of the running Luge
    #[arg(short = 's', long = "socket", value_name = "SOCKET", default_value = "/var/tmp/spdk.sock")]
    pub socket: PathBuf,
    /// Address and port to serve on. Whoever reaches it can read all numbers and names
    #[arg(short = 'l', long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9723")]
    pub listen: SocketAddr,
    /// Host name under which clients may ask, besides IP addresses and localhost. May be given several times
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
}
