//! A host that is shown, changed, and changed back.

use crate::change::Change;
use crate::journal::{Before, Journal};
use crate::pages;
use crate::pool::Pool;
use crate::report::Report;
use crate::{HostError, PagePool};
use luge_vfio::{PciAddress, SysfsRoot, give_back};
use std::path::PathBuf;

/// A host.
pub struct Host {
    root: SysfsRoot,
    journal: PathBuf,
}

/// A change that was undone, or could not be.
pub struct Undone {
    /// Description of what was done.
    pub what: String,
    /// Outcome.
    pub outcome: Result<(), HostError>,
}

impl Host {
    /// A host with its files below `root`, whose changes are noted in the file `journal`.
    #[must_use]
    pub fn new(root: SysfsRoot, journal: PathBuf) -> Self {
        Self { root, journal }
    }

    /// State of the host.
    #[must_use]
    pub fn report(&self) -> Report {
        Report::of(&self.root, None)
    }

    /// The change that reserves `mib` MiB in pages of `page_kib` KiB on a node: beside those that are reserved there,
    /// none.
    ///
    /// # Errors
    /// [`HostError::NoPool`].
    pub fn pages(&self, pool: Pool, mib: u64) -> Result<Change, HostError> {
        let PagePool { pool, .. } = pages::read(&self.root, pool).ok_or(HostError::NoPool(pool))?;
        Ok(Change::Pages { pool, count: mib.saturating_mul(1024).div_ceil(pool.page_kib) })
    }

    /// Checks whether [`Self::apply`] would refuse one of the changes. Changes nothing.
    ///
    /// # Errors
    /// [`HostError`] of the first that would be refused.
    pub fn check(&self, changes: &[Change]) -> Result<(), HostError> {
        changes.iter().try_for_each(|change| change.check(&self.root))
    }

    /// Makes changes in order, until one fails.
    ///
    /// # Errors
    /// [`HostError`] of that change; the changes before it stay, and are noted.
    pub fn apply(&self, changes: &[Change], done: &mut dyn FnMut(&Change)) -> Result<(), HostError> {
        let mut journal = Journal::open(&self.journal)?;
        for change in changes {
            let before = self.before(change);
            for thing in &before {
                journal.note(thing.clone())?;
            }
            let outcome = change.apply(&self.root);
            self.forget_unchanged(&mut journal)?;
            outcome?;
            done(change);
        }
        Ok(())
    }

    /// Undoes all changes, the last one first. One that fails stays in the journal, and does not stop the others.
    ///
    /// # Errors
    /// [`HostError`] of the journal.
    pub fn reset(&self) -> Result<Vec<Undone>, HostError> {
        let mut journal = Journal::open(&self.journal)?;
        let mut undone = Vec::new();
        for before in journal.entries().to_vec().into_iter().rev() {
            let outcome = self.restore(&before);
            if outcome.is_ok() {
                journal.forget(&before)?;
            }
            undone.push(Undone { what: description(&before), outcome });
        }
        Ok(undone)
    }

    /// Descriptions of what [`Self::reset`] would do, in its order.
    ///
    /// # Errors
    /// [`HostError`] of the journal.
    pub fn noted(&self) -> Result<Vec<String>, HostError> {
        let journal = Journal::open(&self.journal)?;
        Ok(journal.entries().iter().rev().map(description).collect())
    }

    /// State of all that a change may change.
    fn before(&self, change: &Change) -> Vec<Before> {
        match change {
            Change::Bind(address) => {
                let mut ssds = self.root.group_members(*address);
                ssds.retain(|&other| {
                    self.root.class(other) == self.root.class(*address) && other != *address
                });
                ssds.into_iter().chain([*address]).map(|ssd| self.driver(ssd)).collect()
            }
            Change::Release(address) => vec![self.driver(*address)],
            Change::Pages { pool, .. } => {
                let pool = pages::read(&self.root, *pool);
                pool.map(|PagePool { pool, total, .. }| Before::Pages { pool, count: total })
                    .into_iter()
                    .collect()
            }
        }
    }

    fn driver(&self, address: PciAddress) -> Before {
        Before::Driver { address: address.to_string(), driver: self.root.driver(address) }
    }

    /// Forgets things that are what they were: of a change that failed, or was undone by hand.
    fn forget_unchanged(&self, journal: &mut Journal) -> Result<(), HostError> {
        for before in journal.entries().to_vec() {
            let is_unchanged = match &before {
                Before::Driver { address, driver } => {
                    address.parse().is_ok_and(|address| self.root.driver(address) == *driver)
                }
                Before::Pages { pool, count } => {
                    pages::read(&self.root, *pool).is_some_and(|pool| pool.total == *count)
                }
            };
            if is_unchanged {
                journal.forget(&before)?;
            }
        }
        Ok(())
    }

