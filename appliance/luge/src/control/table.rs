//! Objects by name, where making and deleting them takes time.
//!
//! ```text
//!   free --(1)--> coming --(2)--> here --(4)--> leaving --(5)--> free
//!                    \---(3)--> free
//! ```
//! 1. `reserve`; 2. `put`; 3. `release`, it could not be made; 4. `take`; 5. `release`.
//!
//! Invariant: from (1) to (3) or (5) nobody else gets the name.

use luge_rpc::RpcError;
use std::collections::BTreeMap;

/// The longest name of most kinds, and the part of any that messages show.
const NAME_BYTES: usize = 128;

/// The longest NVMe Qualified Name.
const NQN_BYTES: usize = 223;

/// Object that has a name.
enum Presence<T> {
    Coming,
    Here(T),
    Leaving,
}

/// Characters that names of a kind may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// Any but control characters: clients name block devices after paths.
    Any,
    /// Names that do not break a path, a mask or a list: a socket has the name.
    OfFile,
    /// NVMe Qualified Names, whose form is checked elsewhere.
    Qualified,
}

impl Names {
    fn may_have(self, character: char) -> bool {
        let breaks = character.is_whitespace() || matches!(character, '/' | ',' | '"' | '\\');
        !character.is_control() && (self != Self::OfFile || !breaks)
    }

    const fn bytes_max(self) -> usize {
        match self {
            Self::Any | Self::OfFile => NAME_BYTES,
            Self::Qualified => NQN_BYTES,
        }
    }

    fn allow(self, name: &str) -> bool {
        let is_dots = matches!(name, "." | "..");
        (1..=self.bytes_max()).contains(&name.len()) && name.chars().all(|c| self.may_have(c)) && !is_dots
    }

    /// Characters that names must not have, for messages.
    const fn exclusions(self) -> &'static str {
        match self {
            Self::Any | Self::Qualified => "control characters",
            Self::OfFile => "spaces and any of / , \" \\",
        }
    }
}

/// Objects of one kind, by name.
pub struct Table<T> {
    kind: &'static str,
    lister: &'static str,
    names: Names,
    objects: BTreeMap<String, Presence<T>>,
}

impl<T> Table<T> {
    /// An empty table; errors say `kind`, and `lister`, the method that lists those there are.
    #[must_use]
    pub const fn new(kind: &'static str, lister: &'static str, names: Names) -> Self {
        Self { kind, lister, names, objects: BTreeMap::new() }
    }

    /// Reserves a name for an object that is being made.
    ///
    /// # Errors
    /// -22 if it is not a name, -17 if it is taken.
    pub fn reserve(&mut self, name: &str) -> Result<(), RpcError> {
        self.check_free(name)?;
        self.objects.insert(name.into(), Presence::Coming);
        Ok(())
    }

    /// Whether a name could be reserved.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub fn check_free(&self, name: &str) -> Result<(), RpcError> {
        self.check_name(name)?;
        match self.objects.get(name) {
            Some(_) => Err(RpcError::exists(format_args!(
                "{} {name} already exists: delete it first, or take another name",
                self.kind
            ))),
            None => Ok(()),
        }
    }

    /// Adds the object that was made: (2).
    pub fn put(&mut self, name: &str, object: T) {
        self.objects.insert(name.into(), Presence::Here(object));
    }

    /// Frees a name: its object could not be made, or is gone.
    pub fn release(&mut self, name: &str) {
        self.objects.remove(name);
    }

    /// Removes an object; the name stays reserved until `release`.
    ///
    /// # Errors
    /// -19 if it is not there.
    pub fn take(&mut self, name: &str) -> Result<T, RpcError> {
        match self.objects.get_mut(name) {
            Some(presence @ Presence::Here(_)) => match std::mem::replace(presence, Presence::Leaving) {
                Presence::Here(object) => Ok(object),
                Presence::Coming | Presence::Leaving => Err(self.absent(name)),
            },
            _ => Err(self.absent(name)),
        }
    }

    /// The object of that name.
    ///
    /// # Errors
    /// -19 if it is not there.
    pub fn get(&self, name: &str) -> Result<&T, RpcError> {
        match self.objects.get(name) {
            Some(Presence::Here(object)) => Ok(object),
            _ => Err(self.absent(name)),
        }
    }

    /// The object of that name, to change it.
    ///
    /// # Errors
    /// -19 if it is not there.
    pub fn get_mut(&mut self, name: &str) -> Result<&mut T, RpcError> {
        match self.objects.get_mut(name) {
            Some(Presence::Here(object)) => Ok(object),
            _ => Err(absent(self.kind, self.lister, name)),
        }
    }

    /// All objects, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.objects.iter().filter_map(|(name, presence)| match presence {
            Presence::Here(object) => Some((name.as_str(), object)),
            Presence::Coming | Presence::Leaving => None,
        })
    }

    /// Whether no object is being made or deleted.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.objects.values().all(|presence| matches!(presence, Presence::Here(_)))
    }

    /// Removes all objects that are here; their names stay reserved until `release`.
    pub fn take_all(&mut self) -> Vec<(String, T)> {
        let names: Vec<String> = self.iter().map(|(name, _)| name.to_owned()).collect();
        names.into_iter().filter_map(|name| Some((name.clone(), self.take(&name).ok()?))).collect()
    }

    fn check_name(&self, name: &str) -> Result<(), RpcError> {
        if self.names.allow(name) {
            return Ok(());
        }
        let (kind, shown, not) = (self.kind, shown(name), self.names.exclusions());
        Err(RpcError::invalid(format_args!(
            "{shown:?} is not a name for a {kind}: 1 to {} bytes without {not}",
            self.names.bytes_max()
        )))
    }

    fn absent(&self, name: &str) -> RpcError {
        match self.objects.get(name) {
            Some(Presence::Coming) => {
                RpcError::no_device(format_args!("{} {name} is being made: try again", self.kind))
            }
            Some(Presence::Leaving) => {
                RpcError::no_device(format_args!("{} {name} is going away: try again", self.kind))
            }
            _ => absent(self.kind, self.lister, name),
        }
    }
}

