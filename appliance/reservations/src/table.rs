//! The state of a volume with all who use it.

use crate::Identity;
use crate::action::{Action, Notification, Outcome, Refused};
use crate::change::Receipt;
use crate::report::{Hold, Port, Report};
use crate::rights::RightsWord;
use crate::site::{Listener, Site};
use crate::state::State;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A nexus of the volume.
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) identity: Option<Identity>,
    pub(crate) port: Port,
    pub(crate) rights: Arc<RightsWord>,
    pub(crate) listener: Arc<dyn Listener>,
}

/// A site where the volume is served.
struct Served {
    id: u64,
    /// The nexus that uses it; none for those who cannot register.
    nexus: Option<u64>,
    site: Arc<dyn Site>,
}

/// State, nexuses and sites of a volume.
#[derive(Default)]
pub(crate) struct Table {
    state: State,
    members: Vec<Member>,
    sites: Vec<Served>,
    /// Rights of all who cannot register.
    strangers: Arc<RightsWord>,
    last_id: u64,
}

impl Table {
    /// A number that no nexus and no site has.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    pub(crate) fn strangers(&self) -> &Arc<RightsWord> {
        &self.strangers
    }

    pub(crate) fn add_member(&mut self, member: Member) {
        member.rights.store(self.state.rights(member.identity));
        self.members.push(member);
    }

    pub(crate) fn remove_member(&mut self, id: u64) {
        self.members.retain(|member| member.id != id);
    }

    pub(crate) fn add_site(&mut self, nexus: Option<u64>, site: Arc<dyn Site>) -> u64 {
        let id = self.next_id();
        self.sites.push(Served { id, nexus, site });
        id
    }

    pub(crate) fn remove_site(&mut self, id: u64) {
        self.sites.retain(|served| served.id != id);
    }

    /// Says who uses a nexus.
    pub(crate) fn identify(&mut self, id: u64, identity: Option<Identity>) {
        let Self { members, state, .. } = self;
        for member in members.iter_mut().filter(|member| member.id == id) {
            member.identity = identity;
            member.rights.store(state.rights(identity));
        }
    }

    /// Does a command of a nexus, and gives a receipt to all for whom the command waits.
    pub(crate) fn apply(&mut self, nexus: u64, action: Action, receipt: &Receipt) -> Result<(), Refused> {
        let identity = self.members.iter().find(|member| member.id == nexus).and_then(|found| found.identity);
        let Outcome { notifications, aborted } =
            self.state.apply(identity.ok_or(Refused::NoIdentity)?, action)?;
        self.store_rights();
        notifications.into_iter().for_each(|notification| self.notify(notification));
        self.ask_cores(receipt);
        self.drain(&aborted, receipt);
        Ok(())
    }

    /// Whether the initiator of a nexus is registered.
    pub(crate) fn is_registered(&self, nexus: u64) -> bool {
        let found = self.members.iter().find(|member| member.id == nexus);
        found.and_then(|member| self.state.key_of(member.identity?)).is_some()
    }

    /// Who holds the volume for itself alone, as the initiator of a nexus sees it.
    pub(crate) fn hold(&self, nexus: u64) -> Hold {
        let identity = self.members.iter().find(|member| member.id == nexus).and_then(|found| found.identity);
        match self.state.sole_user() {
            None => Hold::None,
            own if own == identity => Hold::Own,
            Some(_) => Hold::Another,
        }
    }

    /// Registrants with the ports of their nexuses, and the reservation.
    pub(crate) fn report(&self) -> Report {
        let mut report = self.state.report();
        for registrant in &mut report.registrants {
            registrant.ports = self.of(registrant.identity).map(|member| member.port).collect();
        }
        report
    }

    fn of(&self, identity: Identity) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.identity == Some(identity))
    }

    fn store_rights(&self) {
        self.strangers.store(self.state.rights(None));
        for member in &self.members {
            member.rights.store(self.state.rights(member.identity));
        }
    }

    fn notify(&self, Notification { to, notice }: Notification) {
        self.of(to).for_each(|member| member.listener.notify(notice));
    }

    /// Asks every core, once, also where this command changed nothing: one before it may still be on its way.
    fn ask_cores(&self, receipt: &Receipt) {
        let mut asked = BTreeSet::new();
        for served in self.sites.iter().filter(|served| asked.insert(served.site.core())) {
            served.site.obey(receipt.another());
        }
    }

    /// Waits for the requests of all nexuses of the victims.
    fn drain(&self, victims: &[Identity], receipt: &Receipt) {
        let nexuses = victims.iter().flat_map(|&victim| self.of(victim)).map(|member| Some(member.id));
        let nexuses: Vec<Option<u64>> = nexuses.collect();
        for served in self.sites.iter().filter(|served| nexuses.contains(&served.nexus)) {
            served.site.drain(receipt.another());
        }
    }
}
