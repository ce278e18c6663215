//! A queue for requests, on one core.
//!
//! Path: guest ring -> **session** -> volume -> channel -> NVMe queue pair -> SSD.
//!
//! ```text
//!  (1) idle        --the ring has chains--> (2) a batch of chains
//!  (2) batch       --reads and writes to one LUN--> a slot each, submitted together, (2)
//!  (2) batch       --reads and writes to one LUN, whose device needs no time--> given back, (2)
//!  (2) batch       --no room, and others wait in the ring--> parked, until there is room; then (2)
//!  (2) batch       --any other chain: read--> (3) a pending request
//!  (2) batch       --no chain left--> (1)
//!  (3) pending     --its volume takes it--> (4)
//!  (3) pending     --the adapter's thread is to answer it--> (4), and more memory
//!  (3) pending     --answered--> given back
//!  (4) a slot      --its request has ended, or the thread has answered--> response, used element; free
//!  (4) a slot      --the thread leaves it to the core--> submitted, (4)
//! ```
//!
//! Invariants
//! - A chain is given back once. It is read once, too, or again after it was parked, without regard to the first reading.
//! - A LUN is looked up just before a request is submitted to its volume.
//! - Whoever waits for requests is told when the guest can see their ends, and not before.
//!
//! Of a response with status GOOD, the header is written, and not the memory for sense data. Where data of the guest is
//! behind that, the length in the used ring counts it, because the data is a part of that length.

mod at_once;
mod away;
mod cancellations;
mod chains;
mod changes;
mod extras;
mod finish;
mod groups;
mod long;
mod one;
mod parked;
mod parking;
mod parts;
mod pending;
mod reader;
mod request_session;
mod run;
mod slots;
mod slotted;
mod submit;
mod take;
mod turn;

pub use request_session::RequestSession;
