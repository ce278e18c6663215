//! Things by name, where making and unmaking them takes time.
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

/// The longest name.
const NAME_BYTES: usize = 128;

enum Place<T> {
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
}

impl Names {
    fn may_have(self, character: char) -> bool {
        let breaks = character.is_whitespace() || matches!(character, '/' | ',' | '"' | '\\');
        !character.is_control() && (self == Self::Any || !breaks)
    }

    fn allow(self, name: &str) -> bool {
        let is_dots = matches!(name, "." | "..");
        (1..=NAME_BYTES).contains(&name.len()) && name.chars().all(|c| self.may_have(c)) && !is_dots
    }

    /// Characters that names must not have, for messages.
    const fn exclusions(self) -> &'static str {
        match self {
            Self::Any => "control characters",
            Self::OfFile => "spaces and any of / , \" \\",
        }
    }
}

/// Things of one kind, by name.
pub struct Table<T> {
    kind: &'static str,
    lister: &'static str,
    names: Names,
    places: BTreeMap<String, Place<T>>,
}

impl<T> Table<T> {
    /// An empty table; errors say `kind`, and `lister`, the method that lists those there are.
    #[must_use]
    pub const fn new(kind: &'static str, lister: &'static str, names: Names) -> Self {
        Self { kind, lister, names, places: BTreeMap::new() }
    }

    /// Takes a name for something that is being made.
    ///
    /// # Errors
    /// -22 if it is not a name, -17 if it is taken.
    pub fn reserve(&mut self, name: &str) -> Result<(), RpcError> {
        self.check_free(name)?;
        self.places.insert(name.into(), Place::Coming);
        Ok(())
    }

    /// Whether a name could be reserved.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub fn check_free(&self, name: &str) -> Result<(), RpcError> {
        self.check_name(name)?;
        match self.places.get(name) {
            Some(_) => Err(RpcError::exists(format_args!(
                "{} {name} already exists: delete it first, or take another name",
                self.kind
            ))),
            None => Ok(()),
        }
    }

    /// It is made.
    pub fn put(&mut self, name: &str, thing: T) {
        self.places.insert(name.into(), Place::Here(thing));
    }

    /// It could not be made, or it is gone: the name is free again.
    pub fn release(&mut self, name: &str) {
        self.places.remove(name);
    }

    /// Takes it out; the name stays taken until `release`.
    ///
    /// # Errors
    /// -19 if it is not there.
    pub fn take(&mut self, name: &str) -> Result<T, RpcError> {
        match self.places.get_mut(name) {
            Some(place @ Place::Here(_)) => match std::mem::replace(place, Place::Leaving) {
                Place::Here(thing) => Ok(thing),
                Place::Coming | Place::Leaving => Err(self.absent(name)),
            },
            _ => Err(self.absent(name)),
        }
    }

    /// The one of that name.
    ///
    /// # Errors
    /// -19 if it is not there.
    pub fn get(&self, name: &str) -> Result<&T, RpcError> {
        match self.places.get(name) {
            Some(Place::Here(thing)) => Ok(thing),
            _ => Err(self.absent(name)),
        }
    }

    /// The one of that name, to change it.
    ///
    /// # Errors
    /// -19 if it is not there.
    pub fn get_mut(&mut self, name: &str) -> Result<&mut T, RpcError> {
        match self.places.get_mut(name) {
            Some(Place::Here(thing)) => Ok(thing),
            _ => Err(absent(self.kind, self.lister, name)),
        }
    }

    /// All that are there, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.places.iter().filter_map(|(name, place)| match place {
            Place::Here(thing) => Some((name.as_str(), thing)),
            Place::Coming | Place::Leaving => None,
        })
    }

    /// Whether nothing is being made or unmade.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.places.values().all(|place| matches!(place, Place::Here(_)))
    }

    /// Takes all that are there out, and frees their names.
    pub fn drain(&mut self) -> Vec<T> {
        let places = std::mem::take(&mut self.places);
        let is_here = |place| match place {
            Place::Here(thing) => Some(thing),
            Place::Coming | Place::Leaving => None,
        };
        places.into_values().filter_map(is_here).collect()
    }

    fn check_name(&self, name: &str) -> Result<(), RpcError> {
        if self.names.allow(name) {
            return Ok(());
        }
        let (kind, shown, not) = (self.kind, shown(name), self.names.exclusions());
        Err(RpcError::invalid(format_args!(
            "{shown:?} is not a name for a {kind}: 1 to {NAME_BYTES} bytes without {not}"
        )))
    }

    fn absent(&self, name: &str) -> RpcError {
        match self.places.get(name) {
            Some(Place::Coming) => {
                RpcError::no_device(format_args!("{} {name} is being made: try again", self.kind))
            }
            Some(Place::Leaving) => {
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
        assert_eq!((table.get("a").unwrap(), table.iter().count(), table.is_settled()), (&7, 1, true));
        assert_eq!(table.take("a").unwrap(), 7);
        assert_eq!(table.take("a").unwrap_err().message, "No such device: thing a is going away: try again");
        assert_eq!((table.reserve("a").is_err(), table.iter().count()), (true, 0));
        table.release("a");
        table.reserve("a").unwrap();
        table.put("a", 8);
        assert_eq!((table.drain(), table.reserve("a").is_ok()), (vec![8], true));
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
        assert!(table.reserve("vhost.0-Größe_1").is_ok() && table.reserve(&"x".repeat(128)).is_ok());
    }
}
