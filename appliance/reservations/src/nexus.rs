//! Ways of initiators to a volume.

use crate::action::{Action, Refused};
use crate::change::{Change, Waker};
use crate::report::{Hold, Port, Report};
use crate::reservations::Reservations;
use crate::rights::RightsWord;
use crate::site::{Listener, Site};
use crate::table::Member;
use crate::{Identity, Rights};
use std::sync::Arc;
use std::thread;

/// Description of a nexus.
pub struct NexusConfig {
    /// Who uses it; none as long as that is not known. Such a one cannot register.
    pub identity: Option<Identity>,
    /// Port to which the initiator is connected.
    pub port: Port,
    /// Owner, which gets the notices to the initiator.
    pub listener: Arc<dyn Listener>,
}

/// A way of one initiator to a volume. Its end leaves the registration as it is.
pub struct Nexus {
    reservations: Arc<Reservations>,
    id: u64,
    rights: Arc<RightsWord>,
}

impl Nexus {
    /// Adds a nexus to a volume.
    #[must_use]
    pub fn new(reservations: &Arc<Reservations>, config: NexusConfig) -> Self {
        let NexusConfig { identity, port, listener } = config;
        let rights = Arc::<RightsWord>::default();
        let mut table = reservations.table();
        let id = table.next_id();
        table.add_member(Member { id, identity, port, rights: rights.clone(), listener });
        drop(table);
        Self { reservations: reservations.clone(), id, rights }
    }

    /// Says who uses the nexus from now on.
    pub fn identify(&self, identity: Option<Identity>) {
        self.reservations.table().identify(self.id, identity);
    }

    /// Does a command of the initiator, and returns without waiting for any core: `waker` is called when the change
    /// is over.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then. The waker is called all the same.
    pub fn begin(&self, action: Action, waker: Waker) -> Result<Change, Refused> {
        self.reservations.begin(self.id, action, waker)
    }

    /// Does a command of the initiator. Blocks until every core obeys, and if it aborts requests, as long as the
    /// slowest SSD takes.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn act(&self, action: Action) -> Result<(), Refused> {
        let waiting = thread::current();
        let change = self.begin(action, Arc::new(move || waiting.unpark()))?;
        while !change.is_over() {
            thread::park();
        }
        Ok(())
    }

    /// Registrants and reservation of the volume at this moment.
    #[must_use]
    pub fn report(&self) -> Report {
        self.reservations.report()
    }

    /// Whether the initiator is registered at this moment.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.reservations.table().is_registered(self.id)
    }

    /// Who holds the volume for itself alone at this moment.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.reservations.table().hold(self.id)
    }

    /// Rights of the initiator at this moment.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.rights.load()
    }

    /// The word that cores load.
    #[must_use]
    pub fn rights_word(&self) -> &Arc<RightsWord> {
        &self.rights
    }

    /// Reservations of the volume.
    #[must_use]
    pub fn reservations(&self) -> &Arc<Reservations> {
        &self.reservations
    }
}

impl Drop for Nexus {
    fn drop(&mut self) {
        self.reservations.table().remove_member(self.id);
    }
}

/// A site that changes wait for, as long as this is kept.
pub struct Serving {
    reservations: Arc<Reservations>,
    id: u64,
}

impl Serving {
    /// Adds a site that is about to serve the volume, before its first request. `nexus` uses it; none is one of
    /// those who cannot register.
    #[must_use]
    pub fn new(reservations: &Arc<Reservations>, nexus: Option<&Nexus>, site: Arc<dyn Site>) -> Self {
        let id = reservations.table().add_site(nexus.map(|nexus| nexus.id), site);
        Self { reservations: reservations.clone(), id }
    }
}

impl Drop for Serving {
    /// Removes the site: no change asks it from now on. What was asked before has been sent.
    fn drop(&mut self) {
        self.reservations.table().remove_site(self.id);
    }
}
