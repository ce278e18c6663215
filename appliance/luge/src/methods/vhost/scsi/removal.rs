//! Removal of LUNs: of one by its address, and of all LUNs of block devices that go.
//!
//! ```text
//!   1 the LUNs are marked, so that nobody else removes them    2 they are drained    3 they are forgotten
//! ```
//!
//! Step 2 waits for the requests in flight, on the thread that asked.

use crate::control::{Control, Sled, Subsystem, User};
use luge_rpc::RpcError;
use luge_vhost::{LunAddress, ScsiHba};
use std::sync::Arc;
use std::thread;

/// LUNs that are drained at the same time.
const AT_ONCE: usize = 64;

/// A LUN that is being removed.
struct LeavingLun {
    ctrlr: String,
    address: LunAddress,
    device: Arc<ScsiHba>,
}

/// LUNs that are being removed.
#[derive(Default)]
pub struct Leaving {
    luns: Vec<LeavingLun>,
    /// Block devices that are being deleted.
    bdevs: Vec<String>,
}

impl Leaving {
    /// Begins the removal of one LUN.
    ///
    /// # Errors
    /// -19 if there is no such controller or LUN, -22 if the controller is a disk, -16 if a call adds or removes it.
    pub fn one(sled: &mut Sled, ctrlr: &str, address: LunAddress) -> Result<Self, RpcError> {
        let mut leaving = Self::default();
        leaving.begin(sled, ctrlr, address)?;
        Ok(leaving)
    }

    /// Begins the removal of all LUNs of block devices, which nobody can claim from now on; of none if one of these has
    /// other users, or a LUN that a call adds or removes.
    fn of_bdevs(sled: &mut Sled, bdevs: &[String]) -> Result<Self, RpcError> {
        bdevs.iter().try_for_each(|bdev| sled.bdevs.check_luns_only(bdev))?;
        let luns: Vec<_> = bdevs.iter().flat_map(|bdev| luns_of(sled, bdev)).collect();
        for (ctrlr, address) in &luns {
            let hba = sled.endpoints.get(ctrlr)?.hba();
            hba.map_or(Ok(()), |hba| hba.check_here(*address))?;
        }
        let mut leaving = Self::default();
        for (ctrlr, address) in &luns {
            leaving.begin(sled, ctrlr, *address)?;
        }
        for bdev in bdevs {
            sled.bdevs.begin_deletion(bdev)?;
            leaving.bdevs.push(bdev.clone());
        }
        Ok(leaving)
    }

    /// Begins the removal of all LUNs on an SSD that no call adds or removes.
    fn of_ssd(sled: &mut Sled, ssd: &str) -> Self {
        let on_it = |bdev: &&str| sled.ssd_of(bdev).as_deref() == Some(ssd);
        let bdevs: Vec<String> =
            sled.bdevs.iter().map(|(name, _)| name).filter(on_it).map(str::to_owned).collect();
        let mut leaving = Self::default();
        for (ctrlr, address) in bdevs.iter().flat_map(|bdev| luns_of(sled, bdev)).collect::<Vec<_>>() {
            // One that is being added is looked at again when it is there.
            let _ = leaving.begin(sled, &ctrlr, address);
        }
        leaving
    }

    fn begin(&mut self, sled: &mut Sled, ctrlr: &str, address: LunAddress) -> Result<(), RpcError> {
        let hba = sled.endpoints.get_mut(ctrlr)?.hba_mut(ctrlr)?;
        hba.begin_removal(address)?;
        self.luns.push(LeavingLun { ctrlr: ctrlr.into(), address, device: hba.device.clone() });
        sled.record.remove_detail(Subsystem::VhostScsi, ctrlr, &address.to_string());
        Ok(())
    }

    /// Waits until nothing is in flight on the LUNs.
    pub fn drain(&self) {
        for some in self.luns.chunks(AT_ONCE) {
            thread::scope(|scope| {
                for LeavingLun { device, address, .. } in some {
                    // It fails where the device has dropped the LUN by itself, because its SSD is gone.
                    scope.spawn(|| device.remove_lun(*address));
                }
            });
        }
    }

    /// Forgets the LUNs.
    pub fn forget(self, sled: &mut Sled) {
        for LeavingLun { ctrlr, address, .. } in &self.luns {
            let hba = sled.endpoints.get_mut(ctrlr).and_then(|endpoint| endpoint.hba_mut(ctrlr));
            if let Some(bdev) = hba.ok().and_then(|hba| hba.forget(*address)) {
                sled.bdevs.unclaim(&bdev, &User::Lun(ctrlr.clone()));
            }
        }
        self.bdevs.iter().for_each(|bdev| sled.bdevs.end_change(bdev));
    }
}

/// LUNs of a block device, each with the name of its controller.
fn luns_of(sled: &Sled, bdev: &str) -> Vec<(String, LunAddress)> {
    let lun = |(ctrlr, endpoint): (&str, &crate::control::Endpoint)| {
        let (address, _) = endpoint.hba()?.lun_of(bdev)?;
        Some((ctrlr.to_owned(), address))
    };
    sled.endpoints.iter().filter_map(lun).collect()
}

/// Removes the LUNs of the block devices that `choose` names, then does `then`, which finds the devices without LUNs.
/// Waits on this thread for the requests of the LUNs.
///
/// # Errors
/// Those of `choose` and `then`; -16 if a device has users other than LUNs, or is being changed. The LUNs stay unless
/// `then` has failed.
pub fn without_luns<R: Send + 'static>(
    control: &Control,
    choose: impl FnOnce(&mut Sled) -> Result<Vec<String>, RpcError> + Send + 'static,
    then: impl FnOnce(&mut Sled) -> Result<R, RpcError> + Send + 'static,
) -> Result<R, RpcError> {
    let leaving = control.ask(move |sled| {
        let bdevs = choose(sled)?;
        Leaving::of_bdevs(sled, &bdevs)
    })?;
    leaving.drain();
    control.ask(move |sled| {
        leaving.forget(sled);
        then(sled)
    })
}

/// Removes all LUNs on an SSD that is gone. Waits for their requests, which end at once.
pub fn remove_luns_of_ssd(control: &Control, ssd: &str) {
    let name = ssd.to_owned();
    let Ok(leaving) = control.ask(move |sled| Ok(Leaving::of_ssd(sled, &name))) else { return };
    for LeavingLun { ctrlr, address, .. } in &leaving.luns {
        tracing::error!("vhost controller {ctrlr}: {address} is removed, as SSD {ssd} is gone");
    }
    leaving.drain();
    // Where Luge is stopping, there are no LUNs any more.
    let _ = control.ask(move |sled| {
        leaving.forget(sled);
        Ok(())
    });
}
