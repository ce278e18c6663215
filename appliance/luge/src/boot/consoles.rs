//! The consoles of an appliance: the RPC methods, at its terminals.

use super::screens::Screens;
use luge_init::{Commands, Console, MethodError, MethodHelp, ParameterHelp, PowerSwitch, Terminal};
use luge_rpc::{Dispatcher, Method, Param};
use serde_json::Value;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Pause before a terminal that has hung up is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Commands of the consoles: only built-in ones if there is no dispatcher.
pub fn commands(dispatcher: Option<&Arc<Dispatcher>>) -> Arc<dyn Commands> {
    Arc::new(Methods(dispatcher.cloned().unwrap_or_default()))
}

/// Opens a console at a terminal, such as `/dev/ttyS0`, for as long as the machine runs.
///
/// # Errors
/// If there is no such terminal, or no thread.
pub fn open(
    path: PathBuf,
    commands: Arc<dyn Commands>,
    power: PowerSwitch,
    screens: Screens,
) -> io::Result<()> {
    let begin = move || {
        let console = Console::new(Terminal::open(&path)?, commands.clone(), power.clone())?;
        screens.put(&path.display().to_string(), console.screen());
        Ok::<Console, io::Error>(console)
    };
    let first = begin()?;
    let thread = std::thread::Builder::new().name("console".into());
    thread.spawn(move || talk(first, &begin)).map(drop)
}

/// Runs consoles at a terminal: a new one after each hang-up.
fn talk(first: Console, begin: &impl Fn() -> io::Result<Console>) -> ! {
    first.run();
    loop {
        std::thread::sleep(PAUSE);
        if let Ok(console) = begin() {
            console.run();
        }
    }
}

/// Methods of a dispatcher, in the console's form.
struct Methods(Arc<Dispatcher>);

impl Commands for Methods {
    fn methods(&self) -> Vec<MethodHelp> {
        self.0.methods().map(method).collect()
    }

    fn call(&self, method: &str, params: Value) -> Result<Value, MethodError> {
        let refusal =
            |error: luge_rpc::RpcError| MethodError { code: error.code.0.into(), message: error.message };
        self.0.dispatch(method, params).map_err(refusal)
    }

    fn top(&self, terminal: &Terminal) -> Result<(), String> {
        crate::top::run_here(&self.0, terminal).map_err(|error| format!("the terminal failed: {error}"))
    }
}

fn method(method: &Method) -> MethodHelp {
    let parameters = method.params().iter().map(parameter).collect();
    MethodHelp { name: method.name().into(), help: method.help().into(), parameters }
}

fn parameter(param: &Param) -> ParameterHelp {
    let Param { name, kind, required, help } = *param;
    ParameterHelp { name: name.into(), kind: kind.into(), required, help: help.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_rpc::{RpcError, Stage, params};

    params! {
            struct Echo {
    /// Text to return
                text: String,
    /// Number of times
                count: Option<u32>,
            }
        }

    #[test]
    fn a_console_sees_the_methods_with_their_parameters_and_calls_them() {
        let echo = Method::new("echo", "Says it again", &[Stage::Startup], |echo: Echo| {
            if echo.count == Some(0) { Err(RpcError::invalid("nothing")) } else { Ok(echo.text) }
        });
        let commands = commands(Some(&Arc::new(Dispatcher::new([echo]))));
        let methods = commands.methods();
        assert_eq!(methods[0].name, "echo");
        assert_eq!(methods[0].parameters.len(), 2);
        let text = &methods[0].parameters[0];
        assert_eq!(text.name, "text");
        assert_eq!(text.kind, "string");
        assert!(text.required);
        assert_eq!(commands.call("echo", serde_json::json!({"text": "x"})).unwrap(), "x");
        let refusal = commands.call("echo", serde_json::json!({"text": "x", "count": 0})).unwrap_err();
        assert_eq!(refusal.code, -22);
        assert_eq!(refusal.message, "Invalid argument: nothing");
        assert!(super::commands(None).methods().is_empty());
    }
}
