//! Names and UUIDs of block devices: one name space.
//!
//! Invariants
//! - A text means one device, whether it is its name or any spelling of its UUID.
//! - A name that spells a UUID takes that UUID, and a UUID takes every name that spells it.

use luge_rpc::RpcError;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A word that somebody may call a device by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Identifier {
    Uuid(Uuid),
    Name(String),
}

impl Identifier {
    /// Reads a word: one that spells a UUID, in either case, with or without hyphens, is that UUID.
    fn of(word: &str) -> Self {
        Uuid::try_parse(word).map_or_else(|_| Self::Name(word.into()), Self::Uuid)
    }
}

/// Owners of names and UUIDs.
#[derive(Default)]
pub struct Identifiers(BTreeMap<Identifier, String>);

impl Identifiers {
    /// Checks that no other device has a name or a UUID.
    ///
    /// # Errors
    /// -17 with the device that has it.
    pub fn check_free(&self, name: &str, uuid: Uuid) -> Result<(), RpcError> {
        if let Some(owner) = self.owner(name) {
            return Err(taken(&format_args!("the name {name}"), owner));
        }
        match self.0.get(&Identifier::Uuid(uuid)) {
            Some(owner) => Err(taken(&format_args!("UUID {uuid}"), owner)),
            None => Ok(()),
        }
    }

    /// Gives a device its name and its UUID.
    pub fn add(&mut self, name: &str, uuid: Uuid) {
        for identifier in [Identifier::of(name), Identifier::Uuid(uuid)] {
            self.0.insert(identifier, name.into());
        }
    }

    /// Frees the name and the UUID of a device.
    pub fn remove(&mut self, name: &str, uuid: Uuid) {
        for identifier in [Identifier::of(name), Identifier::Uuid(uuid)] {
            self.0.remove(&identifier);
        }
    }

    /// Name of the device that a word means.
    #[must_use]
    pub fn owner(&self, word: &str) -> Option<&str> {
        self.0.get(&Identifier::of(word)).map(String::as_str)
    }
}

fn taken(what: &dyn std::fmt::Display, owner: &str) -> RpcError {
    RpcError::exists(format_args!(
        "{what} means bdev {owner}, which already exists: delete that one first, or take another"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: Uuid = Uuid::from_u128(0xabcd);

    #[test]
    fn every_spelling_of_a_uuid_means_its_device_and_no_other_word_does() {
        let mut identifiers = Identifiers::default();
        identifiers.add("a", UUID);
        let plain = UUID.simple().to_string();
        for word in ["a", &plain, &plain.to_uppercase(), &UUID.to_string(), &UUID.urn().to_string()] {
            assert_eq!(identifiers.owner(word), Some("a"), "{word}");
        }
        for word in ["", "A", "abcd", &plain[1..], &format!("{plain}0"), &format!(" {plain}")] {
            assert_eq!(identifiers.owner(word), None, "{word}");
        }
    }

    #[test]
    fn what_was_taken_twice_over_is_free_after_one_removal() {
        let mut identifiers = Identifiers::default();
        let name = UUID.to_string();
        identifiers.add(&name, UUID);
        assert!(identifiers.check_free("b", UUID).is_err());
        identifiers.remove(&name, UUID);
        assert!(identifiers.check_free(&name, UUID).is_ok());
    }
}
