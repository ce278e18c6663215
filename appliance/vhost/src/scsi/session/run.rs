//! Runs of reads and writes: those of a batch that are to one LUN, in their order.
//!
//! ```text
//!  (1) all chains     --all are to the LUN of the first one, as nearly always--> a run; over
//!  (1) all chains     --one is to another LUN--> (2) groups, of which this run goes on with its own
//!  (2) another group  --> a run
//! ```

use super::at_once::serve_at_once;
use super::chains::{Chains, first_bits};
use super::groups::lun_of;
use super::parts::Parts;
use super::reader::Reader;
use super::request_session::RequestSession;
use super::slotted::serve_in_slots;
use super::turn::Turn;
use luge_spec::virtio::scsi::LunField;
use luge_volume::Graph;

impl RequestSession {
    /// Serves reads and writes of the batch, as far as there is room: those to each LUN as one run. Returns chains whose
    /// volumes have no room.
    #[inline]
    pub(super) fn serve_runs(&mut self, graph: &mut Graph, turn: &mut Turn) -> u64 {
        self.groups.clear();
        let Some(first) = self.first_lun() else { return 0 };
        let full = self.serve_run(graph, first, self.left, turn);
        full | self.serve_other_luns(graph, first, turn)
    }

    /// LUN of the first chain that has one.
    #[inline]
    fn first_lun(&self) -> Option<LunField> {
        let mut left = self.left;
        while left != 0 {
            if let Some(header) = self.batch.header_at(left.trailing_zeros() as usize) {
                return Some(lun_of(header));
            }
            left &= left.wrapping_sub(1);
        }
        None
    }

    /// Serves the groups of all LUNs but one, if there are any.
    #[inline]
    fn serve_other_luns(&mut self, graph: &mut Graph, first: LunField, turn: &mut Turn) -> u64 {
        let (mut full, mut index) = (0, 0_usize);
        while let Some(group) = self.groups.get(index) {
            let chains = group.chains & self.left;
            if group.lun != first && chains != 0 && turn.room > 0 {
                full |= self.serve_run(graph, group.lun, chains, turn);
            }
            index = index.wrapping_add(1);
        }
        full
    }

    /// Serves those of `chains` that are reads and writes to a LUN, as far as there is room; returns those to the LUN for
    /// which its volume has none. The groups are formed if there are other LUNs, or may be.
    #[inline(never)]
    fn serve_run(&mut self, graph: &mut Graph, lun: LunField, chains: u64, turn: &mut Turn) -> u64 {
        let Self { session, queue, batch, left, groups, slots, table, .. } = self;
        let reader = Reader::new(table.as_deref(), batch, *session, lun);
        let way = reader.and_then(|reader| Some((reader, graph.volume(reader.entry.volume)?)));
        let Some((reader, mut volume)) = way else {
            groups.form(batch);
            return 0;
        };
        let room = volume.room().min(turn.room);
        if room == 0 {
            groups.form(batch);
            return chains & groups.of(lun);
        }
        let stats = &reader.entry.stats;
        let before = stats.blocks();
        let within = if room < batch.len() { first_bits(chains, room) } else { chains };
        let mut run_chains = Chains { left: within, skipped: 0 };
        let mut parts = Parts { queue, slots, groups };
        let mut run = volume.run();
        if run.ends_at_once(within.count_ones() as usize) {
            serve_at_once(&reader, &mut run_chains, &mut parts, &mut run);
        }
        if run_chains.left != 0 {
            serve_in_slots(&reader, &mut run_chains, &mut parts, &mut run);
        }
        let Chains { left: untaken, skipped } = run_chains;
        let served = within & !(untaken | skipped);
        *left &= !served;
        turn.serve(served.count_ones() as usize);
        let blocks = stats.blocks().wrapping_sub(before);
        turn.bytes = turn.bytes.wrapping_add(blocks.wrapping_mul(reader.entry.view.block_bytes.into()));
        let unserved = chains & !(served | skipped);
        if unserved == 0 || turn.room == 0 {
            return 0;
        }
        parts.groups.form(batch);
        unserved & parts.groups.of(lun)
    }
}
