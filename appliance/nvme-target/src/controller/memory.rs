//! Guest memory that comes and goes while a controller runs.
//!
//! ```text
//!  (1) in use  --other memory, nothing in flight, or nothing of it gone--> (1)
//!  (1) in use  --memory goes, commands in flight--> (2) held: the session takes no commands
//!  (2) held    --drained--> (1), with the memory that there is by then
//! ```
//!
//! The states are of each session.

use super::device::Controller;
use super::limits::ControllerConfig;
use super::running::RunningQueue;
use super::state::ControllerState;
use crate::ids::QueueId;
use crate::queues::ShadowDoorbells;
use crate::session::{QueueSession, SessionMemory};
use luge_core::Tenant;
use luge_memory::GuestMemory;
use std::sync::Arc;

impl Controller {
    /// Uses other guest memory, of a client that is that tenant now.
    pub(crate) fn replace_memory(&mut self, memory: &Arc<GuestMemory>, tenant: Tenant) {
        self.memory = memory.clone();
        self.parts.tenant = tenant;
        self.find_shadow();
        self.move_sessions();
    }

    /// Whether all sessions use the present memory.
    pub(crate) fn memory_is_settled(&self) -> bool {
        self.running.values().all(|running| !running.waits_for_memory)
    }

    /// (1) to (1) or (2), and (2) to (1): gives the present memory to sessions that have other memory.
    pub(super) fn move_sessions(&mut self) {
        let serves = self.may_take();
        let Self { state, memory, running, parts, .. } = self;
        for (&queue, running) in running.iter_mut() {
            if Arc::ptr_eq(&running.memory, memory) {
                continue;
            }
            running.waits_for_memory = !move_session(queue, running, state, memory, &parts.config);
            if !running.waits_for_memory {
                running.memory = memory.clone();
                if serves {
                    running.call(QueueSession::resume);
                }
            }
        }
    }

    /// Finds the shadow doorbells in the present memory. Where they are gone, the registers count.
    fn find_shadow(&mut self) {
        let Some(layout) = self.state.shadow_layout() else { return };
        let page_bytes = self.state.configuration().page_bytes();
        self.shadow = ShadowDoorbells::find(layout, page_bytes, &self.memory);
        if self.shadow.is_none() {
            self.state.shadow = None;
        }
        self.replace_shadow();
    }

    /// Gives the shadow doorbells to the sessions of I/O queues. The host never writes those of the admin queues.
    pub(crate) fn replace_shadow(&self) {
        for (_, running) in self.running.iter().filter(|(id, _)| **id != QueueId::ADMIN) {
            let shadow = self.shadow.clone();
            drop(running.call(move |session| session.replace_doorbells(shadow)));
        }
    }

    /// Uses shadow doorbells from now on.
    pub(crate) fn set_shadow(&mut self, shadow: ShadowDoorbells, addresses: [u64; 2]) {
        self.shadow = Some(shadow);
        self.state.shadow = Some(addresses);
        self.replace_shadow();
    }
}

/// Gives a session other memory; returns whether it has it. Otherwise the session is held until it has drained.
fn move_session(
    queue: QueueId,
    running: &RunningQueue,
    state: &ControllerState,
    memory: &Arc<GuestMemory>,
    config: &ControllerConfig,
) -> bool {
    let Some(completion) = state.completion_queues.get(&queue.0) else { return true };
    let (layout, submissions) = (completion.layout(queue), state.submissions_of(queue));
    let rules = state.rules(config);
    let found = SessionMemory::find(&layout, &submissions, &rules, memory.clone()).after(&running.memory);
    let replaced = running.call(move |session| {
        session.replace_memory(found).inspect_err(|_| {
            session.hold();
        })
    });
    // What comes back, the memory before or that which was refused, is dropped here.
    replaced.is_none_or(|replaced| replaced.is_ok())
}
