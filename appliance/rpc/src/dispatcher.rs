//! The methods, by name.

use crate::error::cut_short;
use crate::params::{Param, Params, parse};
use crate::{Caller, Code, RpcError};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Where the process is in its life.
///
/// ```text
/// Startup --(1)--> Runtime --(2)--> Stopping
///    \--------------(2)---------------^
/// ```
/// 1. `framework_start_init`, or the start itself; 2. a stop was asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Stage {
    /// Options can be set; there are no cores and no devices yet.
    #[default]
    Startup,
    /// Everything works.
    Runtime,
    /// Nothing new is begun.
    Stopping,
}

type Run = Box<dyn FnOnce(&Caller<'_>) -> Result<Box<RawValue>, RpcError>>;
type Prepare = Box<dyn Fn(Value) -> Result<Run, RpcError> + Send + Sync>;

/// A call whose parameters have been read, and whose text is no longer needed.
pub struct PreparedCall(Run);

impl PreparedCall {
    /// Makes the call; its result is the text of JSON.
    ///
    /// # Errors
    /// The method's own.
    pub fn run(self, caller: &Caller<'_>) -> Result<Box<RawValue>, RpcError> {
        (self.0)(caller)
    }

    /// As [`Self::run`], with the result as a value.
    ///
    /// # Errors
    /// The method's own.
    pub fn value(self, caller: &Caller<'_>) -> Result<Value, RpcError> {
        serde_json::from_str(self.run(caller)?.get()).map_err(RpcError::internal)
    }
}

/// A method: what help says of it, and what it does.
pub struct Method {
    name: &'static str,
    help: &'static str,
    stages: &'static [Stage],
    params: &'static [Param],
    prepare: Prepare,
}

impl Method {
    /// A method that works in the given stages.
    pub fn new<P: Params, R: Serialize>(
        name: &'static str,
        help: &'static str,
        stages: &'static [Stage],
        run: impl Fn(P) -> Result<R, RpcError> + Send + Sync + 'static,
    ) -> Self {
        Self::waiting(name, help, stages, move |params, _| run(params))
    }

    /// A method that may wait for what others do, for as long as its caller wants the answer.
    pub fn waiting<P: Params, R: Serialize>(
        name: &'static str,
        help: &'static str,
        stages: &'static [Stage],
        run: impl Fn(P, &Caller<'_>) -> Result<R, RpcError> + Send + Sync + 'static,
    ) -> Self {
        let run = Arc::new(run);
        let prepare = move |params| {
            let (params, run) = (parse::<P>(params)?, run.clone());
            let call =
                move |caller: &Caller<'_>| to_raw_value(&run(params, caller)?).map_err(RpcError::internal);
            Ok(Box::new(call) as Run)
        };
        Self { name, help, stages, params: P::LIST, prepare: Box::new(prepare) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it does, in a line.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.help
    }

    /// Its parameters, in the order of a command line.
    #[must_use]
    pub fn params(&self) -> &'static [Param] {
        self.params
    }

    /// Whether it works in that stage.
    #[must_use]
    pub fn works_in(&self, stage: Stage) -> bool {
        self.stages.contains(&stage)
    }
}

/// All methods, and the stage that decides which of them work.
#[derive(Default)]
pub struct Dispatcher {
    methods: BTreeMap<&'static str, Method>,
    stage: Mutex<Stage>,
    moved: Condvar,
}

impl Dispatcher {
    /// A dispatcher of these methods, in [`Stage::Startup`].
    #[must_use]
    pub fn new(methods: impl IntoIterator<Item = Method>) -> Self {
        let methods = methods.into_iter().map(|method| (method.name, method)).collect();
        Self { methods, ..Self::default() }
    }

    /// Calls a method with parameters as JSON, an object, or null for none, for a caller in this
    /// process.
    ///
    /// # Errors
    /// As [`Self::prepare`], or the method's own.
    pub fn dispatch(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.prepare(self.stage(), method, params)?.value(&Caller::local())
    }

    /// Reads the parameters of a call, as if the process were in `stage`.
    ///
    /// # Errors
    /// -32601 for an unknown method; one of the stage; -32602 for a wrong parameter.
    pub fn prepare(&self, stage: Stage, method: &str, params: Value) -> Result<PreparedCall, RpcError> {
        let found = self.find(method)?;
        if !found.works_in(stage) {
            return Err(RpcError::invalid_state(not_now(method, stage)));
        }
        (found.prepare)(params).map(PreparedCall)
    }

    /// The method of that name.
    ///
    /// # Errors
    /// -32601 if there is none.
    pub fn find(&self, method: &str) -> Result<&Method, RpcError> {
        self.methods.get(method).ok_or_else(|| RpcError::new(Code::METHOD_NOT_FOUND, no_method(method)))
    }

    /// All methods, in the order of their names.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.values()
    }

    /// Where the process is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        *self.lock()
    }

    /// Moves on. There is no way back.
    pub fn enter(&self, stage: Stage) {
        let mut now = self.lock();
        *now = stage.max(*now);
        self.moved.notify_all();
    }

    /// Waits until the process is past [`Stage::Startup`], or `caller` no longer wants the answer;
    /// says where the process is then.
    #[must_use]
    pub fn wait_past_startup(&self, caller: &Caller<'_>) -> Stage {
        // Without the lock: the caller may ask for the stage.
        while self.stage() == Stage::Startup && caller.wants_answer() {
            let starting = |stage: &mut Stage| *stage == Stage::Startup;
            let waited = self.moved.wait_timeout_while(self.lock(), Caller::LOOK, starting);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
        self.stage()
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_method(method: &str) -> String {
    let shown = cut_short(method, 64);
    format!("there is no method `{shown}`; rpc_get_methods lists those that exist")
}

fn not_now(method: &str, stage: Stage) -> String {
    match stage {
        Stage::Startup => format!("{method} works only after framework_start_init: call that first"),
        Stage::Runtime => format!("{method} works only before framework_start_init (see --wait-for-rpc)"),
        Stage::Stopping => format!("{method}: Luge is stopping"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoParams;
    use serde_json::json;

    fn dispatcher() -> Dispatcher {
        let nothing = |_: NoParams| Ok(true);
        Dispatcher::new([
            Method::new("early", "Before", &[Stage::Startup], nothing),
            Method::new("late", "After", &[Stage::Runtime], nothing),
            Method::new("always", "Any time", &[Stage::Startup, Stage::Runtime], nothing),
        ])
    }

    #[test]
    fn a_method_works_in_its_stages_only() {
        let dispatcher = dispatcher();
        let works = |name| dispatcher.dispatch(name, Value::Null).map_err(|error| error.code);
        assert_eq!(works("early"), Ok(json!(true)));
        assert_eq!(works("late"), Err(Code::INVALID_STATE));
        dispatcher.enter(Stage::Runtime);
        assert_eq!(works("early"), Err(Code::INVALID_STATE));
        assert_eq!(works("late"), Ok(json!(true)));
        dispatcher.enter(Stage::Stopping);
        dispatcher.enter(Stage::Runtime);
        assert_eq!(works("always"), Err(Code::INVALID_STATE));
    }

    #[test]
    fn an_unknown_method_is_not_found_and_its_name_is_cut_short() {
        let error = dispatcher().dispatch(&"x".repeat(1000), Value::Null).unwrap_err();
        assert_eq!(error.code, Code::METHOD_NOT_FOUND);
        assert!(error.message.len() < 200);
    }

    #[test]
    fn who_no_longer_wants_to_know_does_not_wait_for_the_start() {
        let dispatcher = dispatcher();
        let caller = Caller::new(|| dispatcher.stage() == Stage::Runtime);
        assert_eq!(dispatcher.wait_past_startup(&caller), Stage::Startup);
    }

    #[test]
    fn who_waits_for_the_start_wakes_up_when_it_is_there() {
        let dispatcher = dispatcher();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| dispatcher.wait_past_startup(&Caller::local()));
            dispatcher.enter(Stage::Runtime);
            assert_eq!(waiter.join().unwrap(), Stage::Runtime);
        });
    }
}
