//! The RPC methods, as the consoles see them.

use luge_init::{Commands, MethodHelp, ParameterHelp, Refusal};
use luge_rpc::{Dispatcher, Method, Param};
use serde_json::Value;
use std::sync::Arc;

/// The methods of a dispatcher; none, where there is no dispatcher.
pub struct Methods(pub Option<Arc<Dispatcher>>);

impl Commands for Methods {
    fn methods(&self) -> Vec<MethodHelp> {
        self.0.iter().flat_map(|dispatcher| dispatcher.methods()).map(describe).collect()
    }

    fn call(&self, method: &str, params: Value) -> Result<Value, Refusal> {
        let dispatcher = self.0.as_ref().ok_or_else(|| Refusal {
            code: -1,
            message: "nothing runs: the faults of the boot say why".into(),
        })?;
        let refusal =
            |error: luge_rpc::RpcError| Refusal { code: error.code.0.into(), message: error.message };
        dispatcher.dispatch(method, params).map_err(refusal)
    }
}

fn describe(method: &Method) -> MethodHelp {
    let parameter = |param: &Param| ParameterHelp {
        name: param.name.into(),
        kind: param.kind.into(),
        required: param.required,
        help: param.help.into(),
    };
    MethodHelp {
        name: method.name().into(),
        help: method.help().into(),
        parameters: method.params().iter().map(parameter).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_rpc::{NoParams, RpcError, Stage};

    #[test]
    fn methods_keep_their_help_and_errors_their_codes() {
        let refuse = |_: NoParams| Err::<(), _>(RpcError::busy("not now"));
        let dispatcher = Dispatcher::new([Method::new("m", "Does m", &[Stage::Startup], refuse)]);
        let methods = Methods(Some(Arc::new(dispatcher)));
        assert_eq!(methods.methods()[0].help, "Does m");
        let refusal = methods.call("m", Value::Null).unwrap_err();
        assert_eq!(refusal, Refusal { code: -16, message: "not now".into() });
    }

    #[test]
    fn without_a_dispatcher_there_is_still_an_answer() {
        let methods = Methods(None);
        assert!(methods.methods().is_empty());
        assert!(methods.call("m", Value::Null).unwrap_err().message.contains("faults of the boot"));
    }
}
