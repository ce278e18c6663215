//! Lists of namespaces, controllers and command sets.

use crate::admin::outcome::INVALID_NAMESPACE;
use crate::commands::CommandStatus;
use crate::ids::NamespaceId;
use luge_spec::nvme::{CommandSetCombinations, ControllerList, NamespaceList, command_sets};

/// Identifier above which namespaces are listed.
pub(super) struct NamespacesAbove(NamespaceId);

impl NamespacesAbove {
    /// Checks NSID. Base 2.0, clause 5.17.2.3: FFFFFFFEh and FFFFFFFFh have none above them.
    pub(super) fn new(id: NamespaceId) -> Result<Self, CommandStatus> {
        if id.0 >= u32::MAX.wrapping_sub(1) { Err(INVALID_NAMESPACE) } else { Ok(Self(id)) }
    }
}

/// The namespaces above an identifier, of those that are in order.
pub(super) fn namespace_list(ids: &[NamespaceId], above: NamespacesAbove) -> NamespaceList {
    let mut list = NamespaceList([0; 1024]);
    let listed = ids.iter().filter(|&&id| id > above.0);
    list.0.iter_mut().zip(listed).for_each(|(place, id)| *place = id.0);
    list
}

/// The controllers from an identifier on, of those that are in order.
pub(super) fn controller_list(ids: &[u16], first: u16) -> ControllerList {
    let mut list = ControllerList { count: 0, ids: [0; 2047] };
    let listed = ids.iter().filter(|&&id| id >= first);
    for (place, id) in list.ids.iter_mut().zip(listed) {
        *place = *id;
        list.count = list.count.saturating_add(1);
    }
    list
}

/// The one combination of command sets: the NVM command set.
pub(super) fn combinations() -> CommandSetCombinations {
    let mut combinations = CommandSetCombinations([0; 512]);
    let [first, ..] = &mut combinations.0;
    *first = command_sets::NVM.into();
    combinations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn above(id: u32) -> NamespacesAbove {
        NamespacesAbove::new(NamespaceId(id)).unwrap()
    }

    #[test]
    fn namespaces_are_listed_above_an_identifier() {
        let ids = [1, 3, 7].map(NamespaceId);
        assert_eq!(namespace_list(&ids, above(0)).0[..4], [1, 3, 7, 0]);
        assert_eq!(namespace_list(&ids, above(3)).0[..2], [7, 0]);
        assert_eq!(namespace_list(&ids, above(0xffff_fffd)).0[0], 0);
        assert!(NamespacesAbove::new(NamespaceId(0xffff_fffe)).is_err());
        assert!(NamespacesAbove::new(NamespaceId::ALL).is_err());
    }

    #[test]
    fn a_list_of_more_than_1024_namespaces_is_cut() {
        let ids: Vec<NamespaceId> = (1..=1500).map(NamespaceId).collect();
        assert_eq!(namespace_list(&ids, above(0)).0[1023], 1024);
        assert_eq!(namespace_list(&ids, above(1024)).0[..2], [1025, 1026]);
    }

    #[test]
    fn controllers_are_listed_from_an_identifier_on_and_counted() {
        let list = controller_list(&[1, 2, 9], 2);
        assert_eq!(list.count, 2);
        assert_eq!(list.ids[..3], [2, 9, 0]);
    }
}
