//! Properties of the host that sessions, or reservations, have to know.

use super::device::Controller;

impl Controller {
    /// The host has another identifier.
    pub(crate) fn set_host(&mut self, host_id: [u8; 16], is_short: bool) {
        self.state.features.host_id = host_id;
        self.state.features.is_short_host_id = is_short;
        self.report();
    }

    /// The host uses the volatile write cache, or no longer.
    pub(crate) fn apply_write_cache(&self) {
        let durability = self.state.features.durability();
        self.running.values().for_each(|running| {
            running.call(move |session| session.set_durability(durability));
        });
    }
}
