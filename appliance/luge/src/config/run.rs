//! A configuration's calls, as they are made: in order, those that may take long beside the others.
//!
//! An SSD may take two minutes to come up, or never do. So the [`SLOW`] calls are made by threads of their own,
//! and a call that names something that is not there yet waits until more of the calls before it are over: each
//! disk is served as soon as its own SSD is there. The calls about one SCSI controller are made one after the other:
//! its front end is to find all of its LUNs, so that the start of the controller comes after them.
//!
//! ```text
//!             (1)                   (3)
//!   waiting --------> being made --------> over
//!      ^                  | (2)
//!      +------------------+
//! ```
//! 1. in order, unless nothing has changed since the call's last attempt, or a call about the same SCSI controller
//!    before it is not over;
//! 2. it names what is not there (-19, or -32602), and calls before it, which may make that, were not over at (1);
//! 3. made, or failed otherwise.
//!
//! Invariants
//! - A call that no call before it can help is made once.
//! - Every attempt that ends in (2) has changed nothing.
//!
//! Not here: the calls and their places (`config`), what a failure leads to (`framework`, `load`, `boot`).

use crate::control::Call;
use luge_rpc::{Code, RpcError};
use rustix::io::Errno;
use serde_json::Value;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope};

/// Methods that wait for an SSD or a VM. None of them names what another call of the same method makes.
const SLOW: [&str; 4] = [
    "bdev_nvme_attach_controller",
    "vhost_create_blk_controller",
    "vhost_scsi_controller_add_target",
    "vm_start",
];

/// Methods about a SCSI controller, which the parameter `ctrlr` names.
const OF_SCSI_CONTROLLER: [&str; 4] = [
    "vhost_create_scsi_controller",
    "vhost_scsi_controller_add_target",
    "vhost_scsi_controller_remove_target",
    "vhost_start_scsi_controller",
];

/// Most slow calls that are made at the same time: more than one SSD that hangs has disks.
const AT_ONCE_MAX: usize = 512;

/// Functions that make a call.
pub struct Callers<'a> {
    /// Makes a call on the thread that loads the configuration.
    pub here: &'a dyn Fn(&str, Value) -> Result<Value, RpcError>,
    /// Makes a slow call on a thread of its own.
    pub beside: &'a (dyn Fn(&str, Value) -> Result<Value, RpcError> + Sync),
}

/// Reaction to a call that fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnFailure {
    /// No more calls are made; those being made end.
    Stop,
    /// The other calls are made all the same.
    GoOn,
}

/// State of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Number of calls before it that were not over at its last attempt, if there was one.
    Waiting(Option<usize>),
    /// Number of calls before it that were not over at this attempt.
    BeingMade(usize),
    Over,
}

/// Number and result of a call.
type Ended = (usize, Result<Value, RpcError>);

/// A configuration that is being loaded.
struct Run<'c> {
    calls: &'c [Call],
    callers: &'c Callers<'c>,
    on_failure: OnFailure,
    states: Vec<State>,
    failures: Vec<Failure>,
    ended: Sender<Ended>,
}

/// Number of a call, and its error.
pub(super) type Failure = (usize, RpcError);

/// Makes all calls; returns the failures in the order of the calls.
pub(super) fn run(calls: &[Call], callers: &Callers<'_>, on_failure: OnFailure) -> Vec<Failure> {
    let (ended, endings) = channel();
    let states = vec![State::Waiting(None); calls.len()];
    let run = Run { calls, callers, on_failure, states, failures: Vec::new(), ended };
    std::thread::scope(|scope| run.finish(scope, &endings))
}

