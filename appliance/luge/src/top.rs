//! `luge top`: the full-screen view, as a client of the RPC socket or within the process.

use crate::cli::Top;
use luge_init::Terminal;
use luge_observe::{Observer, Socket, Source, SourceError};
use luge_rpc::Dispatcher;
use rustix::termios::isatty;
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use thiserror::Error;

/// Error of `luge top`.
#[derive(Debug, Error)]
pub enum TopError {
    /// Input or output is no terminal.
    #[error("luge top needs a terminal; `luge rpc bdev_get_iostat` prints the numbers anywhere")]
    NoTerminal,
    /// The terminal failed.
    #[error("the terminal failed: {0}")]
    Io(#[from] io::Error),
}

/// Shows the view of the Luge at a socket until its user leaves it, or a signal ends it.
///
/// # Errors
/// [`TopError`].
pub fn run(args: &Top) -> Result<(), TopError> {
    let (input, output) = (io::stdin(), io::stdout());
    if !isatty(&input) || !isatty(&output) {
        return Err(TopError::NoTerminal);
    }
    let terminal = Terminal::new(input.as_fd().try_clone_to_owned()?, output.as_fd().try_clone_to_owned()?)?;
    let (stop, signals) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        pipe::register(signal, signals.try_clone()?)?;
    }
    let socket = || Box::new(Socket::new(args.socket.clone()));
    luge_top::run(luge_top::Top {
        observer: Observer::start(socket(), socket())?,
        title: args.socket.display().to_string(),
        terminal: &terminal,
        stop: Some(stop.as_fd()),
    })?;
    Ok(())
}

/// Shows the view of this process at a console.
///
/// # Errors
/// Errors of the terminal.
pub fn run_here(dispatcher: &Arc<Dispatcher>, terminal: &Terminal) -> io::Result<()> {
    let methods = || Box::new(Methods(dispatcher.clone()));
    luge_top::run(luge_top::Top {
        observer: Observer::start(methods(), methods())?,
        title: "this sled".into(),
        terminal,
        stop: None,
    })
}

/// Methods of this process.
struct Methods(Arc<Dispatcher>);

impl Source for Methods {
    fn call(&mut self, method: &str, params: Value) -> Result<Value, SourceError> {
        let refusal = |error: luge_rpc::RpcError| SourceError::Refused {
            code: error.code.0.into(),
            message: error.message,
        };
        self.0.dispatch(method, params).map_err(refusal)
    }
}