fn absent(kind: &str, lister: &str, name: &str) -> RpcError {
    RpcError::no_device(format_args!("there is no {kind} {}: {lister} lists those there are", shown(name)))
}

fn shown(name: &str) -> String {
    name.chars().take(NAME_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_from_its_reservation_to_its_release() {
        let mut table = Table::new("thing", "list_things", Names::Any);
        table.reserve("a").unwrap();
        assert_eq!(table.reserve("a").unwrap_err().code.0, -17);
        assert_eq!(table.get("a").unwrap_err().message, "No such device: thing a is being made: try again");
        assert!(!table.is_settled());
        table.put("a", 7);
        assert_eq!(table.get("a").unwrap(), &7);
        assert_eq!(table.iter().count(), 1);
        assert!(table.is_settled());
        assert_eq!(table.take("a").unwrap(), 7);
        assert_eq!(table.take("a").unwrap_err().message, "No such device: thing a is going away: try again");
        assert!(table.reserve("a").is_err());
        assert_eq!(table.iter().count(), 0);
        table.release("a");
        table.reserve("a").unwrap();
        table.put("a", 8);
    }

    #[test]
    fn all_that_is_here_is_taken_and_keeps_its_names_until_they_are_released() {
        let mut table = Table::new("thing", "list_things", Names::Any);
        for name in ["a", "b", "coming"] {
            table.reserve(name).unwrap();
        }
        table.put("a", 1);
        table.put("b", 2);
        assert_eq!(table.take_all(), [("a".into(), 1), ("b".into(), 2)]);
        assert_eq!(table.take_all(), []);
        assert!(table.reserve("a").is_err());
        ["a", "b", "coming"].into_iter().for_each(|name| table.release(name));
        assert!(table.is_settled());
        assert!(table.reserve("a").is_ok());
    }

    #[test]
    fn a_name_that_is_only_looked_up_may_have_all_but_control_characters() {
        let mut table = Table::<()>::new("thing", "list_things", Names::Any);
        for name in ["", ".", "..", "a\n", "\0", "a\u{7f}", &"x".repeat(129)] {
            assert_eq!(table.reserve(name).unwrap_err().code.0, -22, "{name:?}");
        }
        for name in ["FILE:/mnt/a b", "lvs/vol", " ", "a,b", "a\"", "\\", "/", "Größe"] {
            assert!(table.reserve(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn what_would_break_a_path_or_a_list_is_no_name_of_a_file() {
        let mut table = Table::<()>::new("thing", "list_things", Names::OfFile);
        for name in ["", ".", "..", "a/b", "a b", "a,b", "a\n", "\0", "a\"", &"x".repeat(129)] {
            assert_eq!(table.reserve(name).unwrap_err().code.0, -22, "{name:?}");
        }
        for name in ["vhost.0-Größe_1", &"x".repeat(128)] {
            assert!(table.reserve(name).is_ok(), "{name:?}");
        }
    }
}
