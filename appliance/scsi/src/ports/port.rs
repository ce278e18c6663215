//! A port of a target.

use super::group::PortGroup;
use std::sync::Arc;

/// A port of a target.
pub struct Port {
    number: u16,
    group: Arc<PortGroup>,
}

impl Port {
    /// A port with a number of its own.
    pub(super) fn new(group: &Arc<PortGroup>) -> Self {
        Self { number: group.numbers().take(), group: group.clone() }
    }

    /// Relative target port identifier, from 1.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Group of the port.
    #[must_use]
    pub const fn group(&self) -> &Arc<PortGroup> {
        &self.group
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.group.numbers().free(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_the_first_numbers_that_are_free() {
        let group = Arc::new(PortGroup::active(&Arc::default()));
        let port = || Port::new(&group);
        let (first, second, third) = (port(), port(), port());
        assert_eq!([first.number(), second.number(), third.number()], [1, 2, 3]);
        drop(second);
        assert_eq!(port().number(), 2, "free again");
        let second = port();
        assert_eq!([second.number(), port().number()], [2, 4]);
    }
}