impl<'c> Run<'c> {
    fn finish<'s>(mut self, scope: &'s Scope<'s, '_>, endings: &Receiver<Ended>) -> Vec<Failure>
    where
        'c: 's,
    {
        loop {
            self.start_all(scope);
            if self.being_made() == 0 {
                break;
            }
            // `self` has a sender, so there is always one.
            let Ok((index, result)) = endings.recv() else { break };
            self.end(index, result);
        }
        self.failures.sort_by_key(|(index, _)| *index);
        self.failures
    }

    fn being_made(&self) -> usize {
        self.states.iter().filter(|state| matches!(state, State::BeingMade(_))).count()
    }

    fn has_stopped(&self) -> bool {
        self.on_failure == OnFailure::Stop && !self.failures.is_empty()
    }

    /// (1) for all calls that something has changed for.
    fn start_all<'s>(&mut self, scope: &'s Scope<'s, '_>)
    where
        'c: 's,
    {
        let mut before = Unfinished::default();
        let mut room = AT_ONCE_MAX - self.being_made();
        for (index, call) in self.calls.iter().enumerate() {
            let slow = SLOW.iter().position(|method| *method == call.method);
            let helpers = before.helpers(slow);
            let is_due = matches!(self.states[index], State::Waiting(last) if last != Some(helpers))
                && !before.hold_back(call);
            if is_due && !self.has_stopped() && (slow.is_none() || room > 0) {
                self.states[index] = State::BeingMade(helpers);
                match slow {
                    Some(_) => {
                        room -= 1;
                        self.make_beside(scope, index, call);
                    }
                    None => self.end(index, (self.callers.here)(&call.method, call.params.clone())),
                }
            }
            if self.states[index] != State::Over {
                before.add(call, slow);
            }
        }
    }

    fn make_beside<'s>(&mut self, scope: &'s Scope<'s, '_>, index: usize, call: &'c Call)
    where
        'c: 's,
    {
        let (beside, ended) = (self.callers.beside, self.ended.clone());
        let make = move || {
            let result = catch_unwind(AssertUnwindSafe(|| beside(&call.method, call.params.clone())));
            // Nobody receives only where the process is ending.
            let _ = ended.send((index, result.unwrap_or_else(|_| Err(RpcError::internal("it panicked")))));
        };
        let thread = Builder::new().name("configuration".into()).spawn_scoped(scope, make);
        if let Err(error) = thread {
            self.end(index, Err(RpcError::internal(format_args!("there is no thread for it: {error}"))));
        }
    }

    /// (2) or (3).
    fn end(&mut self, index: usize, result: Result<Value, RpcError>) {
        let State::BeingMade(helpers) = self.states[index] else { return };
        self.states[index] = match result {
            Err(error) if is_absence(&self.calls[index], &error) && helpers > 0 => {
                State::Waiting(Some(helpers))
            }
            Err(error) => {
                self.failures.push((index, error));
                State::Over
            }
            Ok(_) => State::Over,
        };
    }
}

/// Name of the SCSI controller that a call is about, if it is about one.
fn scsi_controller(call: &Call) -> Option<&str> {
    call.params["ctrlr"].as_str().filter(|_| OF_SCSI_CONTROLLER.contains(&call.method.as_str()))
}

/// Whether a call may have failed because something that it names is not there. Methods about NVMe subsystems tell
/// that by the code of wrong parameters, as SPDK's do.
fn is_absence(call: &Call, error: &RpcError) -> bool {
    let of_subsystem = call.method.starts_with("nvmf_subsystem_") && error.code == Code::INVALID_PARAMS;
    of_subsystem || error.code.0 == -Errno::NODEV.raw_os_error()
}

/// Calls that are not over.
#[derive(Default)]
struct Unfinished<'c> {
    all: usize,
    slow: [usize; SLOW.len()],
    /// SCSI controllers that some of them are about.
    scsi_controllers: BTreeSet<&'c str>,
}

impl<'c> Unfinished<'c> {
    fn add(&mut self, call: &'c Call, slow: Option<usize>) {
        self.all += 1;
        slow.into_iter().for_each(|method| self.slow[method] += 1);
        self.scsi_controllers.extend(scsi_controller(call));
    }

