//! Namespaces that come, go and change while a controller runs.

use super::device::Controller;
use super::job::RunningJob;
use super::mounts::SessionPlace;
use super::running::RunningQueue;
use crate::ids::NamespaceId;
use crate::subsystem::ServedNamespace;
use luge_spec::nvme::{AsyncEvent, event_config};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Controller {
    /// Takes over what has changed in the subsystem since the last call.
    pub(crate) fn namespaces_changed(&mut self) {
        let told = self.parts.link.as_ref().map(|link| link.take_changed()).unwrap_or_default();
        self.change_namespaces(told, &[]);
    }

    /// Takes over what has changed in the subsystem: the namespaces of which it tells, and those whose volumes are `open`
    /// on the background core now.
    pub(super) fn change_namespaces(
        &mut self,
        mut told: BTreeSet<NamespaceId>,
        open: &[Arc<ServedNamespace>],
    ) {
        let Some(link) = self.parts.link.clone() else { return };
        let mut attached = self.parts.subsystem.attached(link.id());
        self.leave_out_late(&told, &mut attached, open);
        told.extend(open.iter().map(|served| served.id));
        if told.is_empty() {
            return;
        }
        let before = std::mem::replace(&mut self.namespaces, attached);
        let now = &self.namespaces;
        let changed: BTreeSet<NamespaceId> =
            told.into_iter().filter(|id| before.contains_key(id) || now.contains_key(id)).collect();
        self.replace_tables();
        let gone: Vec<_> = before.into_values().filter(|served| self.is_gone(served)).collect();
        let place =
            |running: &RunningQueue| SessionPlace { core: running.core.clone(), session: running.session };
        let sessions: Vec<SessionPlace> = self.running.values().map(place).collect();
        if !gone.is_empty() {
            self.stop_jobs();
        }
        gone.into_iter().for_each(|served| self.mounts.retire(served, sessions.clone()));
        self.tell_of(&changed);
    }

    /// Whether a namespace is not attached any more, or another one has its identifier.
    fn is_gone(&self, served: &Arc<ServedNamespace>) -> bool {
        self.namespaces.get(&served.id).is_none_or(|now| !Arc::ptr_eq(now, served))
    }

    /// Stops jobs, which may have more to do on a volume that is about to leave its cores. A format fails; a flush is
    /// begun again for the volumes that are left.
    fn stop_jobs(&mut self) {
        self.jobs.iter().for_each(RunningJob::stop);
        self.flushing = false;
    }

    /// Gives all sessions tables of the namespaces that are attached now.
    pub(super) fn replace_tables(&mut self) {
        let ids_max = self.parts.subsystem.namespaces_max();
        for running in self.running.values() {
            let table = self.mounts.table(&running.core, &self.namespaces, ids_max);
            drop(running.call(move |session| session.replace_namespaces(table)));
        }
    }

    /// Adds namespaces to the list of those that have changed, and tells the host, if it wants to know.
    fn tell_of(&mut self, changed: &BTreeSet<NamespaceId>) {
        if changed.is_empty() || !self.state.serves() {
            return;
        }
        changed.iter().for_each(|&id| self.state.events.namespace_changed(id));
        if self.state.features.events & event_config::NAMESPACES_CHANGED != 0 {
            self.add_event(AsyncEvent::NAMESPACES_CHANGED);
        }
        self.report();
    }
}
