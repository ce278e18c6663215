//! The SCSI host bus adapter (virtio 1.3, clause 5.6).

mod hba;

pub use hba::{HbaConfig, HbaError, LunAddress, LunError, LunPhase, LunStatus, ScsiHba};
