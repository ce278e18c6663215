//! The memory that disks may take: option `-s`.

use luge_rpc::RpcError;

/// A budget of memory, in bytes.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: u64,
}

impl Budget {
    /// A budget of `limit` bytes, of which nothing is used.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }

    /// Takes memory for the disk `name`.
    ///
    /// # Errors
    /// -12 if there is not that much left.
    pub fn take(&mut self, name: &str, bytes: u64) -> Result<(), RpcError> {
        let left = self.limit - self.used;
        if bytes > left {
            return Err(RpcError::no_memory(format_args!(
                "{name} needs {} MiB of memory, but of the budget of {} MiB only {} MiB are left: \
                 make it smaller, delete others, or start Luge with a larger -s",
                bytes.div_ceil(1 << 20),
                self.limit >> 20,
                left >> 20,
            )));
        }
        self.used += bytes;
        Ok(())
    }

    /// Gives memory back.
    pub fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Gives all memory back.
    pub fn clear(&mut self) {
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_budget_can_be_taken_and_what_is_given_back_can_be_again() {
        let mut budget = Budget::new(10 << 20);
        budget.take("a", 6 << 20).unwrap();
        let error = budget.take("b", 5 << 20).unwrap_err();
        assert!(error.message.contains("b needs 5 MiB"), "{error}");
        assert!(error.message.contains("only 4 MiB"), "{error}");
        assert_eq!(budget.take("c", u64::MAX).unwrap_err().code.0, -12);
        budget.give_back(6 << 20);
        budget.take("b", 10 << 20).unwrap();
    }
}
