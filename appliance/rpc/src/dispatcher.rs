//! The methods, by name.

use crate::params::{Param, Params, parse};
use crate::{Code, RpcError};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

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

type Run = Box<dyn Fn(Value) -> Result<Value, RpcError> + Send + Sync>;

/// A method: what help says of it, and what it does.
pub struct Method {
    name: &'static str,
    help: &'static str,
    stages: &'static [Stage],
    params: &'static [Param],
    run: Run,
}

impl Method {
    /// A method that works in the given stages.
    pub fn new<P: Params, R: Serialize>(
        name: &'static str,
        help: &'static str,
        stages: &'static [Stage],
        run: impl Fn(P) -> Result<R, RpcError> + Send + Sync + 'static,
    ) -> Self {
        let run = move |params| {
            let result = run(parse::<P>(params)?)?;
            serde_json::to_value(result).map_err(RpcError::internal)
        };
        Self { name, help, stages, params: P::LIST, run: Box::new(run) }
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

    /// Calls a method with parameters as JSON: an object, or null for none.
    ///
    /// # Errors
    /// That the method is unknown or not for now, that a parameter is wrong, or the method's own.
    pub fn dispatch(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.dispatch_in(self.stage(), method, params)
    }

    /// As [`Self::dispatch`], as if the process were in `stage`: for calls that belong to the
    /// way there.
    ///
    /// # Errors
    /// As there.
    pub fn dispatch_in(&self, stage: Stage, method: &str, params: Value) -> Result<Value, RpcError> {
        let found = self.methods.get(method);
        let found = found.ok_or_else(|| RpcError::new(Code::METHOD_NOT_FOUND, no_method(method)))?;
        if !found.works_in(stage) {
            return Err(RpcError::invalid_state(not_now(method, stage)));
        }
        (found.run)(params)
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

    /// Waits until the process is past [`Stage::Startup`], and says where it is then.
    #[must_use]
    pub fn wait_past_startup(&self) -> Stage {
        let starting = |stage: &mut Stage| *stage == Stage::Startup;
        *self.moved.wait_while(self.lock(), starting).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_method(method: &str) -> String {
    let shown: String = method.chars().take(64).collect();
    format!("there is no method `{shown}`; rpc_get_methods lists those that exist")
}

fn not_now(method: &str, stage: Stage) -> String {
    match stage {
        Stage::Startup => format!("{method} works only after framework_start_init"),
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
    fn who_waits_for_the_start_wakes_up_when_it_is_there() {
        let dispatcher = dispatcher();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| dispatcher.wait_past_startup());
            dispatcher.enter(Stage::Runtime);
            assert_eq!(waiter.join().unwrap(), Stage::Runtime);
        });
    }
}
