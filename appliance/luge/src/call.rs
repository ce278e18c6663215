//! `luge rpc`: one call, printed.

use crate::cli::Rpc;
use luge_init::without_comments;
use luge_rpc::{CallError, Client, Unique};
use serde_json::Value;
use std::io::{Read, Write};
use std::time::Duration;
use thiserror::Error;

/// Error of `luge rpc`.
#[derive(Debug, Error)]
pub enum RpcCommandError {
    /// The parameters are no JSON object.
    #[error("the parameters must be a JSON object, as in '{{\"name\": \"x\"}}': {0}")]
    Params(String),
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Standard input or output failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Calls the method and prints the result.
///
/// # Errors
/// [`RpcCommandError`].
pub fn run(args: &Rpc) -> Result<(), RpcCommandError> {
    let params = params(args.params.as_deref())?;
    let mut client = Client::connect(&args.socket)?;
    client.set_timeout(Duration::from_secs(args.timeout_s))?;
    let result = client.call(&args.method, params)?;
    let mut text = serde_json::to_vec_pretty(&result).map_err(std::io::Error::from)?;
    text.push(b'\n');
    Ok(std::io::stdout().write_all(&text)?)
}

fn params(text: Option<&str>) -> Result<Value, RpcCommandError> {
    let text = match text {
        None => return Ok(Value::Null),
        Some("-") => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text)?;
            without_comments(&text)
        }
        Some(text) => text.into(),
    };
    match serde_json::from_slice(&text) {
        Ok(Unique(object @ Value::Object(_))) => Ok(object),
        Ok(Unique(other)) => Err(RpcCommandError::Params(format!("this is {other}"))),
        Err(error) => Err(RpcCommandError::Params(error.to_string())),
    }
}
