//! Permissions of a socket: mode and group, read from text.

use std::fmt;
use std::io;
use std::str::FromStr;
use thiserror::Error;

/// File of the system's groups.
const GROUPS: &str = "/etc/group";

/// Mode and group of a socket. Connecting needs write permission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permissions {
    /// Permission bits.
    pub mode: Mode,
    /// Group. `None`: the group of the process, or of a folder with the setgid bit.
    pub group: Option<Group>,
}

impl Permissions {
    /// Mode 0600: the owner and root may connect.
    pub const OWNER: Self = Self { mode: Mode(0o600), group: None };
    /// Mode 0660: the owner, the group and root may connect.
    pub const GROUP: Self = Self { mode: Mode(0o660), group: None };

    /// Replaces mode and group where they are given.
    #[must_use]
    pub fn or(self, mode: Option<Mode>, group: Option<Group>) -> Self {
        Self { mode: mode.unwrap_or(self.mode), group: group.or(self.group) }
    }
}

/// Permission bits, 0 to 0777.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode(u32);

/// Error of a text that is not a mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("write three or four octal digits, at most 0777, such as 0660")]
pub struct ModeError;

impl Mode {
    /// Permission bits as a number.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        let shaped = (3..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let bits = u32::from_str_radix(text, 8).ok().filter(|bits| shaped && *bits <= 0o777);
        bits.map(Self).ok_or(ModeError)
    }
}

/// A group of users, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group(u32);

/// Error of a text that is not a group.
#[derive(Debug, Error)]
pub enum GroupError {
    /// No group has the name.
    #[error("there is no group {0} in /etc/group: make it (groupadd), or write the number of a group")]
    Unknown(String),
    /// The file of groups cannot be read.
    #[error("group {name} cannot be looked up in /etc/group: {source}; write its number")]
    Unreadable {
        /// Name of the group.
        name: String,
        /// Error of the kernel.
        source: io::Error,
    },
}

impl Group {
    /// Number of the group.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    fn named(name: &str, groups: &str) -> Option<Self> {
        let number = |line: &str| {
            let mut fields = line.split(':');
            let found = fields.next() == Some(name);
            fields.nth(1).filter(|_| found)?.parse().ok().map(Self)
        };
        groups.lines().find_map(number)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Group {
    type Err = GroupError;

    /// Reads a number, or a name in `/etc/group`. 4294967295 (-1) is refused, because the kernel takes it
    /// to mean that the group is left unchanged.
    fn from_str(text: &str) -> Result<Self, GroupError> {
        if let Some(number) = text.parse().ok().filter(|number| *number != u32::MAX) {
            return Ok(Self(number));
        }
        let groups = std::fs::read(GROUPS);
        let groups = groups.map_err(|source| GroupError::Unreadable { name: text.into(), source })?;
        Self::named(text, &String::from_utf8_lossy(&groups)).ok_or_else(|| GroupError::Unknown(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_no_more_than_permission_bits() {
        for (text, bits) in [("0660", 0o660), ("660", 0o660), ("000", 0), ("0777", 0o777)] {
            assert_eq!(text.parse(), Ok(Mode(bits)), "{text}");
        }
        for text in ["", "6", "66", "0668", "1777", "4755", "00660", "+660", "-660", "0o660", "rw-", " 660"] {
            assert_eq!(text.parse::<Mode>(), Err(ModeError), "{text}");
        }
    }

    #[test]
    fn a_group_is_found_by_name_among_lines_of_any_shape() {
        let groups = "root:x:0:\n\nbroken\nkvm\nkvm2:x:7:\nkvm:x:104:alice,kvm2\n:x:9:\nlast:x:no:";
        assert_eq!(Group::named("kvm", groups), Some(Group(104)));
        for name in ["kv", "x", "104", "alice", "broken", "last"] {
            assert_eq!(Group::named(name, groups), None, "{name}");
        }
    }

    #[test]
    fn a_group_may_be_a_number_and_one_that_is_not_there_is_named() {
        assert_eq!("104".parse::<Group>().unwrap(), Group(104));
        assert_eq!("root".parse::<Group>().unwrap(), Group(0));
        for text in ["no such group", "", "-1", "4294967295", "4294967296", "1.5"] {
            let error = text.parse::<Group>().unwrap_err();
            assert!(error.to_string().contains(&format!("no group {text} ")), "{error}");
        }
    }
}
