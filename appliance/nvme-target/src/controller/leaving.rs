//! Departure of a controller's queues from cores that have had to wait for its client's memory.
//!
//! ```text
//!  (1) on cores --memory has kept a core waiting--> (2) leaving: sessions are held, a thread opens the volumes elsewhere
//!  (2) leaving  --volumes open, nothing in flight--> (3) in the background: sessions go on there
//!  (2) leaving  --no thread, or a volume that cannot be opened--> (4) failed: the client is cut off
//! ```

use super::device::Controller;
use super::placement::{Opened, Opening, Placement};
use super::running::RunningQueue;
use crate::ids::QueueId;
use luge_core::{Assignment, ServingCore, Tenant};
use std::sync::Arc;

impl Controller {
    /// (1) to (2): moves all queues off the cores.
    pub(crate) fn leave_cores(&mut self) {
        if !matches!(self.placement, Placement::OnCores) {
            return;
        }
        let volumes: Vec<_> = self.namespaces.values().map(|served| served.volume.clone()).collect();
        let open = move || Opened::open(&volumes);
        self.placement = Placement::Leaving(Opening::start(open, self.parts.bell.clone()));
        self.hold_queues();
    }

    /// (4): reason for which the client cannot be served any longer.
    pub(crate) fn failure(&self) -> Option<String> {
        let Placement::Failed(reason) = &self.placement else { return None };
        Some(reason.clone())
    }

    /// (2) to (3) or (4), once the volumes are open and nothing is in flight.
    pub(super) fn finish_leaving(&mut self) {
        let Placement::Leaving(opening) = &self.placement else { return };
        let opening = opening.clone();
        let has_drained = self.has_drained();
        self.placement = match opening.take_if(|outcome| outcome.is_err() || has_drained) {
            None => return,
            Some(Ok(opened)) => self.move_queues(opened),
            Some(Err(error)) => Placement::Failed(format!(
                "its memory keeps cores waiting (are holes made in its file?), and a core of its own is not possible: {error}"
            )),
        };
        self.resume_queues();
        // Those that have come meanwhile.
        self.namespaces_changed();
    }

    /// Moves all sessions, which are held and have nothing in flight, to a background core.
    fn move_queues(&mut self, opened: Opened) -> Placement {
        let Opened { attachments, core } = opened;
        let serving = ServingCore::new(core.handle().clone());
        // From now on it stops only after the volumes have left it.
        self.mounts.keep(Arc::new(core));
        let queues: Vec<QueueId> = self.running.keys().copied().collect();
        let is_moved = |id: &QueueId| {
            self.running.remove(id).is_some_and(|running| {
                let moved = running.move_to(&serving, &self.parts.tenant);
                moved.is_some_and(|moved| self.running.insert(*id, moved).is_none())
            })
        };
        let all_moved = queues.iter().all(is_moved);
        self.replace_tables();
        drop(attachments);
        self.report();
        if all_moved {
            Placement::Background(serving)
        } else {
            Placement::Failed(
                "its memory keeps cores waiting, and another core cannot take its queues".into(),
            )
        }
    }
}

impl RunningQueue {
    /// Moves the session, of which nothing is in flight, to another core; none if that has no room.
    fn move_to(self, serving: &ServingCore, tenant: &Tenant) -> Option<Self> {
        let assignment = Assignment::choose(std::slice::from_ref(serving), Default::default)?;
        let session = self.core.remove_session(self.session);
        let core = serving.core().clone();
        let session = core.add_session(session, tenant).map_err(drop).ok()?;
        Some(Self { core, session, _assignment: assignment, ..self })
    }
}