    /// Whether one of them must be over before the call is made.
    fn hold_back(&self, call: &Call) -> bool {
        scsi_controller(call).is_some_and(|name| self.scsi_controllers.contains(name))
    }

    /// Calls that may make what a call names: not those of the same slow method.
    fn helpers(&self, slow: Option<usize>) -> usize {
        self.all - slow.map_or(0, |method| self.slow[method])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::{Condvar, Mutex};
    use std::thread;

    const ATTACH: &str = "bdev_nvme_attach_controller";
    const SERVE: &str = "vhost_create_blk_controller";

    /// Objects that calls make and need, by name, and a gate per object that hangs.
    #[derive(Default)]
    struct World {
        made: Mutex<BTreeSet<String>>,
        calls: Mutex<Vec<String>>,
        open: Mutex<BTreeSet<String>>,
        opened: Condvar,
    }

    impl World {
        /// Makes what the call names, if what it needs is there and its gate is open.
        fn call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
            let text = |key: &str| params[key].as_str().unwrap_or_default().to_owned();
            self.calls.lock().unwrap().push(format!("{method} {}", text("makes")));
            let gate = text("gate");
            drop(
                self.opened
                    .wait_while(self.open.lock().unwrap(), |open| !gate.is_empty() && !open.contains(&gate)),
            );
            let mut made = self.made.lock().unwrap();
            if params["needs"].is_string() && !made.contains(&text("needs")) {
                return Err(RpcError::no_device(text("needs")));
            }
            if params["fails"] == true {
                return Err(RpcError::busy("no"));
            }
            made.insert(text("makes"));
            Ok(Value::Null)
        }

        fn open(&self, gate: &str) {
            self.open.lock().unwrap().insert(gate.into());
            self.opened.notify_all();
        }

        fn run(&self, calls: &[Call], on_failure: OnFailure) -> Vec<String> {
            let call = |method: &str, params| self.call(method, params);
            let failures = run(calls, &Callers { here: &call, beside: &call }, on_failure);
            failures.into_iter().map(|(index, error)| format!("{index}: {}", error.message)).collect()
        }

        fn made(&self) -> Vec<String> {
            self.made.lock().unwrap().iter().cloned().collect()
        }

        fn until_made(&self, names: &[&str]) {
            while self.made() != names {
                thread::yield_now();
            }
        }

        fn attempts(&self, call: &str) -> usize {
            self.calls.lock().unwrap().iter().filter(|made| *made == call).count()
        }
    }

    fn call(method: &str, params: Value) -> Call {
        Call::new(method, params)
    }

    #[test]
    fn calls_that_need_what_hangs_wait_and_all_others_are_made() {
        let world = World::default();
        let calls = [
            call(ATTACH, json!({"makes": "a", "gate": "a"})),
            call("split", json!({"makes": "a-part", "needs": "a"})),
            call(ATTACH, json!({"makes": "b"})),
            call(SERVE, json!({"makes": "on-a", "needs": "a-part"})),
            call(SERVE, json!({"makes": "on-b", "needs": "b"})),
            call("vm_create", json!({"makes": "vm-a", "needs": "on-a"})),
            call("vm_create", json!({"makes": "vm-b", "needs": "on-b"})),
            call("vm_start", json!({"makes": "vm-b-runs", "needs": "vm-b"})),
        ];
        thread::scope(|scope| {
            let failures = scope.spawn(|| world.run(&calls, OnFailure::Stop));
            world.until_made(&["b", "on-b", "vm-b", "vm-b-runs"]);
            world.open("a");
            assert_eq!(failures.join().unwrap(), [""; 0]);
        });
        assert_eq!(world.made().len(), calls.len());
        assert_eq!(world.attempts("bdev_nvme_attach_controller a"), 1);
    }

