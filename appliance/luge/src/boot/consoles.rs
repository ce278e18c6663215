//! The consoles of an appliance: the RPC methods, at its terminals.

use super::screens::Screens;
use luge_init::{Commands, Console, MethodHelp, ParameterHelp, PowerSwitch, Refusal, Terminal};
use luge_rpc::{Dispatcher, Method, Param};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long to leave a terminal alone that has hung up.
const PAUSE: Duration = Duration::from_secs(1);

/// What consoles can do: nothing but their own commands, where nothing could be started.
pub fn commands(dispatcher: Option<&Arc<Dispatcher>>) -> Arc<dyn Commands> {
    Arc::new(Methods(dispatcher.cloned().unwrap_or_default()))
}

/// Opens a console at the terminal of that name, such as `ttyS0`, for as long as the machine
/// runs.
pub fn open(name: &str, commands: &Arc<dyn Commands>, power: &PowerSwitch, screens: &Screens) {
    let path = Path::new("/dev").join(name);
    let (commands, power, screens) = (commands.clone(), power.clone(), screens.clone());
    let thread = std::thread::Builder::new()
        .name(format!("console {name}"))
        .spawn(move || talk(&path, &commands, &power, &screens));
    if let Err(error) = thread {
        tracing::error!("no console at {name}: {error}");
    }
}

fn talk(path: &Path, commands: &Arc<dyn Commands>, power: &PowerSwitch, screens: &Screens) {
    loop {
        let opened = Terminal::open(path);
        match opened.and_then(|terminal| Console::new(terminal, commands.clone(), power.clone())) {
            Ok(console) => {
                screens.put(&path.display().to_string(), console.screen());
                console.run();
            }
            Err(error) => return tracing::error!("no console at {}: {error}", path.display()),
        }
        std::thread::sleep(PAUSE);
    }
}

/// The methods of a dispatcher, as a console wants them.
struct Methods(Arc<Dispatcher>);

impl Commands for Methods {
    fn methods(&self) -> Vec<MethodHelp> {
        self.0.methods().map(method).collect()
    }

    fn call(&self, method: &str, params: Value) -> Result<Value, Refusal> {
        let refusal =
            |error: luge_rpc::RpcError| Refusal { code: error.code.0.into(), message: error.message };
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
        assert_eq!((refusal.code, refusal.message.as_str()), (-22, "nothing"));
        assert!(super::commands(None).methods().is_empty());
    }
}
