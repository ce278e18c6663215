//! The page that an Identify command asks for.

use super::controller::{controller_page, nvm_controller_page};
use super::lists::{NamespacesAbove, combinations, controller_list, namespace_list};
use super::namespace::{descriptors, independent_page, namespace_page};
use crate::admin::dispatch::high;
use crate::admin::outcome::{INVALID_FIELD, INVALID_NAMESPACE, Outcome, Reply};
use crate::commands::CommandStatus;
use crate::controller::Controller;
use crate::ids::NamespaceId;
use crate::subsystem::ServedNamespace;
use luge_spec::nvme::{Cns, SubmissionEntry};
use std::sync::Arc;
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// CSI of the NVM command set.
const NVM: u32 = 0;

/// A page of 4096 bytes.
pub(super) type Page = Box<[u8]>;

/// Bytes of all pages.
const PAGE_BYTES: usize = 4096;

/// A page that has no information: success, and zeroes.
fn zeroes() -> Page {
    vec![0; PAGE_BYTES].into()
}

/// The bytes of a structure, as a page.
fn page(of: &(impl IntoBytes + Immutable)) -> Page {
    of.as_bytes().into()
}

impl Controller {
    /// Identify.
    pub(in crate::admin) fn identify(&self, entry: &SubmissionEntry) -> Reply {
        let page = self.identify_page(entry)?;
        self.to_host(entry, &page)?;
        Ok(Outcome::DONE)
    }

    fn identify_page(&self, entry: &SubmissionEntry) -> Result<Page, CommandStatus> {
        let [cdw10, cdw11, ..] = entry.cdw10;
        let id = NamespaceId(entry.namespace);
        let (cns, command_set) = (Cns(cdw10.to_le_bytes()[0]), cdw11 >> 24);
        match cns {
            Cns::NAMESPACE => self.namespace(id, Scope::Attached),
            Cns::CONTROLLER => Ok(page(&controller_page(self))),
            Cns::ACTIVE_NAMESPACES => self.active_namespaces(id),
            Cns::NAMESPACE_DESCRIPTORS => Ok(page(&descriptors(self.active(id)?))),
            Cns::INDEPENDENT_NAMESPACE => self.independent_namespace(id),
            Cns::ALLOCATED_NAMESPACES => self.allocated_namespaces(id),
            Cns::ALLOCATED_NAMESPACE => self.namespace(id, Scope::Subsystem),
            Cns::NAMESPACE_CONTROLLERS => self.controllers_of(id, high(cdw10)),
            Cns::CONTROLLERS => {
                Ok(page(&controller_list(&self.parts.subsystem.controller_list(), high(cdw10))))
            }
            Cns::COMMAND_SET_COMBINATIONS => Ok(page(&combinations())),
            _ if command_set != NVM => Err(INVALID_FIELD),
            // Those below have a command set. The NVM command set has no page of its own of a namespace.
            Cns::COMMAND_SET_NAMESPACE => self.check_known(id).map(|()| zeroes()),
            Cns::COMMAND_SET_CONTROLLER => Ok(page(&nvm_controller_page())),
            Cns::COMMAND_SET_ACTIVE_NAMESPACES => self.active_namespaces(id),
            Cns::COMMAND_SET_ALLOCATED_NAMESPACES => self.allocated_namespaces(id),
            Cns::COMMAND_SET_ALLOCATED_NAMESPACE => self.check_known(id).map(|()| zeroes()),
            _ => Err(INVALID_FIELD),
        }
    }

    /// A namespace: zeroes where there is none with an identifier that there could be.
    fn namespace(&self, id: NamespaceId, scope: Scope) -> Result<Page, CommandStatus> {
        if id == NamespaceId::ALL && scope == Scope::Attached {
            return Ok(page(&luge_spec::nvme::IdentifyNamespace::new_zeroed()));
        }
        self.check_known(id)?;
        let served = match scope {
            Scope::Attached => self.namespaces().get(&id).cloned(),
            Scope::Subsystem => self.parts.subsystem.namespace(id),
        };
        Ok(served.map_or_else(zeroes, |served| page(&namespace_page(&served, &self.parts.config))))
    }

    fn independent_namespace(&self, id: NamespaceId) -> Result<Page, CommandStatus> {
        self.check_known(id)?;
        Ok(self
            .namespaces()
            .get(&id)
            .map_or_else(zeroes, |served| page(&independent_page(served, &self.parts.config))))
    }

    /// Checks that a namespace could have an identifier.
    pub(in crate::admin) fn check_known(&self, id: NamespaceId) -> Result<(), CommandStatus> {
        let is_known = (1..=self.parts.subsystem.namespaces_max()).contains(&id.0);
        if is_known { Ok(()) } else { Err(INVALID_NAMESPACE) }
    }

    /// A namespace that is attached.
    ///
    /// # Errors
    /// The status of a command to another one: an identifier that no namespace has, or can have.
    pub(crate) fn active(&self, id: NamespaceId) -> Result<&Arc<ServedNamespace>, CommandStatus> {
        self.check_known(id)?;
        self.namespaces().get(&id).ok_or(INVALID_FIELD)
    }

    fn active_namespaces(&self, above: NamespaceId) -> Result<Page, CommandStatus> {
        let ids: Vec<NamespaceId> = self.namespaces().keys().copied().collect();
        Ok(page(&namespace_list(&ids, NamespacesAbove::new(above)?)))
    }

    fn allocated_namespaces(&self, above: NamespaceId) -> Result<Page, CommandStatus> {
        let ids = self.parts.subsystem.allocated();
        Ok(page(&namespace_list(&ids, NamespacesAbove::new(above)?)))
    }

    fn controllers_of(&self, id: NamespaceId, first: u16) -> Result<Page, CommandStatus> {
        self.check_known(id)?;
        Ok(page(&controller_list(&self.parts.subsystem.attached_to(id), first)))
    }
}

/// Namespaces that a page may be of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Attached to the controller.
    Attached,
    /// Any of the subsystem.
    Subsystem,
}
