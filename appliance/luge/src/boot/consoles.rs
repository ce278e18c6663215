//! The consoles of an appliance: the RPC methods, at its terminals.

use super::screens::Screens;
use luge_init::{Commands, Console, MethodError, MethodHelp, ParameterHelp, PowerSwitch, Terminal};
use luge_rpc::{Dispatcher, Method, Param};
use serde_json::Value;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long to leave a terminal alone that has hung up.
const PAUSE: Duration = Duration::from_secs(1);

/// What consoles can do: nothing but their own commands, where nothing could be started.
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

/// A terminal that has hung up gets a new console as soon as it can be opened again.
fn talk(first: Console, begin: &impl Fn() -> io::Result<Console>) -> ! {
    first.run();
    loop {
        std::thread::sleep(PAUSE);
        if let Ok(console) = begin() {
            console.run();
        }
    }
}

/// The methods of a dispatcher, as a console wants them.
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
            /// Comes back
            text: String,
            /// How often
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
        assert_eq!((methods[0].name.as_str(), methods[0].parameters.len()), ("echo", 2));
        let text = &methods[0].parameters[0];
        assert_eq!((text.name.as_str(), text.kind.as_str(), text.required), ("text", "string", true));
        assert_eq!(commands.call("echo", serde_json::json!({"text": "x"})).unwrap(), "x");
        let refusal = commands.call("echo", serde_json::json!({"text": "x", "count": 0})).unwrap_err();
        assert_eq!((refusal.code, refusal.message.as_str()), (-22, "Invalid argument: nothing"));
        assert!(super::commands(None).methods().is_empty());
    }
}
