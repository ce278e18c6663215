//! Guest memory that comes and goes while a controller runs.
//!
//! ```text
//!  (1) in use  --other memory; no command in flight uses what goes--> (1)
//!  (1) in use  --memory goes that commands in flight use--> (2) leaving: commands to come use the memory that there is now
//!  (2) leaving --those commands have ended--> (1)
//!  (2) leaving --memory goes that other commands in flight use--> (3) held: the session takes no commands
//!  (3) held    --drained--> (1), with the memory that there is by then
//! ```
//!
//! The states are of each session. The sessions of a core change in one task: a guest with an IOMMU of its own changes
//! its memory for every transfer.

use super::device::Controller;
use super::running::{MemoryUse, RunningQueue};
use crate::ids::QueueId;
use crate::queues::ShadowDoorbells;
use crate::session::{GoneMemory, MemoryChange, QueueSession, SessionMemory};
use luge_block::CoreId;
use luge_core::{Core, CoreHandle, SessionId, Tenant};
use luge_memory::GuestMemory;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Controller {
    /// Uses other guest memory, of a client that is that tenant now. Returns whether no command uses what has gone.
    pub(crate) fn replace_memory(&mut self, memory: &Arc<GuestMemory>, tenant: Tenant) -> bool {
        self.memory = memory.clone();
        self.parts.tenant = tenant;
        let had_shadow = self.shadow.is_some();
        self.find_shadow();
        let shadow = match &self.shadow {
            Some(shadow) => Shadow::Moved(Some(shadow.clone())),
            None if had_shadow => Shadow::New(None),
            None => Shadow::Stays,
        };
        self.change_sessions(&shadow)
    }

    /// Whether all sessions use the present memory, and no command any other.
    pub(crate) fn memory_is_settled(&self) -> bool {
        self.running.values().all(|running| running.memory_use == MemoryUse::Settled)
    }

    /// Gives the present memory to sessions that have other memory, and takes what they use no more.
    pub(super) fn move_sessions(&mut self) {
        if !self.memory_is_settled() {
            self.change_sessions(&Shadow::Stays);
        }
    }

    /// Changes all sessions. Returns whether none has to wait for commands in flight before it has changed.
    fn change_sessions(&mut self, shadow: &Shadow) -> bool {
        let mut by_core: BTreeMap<CoreId, (CoreHandle, Vec<Change>)> = BTreeMap::new();
        let mut gone = None;
        for (&queue, running) in &self.running {
            let memory = self.memory_of(queue, running, &mut gone);
            let change = self.change(queue, running, memory, shadow);
            let place = by_core.entry(running.core.id());
            place.or_insert_with(|| (running.core.clone(), Vec::new())).1.push(change);
        }
        let mut all_done = true;
        for (core, mut changes) in by_core.into_values() {
            let changes = core.call(move |core| {
                changes.iter_mut().for_each(|change| change.make(core));
                changes
            });
            all_done &= changes.iter().all(|change| change.is_done);
            changes.into_iter().for_each(|change| self.end_change(change));
        }
        all_done
    }

    /// The present memory for a session that has other memory. `gone` is what goes for the session before it, which is
    /// nearly always the same.
    fn memory_of(
        &self,
        queue: QueueId,
        running: &RunningQueue,
        gone: &mut Option<GoneMemory>,
    ) -> Option<SessionMemory> {
        let is_old = !Arc::ptr_eq(&running.memory, &self.memory);
        let completion = self.state.completion_queues.get(&queue.0).filter(|_| is_old)?;
        let known = gone.take().filter(|gone| gone.is_of(&running.memory));
        let gone = gone.insert(known.unwrap_or_else(|| GoneMemory::between(&running.memory, &self.memory)));
        let (layout, submissions) = (completion.layout(queue), self.state.submissions_of(queue));
        let rules = self.state.rules(&self.parts.config);
        let memory = SessionMemory::find(&layout, &submissions, &rules, self.memory.clone());
        let memory = memory.without(gone.clone());
        let slots = usize::try_from(completion.entries).unwrap_or(0);
        Some(if running.has_notes { memory } else { memory.with_notes(slots) })
    }

    /// Change of a session, to other memory if there is some.
    fn change(
        &self,
        queue: QueueId,
        running: &RunningQueue,
        memory: Option<SessionMemory>,
        shadow: &Shadow,
    ) -> Change {
        Change {
            queue,
            session: running.session,
            has_notes: running.has_notes || memory.is_some(),
            memory,
            left: None,
            memory_use: running.memory_use,
            is_done: true,
            shadow: shadow.clone(),
            may_take: self.may_take(),
        }
    }

    /// Notes what became of a change; what the session had before is dropped here.
    fn end_change(&mut self, change: Change) {
        let Some(running) = self.running.get_mut(&change.queue) else { return };
        running.memory_use = change.memory_use;
        running.has_notes = change.has_notes;
        if change.memory_use != MemoryUse::Held {
            running.memory = self.memory.clone();
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
    }

    /// Uses shadow doorbells from now on.
    pub(crate) fn set_shadow(&mut self, shadow: ShadowDoorbells, addresses: [u64; 2]) {
        self.shadow = Some(shadow);
        self.state.shadow = Some(addresses);
        self.change_sessions(&Shadow::New(self.shadow.clone()));
    }
}

/// Shadow doorbells of a session.
#[derive(Clone)]
enum Shadow {
    /// No change.
    Stays,
    /// Other shadow doorbells, or none: the registers. Afterwards, those before.
    New(Option<ShadowDoorbells>),
    /// Shadow doorbells at the same place, in the present memory. Afterwards, those before.
    Moved(Option<ShadowDoorbells>),
}

/// Change of a session, which its core makes, and what comes back.
struct Change {
    queue: QueueId,
    session: SessionId,
    /// Memory that the session is to use; afterwards, the memory before, or that which was refused.
    memory: Option<SessionMemory>,
    /// Memory that no command uses any more.
    left: Option<SessionMemory>,
    memory_use: MemoryUse,
    /// Whether the session notes the memory of its commands.
    has_notes: bool,
    /// Whether no command uses what has gone by this change.
    is_done: bool,
    shadow: Shadow,
    /// Whether the session takes commands, as far as its memory allows.
    may_take: bool,
}

impl Change {
    /// Makes the change. Drops nothing.
    fn make(&mut self, core: &mut Core) {
        let Some(session) = core.session_as::<QueueSession>(self.session) else {
            self.memory_use = MemoryUse::Settled;
            return;
        };
        match &mut self.shadow {
            Shadow::Stays => {}
            Shadow::New(shadow) => *shadow = session.replace_doorbells(shadow.take()),
            Shadow::Moved(shadow) => {
                *shadow = shadow.take().and_then(|shadow| session.move_doorbells(shadow));
            }
        }
        self.left = session.take_left_memory();
        let was_held = self.memory_use == MemoryUse::Held;
        let mut is_refused = false;
        match self.memory.take().map(|memory| session.replace_memory(memory)) {
            None => {}
            Some(MemoryChange::Done(before)) => self.memory = Some(before),
            Some(MemoryChange::Leaving) => self.is_done = false,
            Some(MemoryChange::Refused(refused)) => {
                self.memory = Some(refused);
                self.is_done = false;
                session.hold();
                is_refused = true;
            }
        }
        self.memory_use = match (is_refused, session.has_leaving_memory()) {
            (true, _) => MemoryUse::Held,
            (false, true) => MemoryUse::Leaving,
            (false, false) => MemoryUse::Settled,
        };
        if was_held && !is_refused && self.may_take {
            session.resume();
        }
    }
}
