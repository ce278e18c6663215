//! Namespaces that come while a controller's queues are on a background core: their volumes are opened there on a thread
//! of its own, since an SSD may take its time, before the controller takes them over.
//!
//! ```text
//!  (1) new    --no other ones are being opened--> (2) opening: a thread opens the volumes on the background core
//!  (2) opening --open-->                          (3) the controller's: its sessions and its host are told
//!  (2) opening --cannot be opened-->              (4) inactive, until the subsystem tells of it again
//! ```

use super::device::Controller;
use super::late_volumes::{LateOpening, OpenVolumes};
use super::placement::{Opening, Placement};
use crate::ids::NamespaceId;
use crate::subsystem::ServedNamespace;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Controller {
    /// Takes over namespaces whose volumes are open by now.
    pub(super) fn finish_late_volumes(&mut self) {
        let Some(LateOpening { served, volumes }) = self.late_volumes.opening.take() else { return };
        match volumes.take_if(|_| true) {
            None => self.late_volumes.opening = Some(LateOpening { served, volumes }),
            Some(Ok(open)) => {
                self.change_namespaces(BTreeSet::new(), &served);
                drop(open);
            }
            Some(Err(error)) => {
                tracing::warn!("{}: new namespaces cannot be served: {error}", self.parts.name);
                self.late_volumes.failed.extend(served.iter().map(|served| served.id));
                self.change_namespaces(BTreeSet::new(), &[]);
            }
        }
    }

    /// Leaves new namespaces out of those that are attached, unless their volumes are `open` or can be opened by this
    /// thread; has them opened. `told` are those of which the subsystem tells.
    pub(super) fn leave_out_late(
        &mut self,
        told: &BTreeSet<NamespaceId>,
        attached: &mut BTreeMap<NamespaceId, Arc<ServedNamespace>>,
        open: &[Arc<ServedNamespace>],
    ) {
        if matches!(self.placement, Placement::OnCores) {
            return;
        }
        self.late_volumes.failed.retain(|id| !told.contains(id));
        let is_known = |served: &Arc<ServedNamespace>| {
            let own = self.namespaces.get(&served.id);
            own.into_iter().chain(open).any(|known| Arc::ptr_eq(known, served))
        };
        let late: Vec<_> = attached.values().filter(|served| !is_known(served)).cloned().collect();
        late.iter().for_each(|served| drop(attached.remove(&served.id)));
        self.open_late(late);
    }

    /// (1) to (2)
    fn open_late(&mut self, mut served: Vec<Arc<ServedNamespace>>) {
        served.retain(|served| !self.late_volumes.failed.contains(&served.id));
        let Some(core) = self.mounts.background() else { return };
        if served.is_empty() || self.late_volumes.opening.is_some() {
            return;
        }
        let theirs = served.clone();
        let open = move || OpenVolumes::open(core, &theirs);
        let volumes = Opening::start(open, self.parts.bell.clone());
        self.late_volumes.opening = Some(LateOpening { served, volumes });
    }
}
