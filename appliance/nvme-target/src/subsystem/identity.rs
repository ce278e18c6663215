//! Names of subsystems and namespaces.

use std::fmt;
use thiserror::Error;

/// Error of a name that is no NVMe Qualified Name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NqnError {
    /// Length.
    #[error("an NQN has at most {max} bytes, and this one has {0}", max = Nqn::BYTES_MAX)]
    Length(usize),
    /// Beginning.
    #[error(
        "'{0}' is no NQN: they begin with 'nqn.' and a year, a month and a domain, as nqn.2016-06.io.spdk:cnode1"
    )]
    Form(String),
}

/// NVMe Qualified Name. Base 2.0, clause 4.5.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Nqn(String);

impl Nqn {
    /// Longest name in bytes.
    pub const BYTES_MAX: usize = 223;

    /// Checks a name.
    ///
    /// # Errors
    /// [`NqnError`].
    pub fn new(name: &str) -> Result<Self, NqnError> {
        if name.len() > Self::BYTES_MAX {
            return Err(NqnError::Length(name.len()));
        }
        let has_form = has_form(name) && !name.chars().any(char::is_control);
        if has_form { Ok(Self(name.to_owned())) } else { Err(NqnError::Form(name.to_owned())) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a name is `nqn.yyyy-mm.domain` with anything after that.
fn has_form(name: &str) -> bool {
    let Some((date, domain)) = name.strip_prefix("nqn.").and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    let Some((year, month)) = date.split_once('-') else { return false };
    let is_number =
        |text: &str, len: usize| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_month = matches!(month.parse(), Ok(1..=12));
    is_number(year, 4) && is_number(month, 2) && is_month && !domain.is_empty()
}

impl fmt::Display for Nqn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Globally unique identifiers of a namespace. Base 2.0, clause 4.7.1. All are big-endian; zeroes where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NamespaceIdentity {
    /// UUID.
    pub uuid: [u8; 16],
    /// NGUID.
    pub nguid: [u8; 16],
    /// EUI64.
    pub eui64: [u8; 8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_field_are_taken() {
        for name in ["nqn.2016-06.io.spdk:cnode1", "nqn.2014-08.org.nvmexpress.discovery", "nqn.2019-12.a"] {
            assert_eq!(Nqn::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_name_of_another_form_is_refused() {
        let forms = ["", "disk", "nqn.", "nqn.2016-13.io.a", "nqn.2016-06", "nqn.2016-06.", "nqn.16-06.io.a"];
        for name in forms.into_iter().chain(["nqn.2016-06.io.a\0", "nqn.2016-06.io\n"]) {
            assert_eq!(Nqn::new(name), Err(NqnError::Form(name.into())), "{name}");
        }
    }

    #[test]
    fn a_name_has_at_most_223_bytes() {
        let name = |len: usize| format!("nqn.2016-06.{}", "a".repeat(len - 12));
        assert!(Nqn::new(&name(223)).is_ok());
        assert_eq!(Nqn::new(&name(224)), Err(NqnError::Length(224)));
    }
}