    fn restore(&self, before: &Before) -> Result<(), HostError> {
        match before {
            Before::Driver { address, driver } => {
                let Ok(address) = address.parse::<PciAddress>() else { return Ok(()) };
                match driver.as_deref() {
                    // It was released.
                    Some("vfio-pci") => Change::Bind(address).apply(&self.root),
                    // One that was unplugged has no driver to be changed.
                    _ if self.root.class(address).is_none() => Ok(()),
                    driver => Ok(give_back(&self.root, address, driver)?),
                }
            }
            Before::Pages { pool, count } => pages::resize(&self.root, *pool, *count),
        }
    }
}

fn description(before: &Before) -> String {
    match before {
        Before::Driver { address, driver } => {
            format!("{address} back to {}", driver.as_deref().unwrap_or("no driver"))
        }
        Before::Pages { pool, count } => format!("{count} {pool}, as before"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SsdState;
    use luge_vfio::rig::FakeHost;
    use tempfile::TempDir;

    const ONE: &str = "0000:01:00.0";
    const TWO: &str = "0000:02:00.0";
    const POOL: Pool = Pool { node: 0, page_kib: 2048 };

    struct Rig {
        files: FakeHost,
        folder: TempDir,
        host: Host,
    }

    /// Two SSDs of the kernel, and 16 hugepages.
    fn rig() -> Rig {
        let files = FakeHost::new();
        files.driver("nvme").driver("vfio-pci").hugepages(0, 2048, 16, 16);
        for (address, group) in [(ONE, 1), (TWO, 2)] {
            files.function(address).group(address, group).bound(address, "nvme");
        }
        let folder = tempfile::tempdir().unwrap();
        let host = Host::new(files.root(), folder.path().join("host.json"));
        Rig { files, folder, host }
    }

    impl Rig {
        fn apply(&self, changes: &[Change]) -> Result<(), HostError> {
            // Each time as another process does it.
            Host::new(self.files.root(), self.folder.path().join("host.json")).apply(changes, &mut |_| ())
        }

        fn driver(&self, of: &str) -> Option<String> {
            self.files.root().driver(address(of))
        }

        fn pages(&self) -> u64 {
            pages::read(&self.files.root(), POOL).unwrap().total
        }

        /// Undoes all; returns the failures.
        fn reset(&self) -> Vec<String> {
            let undone = self.host.reset().unwrap().into_iter();
            undone.filter_map(|one| one.outcome.err()).map(|error| error.to_string()).collect()
        }

        fn journal(&self) -> usize {
            Journal::open(&self.folder.path().join("host.json")).unwrap().entries().len()
        }
    }

    fn address(text: &str) -> PciAddress {
        text.parse().unwrap()
    }

    #[test]
    fn all_changes_are_undone_whatever_their_number() {
        let rig = rig();
        rig.files.file(&format!("sys/bus/pci/devices/{TWO}/driver_override"), "(null)\n");
        let pages = |mib| rig.host.pages(POOL, mib).unwrap();
        rig.apply(&[Change::Bind(address(ONE)), pages(64)]).unwrap();
        rig.apply(&[Change::Bind(address(TWO)), pages(7), Change::Release(address(ONE))]).unwrap();
        assert_eq!(rig.driver(TWO).as_deref(), Some("vfio-pci"));
        assert_eq!(rig.pages(), 4);
        assert_eq!(rig.journal(), 2, "one SSD is what it was");
        assert!(rig.reset().is_empty());
        assert_eq!(rig.driver(ONE).as_deref(), Some("nvme"));
        assert_eq!(rig.driver(TWO).as_deref(), Some("nvme"));
        assert_eq!(rig.pages(), 16);
        assert_eq!(rig.journal(), 0);
    }

    #[test]
    fn a_change_that_fails_leaves_nothing_to_undo() {
        let rig = rig();
        rig.files.driver_that_refuses("vfio-pci");
        assert!(rig.apply(&[Change::Bind(address(ONE))]).is_err());
        assert_eq!(rig.driver(ONE).as_deref(), Some("nvme"));
        assert_eq!(rig.journal(), 0);
    }

    #[test]
    fn changes_before_one_that_fails_stay_and_can_be_undone() {
        let rig = rig();
        rig.files.disk(TWO, "nvme1", "nvme1n1", "259:4");
        rig.files.file("proc/swaps", "/dev/nvme1n1 partition 1 0 -2\n");
        let error =
            rig.apply(&[Change::Bind(address(ONE)), Change::Bind(address(TWO))]).unwrap_err().to_string();
        assert!(error.contains("nvme1n1 is swap space"), "{error}");
        assert_eq!(rig.driver(ONE).as_deref(), Some("vfio-pci"));
        assert!(rig.reset().is_empty());
        assert_eq!(rig.driver(ONE).as_deref(), Some("nvme"));
    }

    #[test]
    fn a_process_that_is_killed_after_a_change_leaves_what_it_needs_to_be_undone() {
        let rig = rig();
        let mut journal = Journal::open(&rig.folder.path().join("host.json")).unwrap();
        journal.note(rig.host.driver(address(ONE))).unwrap();
        drop(journal);
        drop(luge_vfio::bind(&rig.files.root(), address(ONE)).unwrap());
        assert!(rig.reset().is_empty());
        assert_eq!(rig.driver(ONE).as_deref(), Some("nvme"));
    }

    #[test]
    fn an_ssd_in_use_is_not_undone_and_can_be_later() {
        let rig = rig();
        rig.apply(&[Change::Bind(address(ONE)), rig.host.pages(POOL, 64).unwrap()]).unwrap();
        rig.files.file("sys/class/vfio/1/dev", "1:3\n").process(812, "luge", &["/dev/null"]);
        let failures = rig.reset();
        assert_eq!(failures.len(), 1);
        assert!(failures[0].contains("process 812 luge"), "{}", failures[0]);
        assert_eq!(rig.pages(), 16, "the rest is undone");
        rig.files.remove("proc/812/fd/0");
        assert!(rig.reset().is_empty());
        assert_eq!(rig.driver(ONE).as_deref(), Some("nvme"));
    }

    #[test]
    fn ssds_of_one_group_are_bound_and_undone_together() {
        let rig = rig();
        let other = "0000:01:00.1";
        rig.files.function(other).group(other, 1).bound(other, "nvme");
        rig.apply(&[Change::Bind(address(ONE))]).unwrap();
        assert_eq!(rig.driver(other).as_deref(), Some("vfio-pci"));
        assert!(rig.reset().is_empty());
        assert_eq!(rig.driver(other).as_deref(), Some("nvme"));
        assert_eq!(rig.driver(ONE).as_deref(), Some("nvme"));
    }

    #[test]
    fn an_ssd_that_is_not_bound_is_not_released() {
        let rig = rig();
        let error = rig.apply(&[Change::Release(address(ONE))]).unwrap_err().to_string();
        assert!(error.starts_with("0000:01:00.0 is not bound to vfio-pci but to nvme"), "{error}");
        assert_eq!(rig.host.report().ssds[0].state, SsdState::Free);
    }

    #[test]
    fn a_check_refuses_what_a_change_would_refuse_and_changes_nothing() {
        let rig = rig();
        let refusals = [
            (Change::Bind(address("0000:3b:00.0")), "there is no PCI device 0000:3b:00.0"),
            (Change::Bind(address(TWO)), "0000:02:00.0 is in use: nvme1n1 is swap space"),
            (Change::Release(address(TWO)), "0000:02:00.0 is not bound to vfio-pci"),
            (Change::Release(address(ONE)), "process 812 luge"),
        ];
        rig.apply(&[Change::Bind(address(ONE))]).unwrap();
        rig.files.disk(TWO, "nvme1", "nvme1n1", "259:4");
        rig.files.file("proc/swaps", "/dev/nvme1n1 partition 1 0 -2\n");
        rig.files.file("sys/class/vfio/1/dev", "1:3\n").process(812, "luge", &["/dev/null"]);
        for (change, said) in refusals {
            let check = rig.host.check(std::slice::from_ref(&change)).unwrap_err().to_string();
            assert!(check.contains(said), "{check}");
            assert_eq!(rig.apply(&[change]).unwrap_err().to_string(), check);
        }
        rig.files.remove("proc/812/fd/0");
        rig.host.check(&[Change::Release(address(ONE))]).unwrap();
        assert_eq!(rig.driver(ONE).as_deref(), Some("vfio-pci"));
    }

    #[test]
    fn an_ssd_that_was_unplugged_since_is_forgotten() {
        let rig = rig();
        rig.apply(&[Change::Bind(address(ONE))]).unwrap();
        for name in ["class", "driver_override", "driver"] {
            rig.files.remove(&format!("sys/bus/pci/devices/{ONE}/{name}"));
        }
        assert!(rig.reset().is_empty());
        assert_eq!(rig.journal(), 0);
    }

    #[test]
    fn memory_is_rounded_up_to_pages() {
        let rig = rig();
        assert_eq!(rig.host.pages(POOL, 3).unwrap(), Change::Pages { pool: POOL, count: 2 });
        let missing = Pool { node: 9, page_kib: 2048 };
        assert!(matches!(rig.host.pages(missing, 3), Err(HostError::NoPool(_))));
    }
}
