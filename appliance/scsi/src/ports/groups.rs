//! All target port groups of the process.

use super::group::{GroupError, PortGroup};
use super::numbers::PortNumbers;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// All target port groups, and the numbers of all ports. One per process.
pub struct PortGroups {
    numbers: Arc<PortNumbers>,
    free: Arc<PortGroup>,
    declared: Mutex<BTreeMap<u16, Weak<PortGroup>>>,
}

impl Default for PortGroups {
    fn default() -> Self {
        let numbers = Arc::<PortNumbers>::default();
        Self { free: Arc::new(PortGroup::active(&numbers)), numbers, declared: Mutex::default() }
    }
}

impl PortGroups {
    /// Group of all ports that are in no other one. Always active; its number is 0.
    #[must_use]
    pub fn free(&self) -> &Arc<PortGroup> {
        &self.free
    }

    /// Finds a group, or declares it, in transition. A group is forgotten when nobody has it.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn declare(&self, number: u16, transition_seconds: u64) -> Result<Arc<PortGroup>, GroupError> {
        let seconds = u8::try_from(transition_seconds).ok().filter(|&seconds| seconds > 0);
        let seconds = seconds.ok_or(GroupError::Time(transition_seconds))?;
        if number == 0 {
            return Err(GroupError::Zero);
        }
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        declared.retain(|_, group| group.strong_count() > 0);
        let Some(group) = declared.get(&number).and_then(Weak::upgrade) else {
            let group = Arc::new(PortGroup::new(number, seconds, &self.numbers));
            declared.insert(number, Arc::downgrade(&group));
            return Ok(group);
        };
        match group.transition_seconds() {
            same if same == seconds => Ok(group),
            other => Err(GroupError::OtherTime { number, seconds: other }),
        }
    }
}
