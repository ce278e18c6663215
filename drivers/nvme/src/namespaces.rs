//! Namespaces of a controller: which there are, and which of them can be used.
//!
//! Path: none; bring-up, and after each reset to see that each is still what it was.
//!
//! Invariants
//! - A namespace that cannot be identified is left out; the others are used.
//! - Reading the list of active namespaces ends, whatever the SSD answers, and so does identifying each.
//!
//! Not here: the conditions for using a namespace (`format`).

use crate::ErrorKind;
use crate::admin::Admin;
use crate::format::{FormatError, NamespaceId, NamespaceInfo, RefusedNamespace};
use crate::identity::{CommandSets, Discovery, refused_is_none};
use crate::quirks::Quirk;
use luge_spec::nvme::{Cns, IdentifyNamespace, NamespaceDescriptors, NamespaceList, StatusCode, Version};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The most namespaces of a controller that are identified.
const NAMESPACES_MAX: usize = 1024;

/// The largest identifier of a namespace; the one above means all namespaces.
const LAST_ID: u32 = u32::MAX - 1;

/// Namespaces found at bring-up.
#[derive(Default)]
pub(crate) struct Namespaces {
    pub usable: Vec<NamespaceInfo>,
    pub refused: Vec<RefusedNamespace>,
}

/// Reason for which a list of active namespaces is ignored.
#[derive(Debug, Error)]
enum ListError {
    #[error("the SSD does not list its active namespaces: {0}")]
    Refused(StatusCode),
    #[error("the SSD lists no active namespace")]
    Empty,
    #[error("the SSD lists namespace {id}, but says that its last is {last} (NN)")]
    BeyondLast { id: u32, last: u32 },
}

impl Namespaces {
    /// Finds the namespaces of a controller. The time for all of them together is limited: of a slow SSD, those
    /// are used that it has identified by then.
    pub(crate) fn find(admin: &mut Admin, discovery: &Discovery) -> Result<Self, ErrorKind> {
        let deadline = Deadline::new(admin.command_timeout());
        let (ids, absent) = candidates(admin, discovery, &deadline)?;
        let mut found = Self::default();
        for id in ids {
            if deadline.has_passed() {
                let controller = admin.registers().name();
                tracing::warn!(controller, "the SSD is slow: namespaces from {id} on are not used");
                break;
            }
            match examine(admin, discovery, NamespaceId(id))? {
                Ok(None) => {}
                Ok(Some(info)) => found.usable.push(info),
                Err(FormatError::Identify(status)) if absent.contains(&status) => {}
                Err(reason) => found.refused.push(RefusedNamespace { id: NamespaceId(id), reason }),
            }
        }
        Ok(found)
    }
}

/// Examines a known namespace: whether requests for it can go on.
pub(crate) fn examine_again(
    admin: &mut Admin,
    discovery: &Discovery,
    known: &NamespaceInfo,
) -> Result<Result<(), FormatError>, ErrorKind> {
    Ok(match examine(admin, discovery, known.id)? {
        Ok(Some(found)) if found.serves_as(known) => Ok(()),
        Err(reason @ FormatError::Identify(_)) => Err(reason),
        Ok(_) | Err(_) => Err(FormatError::Changed),
    })
}

/// Time limit of several commands together.
pub(crate) struct Deadline {
    start: Instant,
    timeout: Duration,
}

impl Deadline {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { start: Instant::now(), timeout }
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.start.elapsed() > self.timeout
    }
}

/// Identifies a namespace; none where no namespace has that identifier.
fn examine(
    admin: &mut Admin,
    discovery: &Discovery,
    id: NamespaceId,
) -> Result<Result<Option<NamespaceInfo>, FormatError>, ErrorKind> {
    let page: IdentifyNamespace = match admin.identify(Cns::NAMESPACE, id.0) {
        Ok(page) => page,
        Err(ErrorKind::Command { status, .. }) => return Ok(Err(FormatError::Identify(status))),
        Err(error) => return Err(error),
    };
    if page.size_blocks == 0 {
        return Ok(Ok(None));
    }
    if discovery.command_sets == CommandSets::Several {
        let list = refused_is_none(admin.identify(Cns::NAMESPACE_DESCRIPTORS, id.0))?;
        match list.as_ref().and_then(NamespaceDescriptors::command_set) {
            Some(0) => {}
            other => return Ok(Err(FormatError::CommandSet(other))),
        }
    }
    Ok(NamespaceInfo::new(id, &page, &discovery.limits).map(Some))
}

/// Statuses that some SSDs return for an identifier without a namespace, instead of a page of zeroes.
const ABSENT: &[StatusCode] = &[StatusCode::INVALID_NAMESPACE, StatusCode::INVALID_FIELD];

/// Identifiers of namespaces that may exist, ascending, and the statuses by which the SSD may say that one does
/// not. Before 1.1 there was no list, and some lists are wrong: then all identifiers up to NN.
fn candidates(
    admin: &mut Admin,
    discovery: &Discovery,
    deadline: &Deadline,
) -> Result<(Vec<u32>, &'static [StatusCode]), ErrorKind> {
    let last = discovery.identity.namespaces_max;
    let has_list = discovery.identity.version >= Version::V1_1;
    if has_list && !admin.registers().quirks().has(Quirk::BasicIdentify) {
        match listed(admin, last, deadline)? {
            Ok(ids) => return Ok((ids, &[])),
            Err(error) => {
                let controller = admin.registers().name();
                let asked = last.min(u32::try_from(NAMESPACES_MAX).unwrap_or(u32::MAX));
                tracing::warn!(controller, %error, "the list is ignored: namespaces 1 to {asked} are asked for");
            }
        }
    }
    Ok(((1..=last).take(NAMESPACES_MAX).collect(), ABSENT))
}

/// Active namespaces by the list of the SSD, or the reason for ignoring that.
fn listed(
    admin: &mut Admin,
    last: u32,
    deadline: &Deadline,
) -> Result<Result<Vec<u32>, ListError>, ErrorKind> {
    let mut found = BTreeSet::new();
    loop {
        let above = found.last().copied().unwrap_or(0);
        let NamespaceList(page) = match admin.identify(Cns::ACTIVE_NAMESPACES, above) {
            Ok(page) => page,
            Err(ErrorKind::Command { status, .. }) => return Ok(Err(ListError::Refused(status))),
            Err(error) => return Err(error),
        };
        let named = page.iter().position(|&id| id == 0).unwrap_or(page.len());
        found.extend(page.iter().take(named));
        match found.last().copied() {
            None => return Ok(Err(ListError::Empty)),
            Some(id) if id > last.min(LAST_ID) => return Ok(Err(ListError::BeyondLast { id, last })),
            Some(id) if id == above || named < page.len() => break,
            Some(_) if found.len() >= NAMESPACES_MAX || deadline.has_passed() => break,
            Some(_) => {}
        }
    }
    if found.len() > NAMESPACES_MAX {
        let controller = admin.registers().name();
        tracing::warn!(controller, "the SSD lists very many namespaces: the first {NAMESPACES_MAX} are used");
    }
    Ok(Ok(found.into_iter().take(NAMESPACES_MAX).collect()))
}
