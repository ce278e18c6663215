//! Dispatcher: finds a method by its name, reads its parameters, and calls it.

use crate::error::cut_short;
use crate::params::{Param, Params, parse};
use crate::{Caller, Code, RpcError};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Stage of the process's life; decides which methods work.
///
/// ```text
/// Startup --(1)--> Runtime --(2)--> Stopping
///    \--------------(2)---------------^
/// ```
/// 1. `framework_start_init`, or the end of the boot; 2. a request to stop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Stage {
    /// Before cores and devices exist; options can be set.
    #[default]
    Startup,
    /// Normal operation.
    Runtime,
    /// Shutdown; no new call is accepted.
    Stopping,
}

type Run = Box<dyn FnOnce(&Caller<'_>) -> Result<Box<RawValue>, RpcError>>;
type Prepare = Box<dyn Fn(Value) -> Result<Run, RpcError> + Send + Sync>;

/// A call whose parameters have been read. The request's text is no longer needed.
pub struct PreparedCall(Run);

impl PreparedCall {
    /// Runs the method; returns its result as JSON text.
    ///
    /// # Errors
    /// Errors of the method.
    pub fn run(self, caller: &Caller<'_>) -> Result<Box<RawValue>, RpcError> {
        (self.0)(caller)
    }

    /// Runs the method; returns its result as a value.
    ///
    /// # Errors
    /// Errors of the method.
    pub fn value(self, caller: &Caller<'_>) -> Result<Value, RpcError> {
        serde_json::from_str(self.run(caller)?.get()).map_err(RpcError::internal)
    }
}

/// A method: its function, and its description for help.
pub struct Method {
    name: &'static str,
    help: &'static str,
    stages: &'static [Stage],
    params: &'static [Param],
    prepare: Prepare,
}

impl Method {
    /// Method that works in the given stages.
    pub fn new<P: Params, R: Serialize>(
        name: &'static str,
        help: &'static str,
        stages: &'static [Stage],
        run: impl Fn(P) -> Result<R, RpcError> + Send + Sync + 'static,
    ) -> Self {
        Self::waiting(name, help, stages, move |params, _| run(params))
    }

    /// Method that may wait for events as long as its caller wants the answer.
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

    /// Name of the method.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Description for help: one line.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.help
    }

    /// Parameters, in the order of a command line.
    #[must_use]
    pub fn params(&self) -> &'static [Param] {
        self.params
    }

    /// Whether the method works in a stage.
    #[must_use]
    pub fn works_in(&self, stage: Stage) -> bool {
        self.stages.contains(&stage)
    }
}

/// All methods, and the present stage.
#[derive(Default)]
pub struct Dispatcher {
    methods: BTreeMap<&'static str, Method>,
    stage: Mutex<Stage>,
    stage_changed: Condvar,
}

impl Dispatcher {
    /// Dispatcher in [`Stage::Startup`].
    #[must_use]
    pub fn new(methods: impl IntoIterator<Item = Method>) -> Self {
        let methods = methods.into_iter().map(|method| (method.name, method)).collect();
        Self { methods, ..Self::default() }
    }

    /// Calls a method for a caller in this process. `params` is an object, or null for none.
    ///
    /// # Errors
    /// Errors of [`Self::prepare`] and of the method.
    pub fn dispatch(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.prepare(self.stage(), method, params)?.value(&Caller::local())
    }

    /// Reads the parameters of a call in `stage`, which need not be the present one.
    ///
    /// # Errors
    /// -32601 for an unknown method, -1 for one that does not work in `stage`, -32602 for a wrong
    /// parameter.
    pub fn prepare(&self, stage: Stage, method: &str, params: Value) -> Result<PreparedCall, RpcError> {
        let found = self.find(method)?;
        if !found.works_in(stage) {
            return Err(RpcError::invalid_state(wrong_stage(method, stage)));
        }
        (found.prepare)(params).map(PreparedCall)
    }

    /// Method with that name.
    ///
    /// # Errors
    /// -32601 if there is none.
    pub fn find(&self, method: &str) -> Result<&Method, RpcError> {
        self.methods.get(method).ok_or_else(|| RpcError::new(Code::METHOD_NOT_FOUND, no_method(method)))
    }

    /// All methods, sorted by name.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.values()
    }

    /// Present stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        *self.lock()
    }

    /// Enters a stage. An earlier stage than the present one is ignored.
    pub fn enter(&self, stage: Stage) {
        let mut now = self.lock();
        *now = stage.max(*now);
        self.stage_changed.notify_all();
    }

    /// Waits until [`Stage::Startup`] is over or `caller` no longer wants the answer; returns the
    /// stage.
    #[must_use]
    pub fn wait_past_startup(&self, caller: &Caller<'_>) -> Stage {
        // `wants_answer` may ask for the stage, so the lock is not held.
        while self.stage() == Stage::Startup && caller.wants_answer() {
            let starting = |stage: &mut Stage| *stage == Stage::Startup;
            let waited = self.stage_changed.wait_timeout_while(self.lock(), Caller::LOOK, starting);
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

fn wrong_stage(method: &str, stage: Stage) -> String {
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
    fn a_caller_that_no_longer_wants_the_answer_does_not_wait_for_the_start() {
        let dispatcher = dispatcher();
        let caller = Caller::new(|| dispatcher.stage() == Stage::Runtime);
        assert_eq!(dispatcher.wait_past_startup(&caller), Stage::Startup);
    }

    #[test]
    fn a_caller_that_waits_for_the_start_wakes_up_at_it() {
        let dispatcher = dispatcher();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| dispatcher.wait_past_startup(&Caller::local()));
            dispatcher.enter(Stage::Runtime);
            assert_eq!(waiter.join().unwrap(), Stage::Runtime);
        });
    }
}
