//! Tables of an adapter's sessions, and the removals that wait for what they have in flight.

use super::cancellation::Cancellation;
use super::life::Luns;
use super::sessions::Sessions;
use super::worker::Worker;
use crate::scsi::cancel::{CancelledAs, Scope};
use crate::scsi::drain::Drain;
use crate::scsi::lun::LunAddress;
use crate::scsi::table::{LunEntry, LunTable};
use luge_block::CoreId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// All targets of an adapter.
const ALL_TARGETS: std::ops::RangeInclusive<u8> = 0..=u8::MAX;

impl Worker {
    /// Gives sessions new tables, if they are to have them, and asks them for the last requests of LUNs that they have
    /// none of any more.
    pub(super) fn renew_tables(&mut self) {
        let shared = self.shared.clone();
        let mut sessions = shared.sessions();
        if sessions.take_has_reset() {
            let nexuses = shared.luns().nexuses(Scope::All);
            nexuses.iter().for_each(|nexus| nexus.powered_on());
        }
        let receipts = shared.notices.take_changed_views();
        let mut luns = shared.luns();
        let mut changed = luns.take_changed_targets();
        if !receipts.is_empty() {
            changed.extend(ALL_TARGETS);
        }
        if changed.is_empty() && !sessions.take_has_new() {
            return;
        }
        self.make_tables(&luns, &sessions.cores(), &changed);
        self.untold.extend(luns.take_untold());
        let (removed, changes) = (luns.begin_asking(), luns.changes());
        drop(luns);
        self.tables.iter().for_each(|(&core, table)| sessions.give_table(core, table));
        drop(receipts);
        self.await_last_requests(&sessions, removed);
        shared.luns().are_in_tables(changes);
        shared.changed.notify_all();
    }

    /// Makes the tables of cores, where those of some targets have changed. Tables of other cores are dropped.
    fn make_tables(&mut self, luns: &Luns, cores: &BTreeSet<CoreId>, changed: &BTreeSet<u8>) {
        self.tables.retain(|core, _| cores.contains(core));
        for &core in cores {
            let before = self.tables.get(&core);
            let table = match before {
                Some(table) => {
                    table.with_targets(changed.iter().map(|&target| (target, of_target(luns, target, core))))
                }
                None => LunTable::default()
                    .with_targets(ALL_TARGETS.map(|target| (target, of_target(luns, target, core)))),
            };
            self.tables.insert(core, Arc::new(table));
        }
    }

    fn await_last_requests(&mut self, sessions: &Sessions, removed: Vec<(LunAddress, Arc<Drain>)>) {
        for (address, token) in removed {
            let wait = Cancellation::begin(Scope::Lun(address), CancelledAs::Nothing, token, sessions);
            self.removals.push((address, wait));
        }
    }

    /// Looks which LUNs nothing refers to any more.
    pub(super) fn finish_removals(&mut self) {
        let sessions = self.shared.sessions();
        let known = self.removals.extract_if(.., |(_, wait)| wait.is_known(&sessions));
        // With the waits, their tokens are dropped.
        let known: Vec<LunAddress> = known.map(|(address, _)| address).collect();
        drop(sessions);
        let mut luns = self.shared.luns();
        known.into_iter().for_each(|address| luns.told(address));
        if luns.find_unused() {
            self.shared.changed.notify_all();
        }
    }
}

/// The LUNs of a target on a core.
fn of_target(luns: &Luns, target: u8, core: CoreId) -> Vec<(u8, LunEntry)> {
    let entries = luns.of_target(target).filter_map(|(address, lun)| {
        let attachment = lun.on_cores.get(&core)?;
        let entry = LunEntry {
            volume: attachment.volume(),
            stats: attachment.stats().clone(),
            view: lun.unit.view(),
            gate: lun.nexus.gate().clone(),
            hold: lun.hold.clone(),
        };
        Some((address.lun, entry))
    });
    entries.collect()
}
