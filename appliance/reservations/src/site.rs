//! Sites where requests for a volume are served, and those who listen to notices.

use crate::action::Notice;
use crate::change::Receipt;

/// The volume on one core, as one nexus uses it.
pub trait Site: Send + Sync {
    /// Number of the core. Rights that change are the concern of a core, not of each site on it.
    fn core(&self) -> u16;

    /// Drops the receipt when every request that the core takes from then on is judged by rights that it loads after
    /// this call.
    fn obey(&self, receipt: Receipt);

    /// Drops the receipt when all requests that the volume has taken here have ended.
    fn drain(&self, receipt: Receipt);
}

/// Owner of a nexus, which is told what others did to its registration.
pub trait Listener: Send + Sync {
    /// Takes a notice, in the order of the changes. Called with the reservations locked: it waits for nothing and
    /// uses no reservations.
    fn notify(&self, notice: Notice);
}