    #[test]
    fn a_scsi_controller_starts_after_its_luns_and_its_calls_are_made_in_their_order() {
        let world = World::default();
        let (create, add, start) = (
            "vhost_create_scsi_controller",
            "vhost_scsi_controller_add_target",
            "vhost_start_scsi_controller",
        );
        let calls = [
            call(ATTACH, json!({"makes": "a", "gate": "a"})),
            call(create, json!({"makes": "c", "ctrlr": "c"})),
            call(add, json!({"makes": "c-a", "ctrlr": "c", "needs": "a"})),
            call(add, json!({"makes": "c-b", "ctrlr": "c", "fails": true})),
            call(add, json!({"makes": "c-c", "ctrlr": "c"})),
            call(start, json!({"makes": "c-start", "ctrlr": "c"})),
            call(create, json!({"makes": "d", "ctrlr": "d"})),
            call(start, json!({"makes": "d-start", "ctrlr": "d"})),
        ];
        thread::scope(|scope| {
            let failures = scope.spawn(|| world.run(&calls, OnFailure::GoOn));
            world.until_made(&["c", "d", "d-start"]);
            world.open("a");
            assert_eq!(failures.join().unwrap(), ["3: Device or resource busy: no"]);
        });
        let mut made = world.calls.lock().unwrap().clone();
        made.retain(|made| made.contains(" c-"));
        made.dedup();
        let names: Vec<_> = made.iter().filter_map(|made| made.split(' ').nth(1)).collect();
        assert_eq!(names, ["c-a", "c-b", "c-c", "c-start"]);
    }

    #[test]
    fn a_call_that_waits_is_made_again_only_after_a_change() {
        let world = World::default();
        let calls = [
            call(ATTACH, json!({"makes": "a", "gate": "a"})),
            call("split", json!({"makes": "a-part", "needs": "a"})),
            call(ATTACH, json!({"makes": "b", "gate": "b"})),
            call(SERVE, json!({"makes": "on-b", "needs": "b"})),
        ];
        thread::scope(|scope| {
            let failures = scope.spawn(|| world.run(&calls, OnFailure::Stop));
            world.open("b");
            world.until_made(&["b", "on-b"]);
            world.open("a");
            failures.join().unwrap();
        });
        assert_eq!(world.attempts("split a-part"), 2, "nothing before it had changed");
    }

    #[test]
    fn what_no_call_makes_is_missing_in_the_end() {
        let world = World::default();
        let calls = [
            call(ATTACH, json!({"makes": "a"})),
            call(SERVE, json!({"makes": "on-x", "needs": "x"})),
            call(SERVE, json!({"makes": "on-a", "needs": "a"})),
        ];
        let failures = world.run(&calls, OnFailure::GoOn);
        assert_eq!(failures.len(), 1);
        assert!(failures[0].starts_with("1: No such device"), "{failures:?}");
        assert_eq!(world.made(), ["a", "on-a"]);
    }

    #[test]
    fn a_failure_stops_the_calls_after_it_and_waits_for_those_being_made() {
        let world = World::default();
        let calls = [
            call(ATTACH, json!({"makes": "a", "gate": "a"})),
            call("null", json!({"fails": true})),
            call("null", json!({"makes": "n"})),
            call(SERVE, json!({"makes": "on-a", "needs": "a"})),
        ];
        thread::scope(|scope| {
            let failures = scope.spawn(|| world.run(&calls, OnFailure::Stop));
            while world.attempts("null ") == 0 {
                thread::yield_now();
            }
            assert!(!failures.is_finished(), "an SSD is still coming up");
            world.open("a");
            assert_eq!(failures.join().unwrap(), ["1: Device or resource busy: no"]);
        });
        assert_eq!(world.made(), ["a"]);
    }

    #[test]
    fn more_slow_calls_than_are_made_at_once_are_all_made() {
        let world = World::default();
        let names: Vec<String> = (0..3 * AT_ONCE_MAX).map(|n| format!("{n:04}")).collect();
        let calls: Vec<_> = names.iter().map(|name| call(ATTACH, json!({"makes": name}))).collect();
        assert_eq!(world.run(&calls, OnFailure::Stop), [""; 0]);
        assert_eq!(world.made(), names);
    }
}
