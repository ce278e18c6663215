//! Tenants that share the room of a device.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::doubles::Scripted;
use luge_block::{CoreId, Device, Geometry, Lba, Operation, Refusal, Request, Status, Tag};
use luge_volume::{Base, Graph, TenantNumber, Ticks, Volume, VolumeId};
use std::sync::Arc;

const CORE: CoreId = CoreId(0);
const ONE: usize = 0;
const OTHER: usize = 1;

/// A device with a volume of each of two tenants.
struct Bench {
    graph: Graph,
    device: Scripted,
    volumes: [VolumeId; 2],
}

impl Bench {
    /// A device with room for 32 requests, which are discards of up to four blocks. Both tenants have visited it.
    fn new() -> Self {
        let geometry = Geometry { discard_blocks_max: 4, ..Geometry::for_tests() };
        let device = Scripted::new(geometry, 32);
        let mut graph = Graph::default();
        graph.reach_tenant(TenantNumber(0));
        let base = Base::Channel(graph.add_channel(device.open(CORE).unwrap()).ok().unwrap());
        // Others may come after the channel.
        graph.reach_tenant(TenantNumber(1));
        let whole = Volume::whole(Arc::new(device.clone()));
        let volumes = [ONE, OTHER].map(|_| graph.add_volume(CORE, &whole, base).unwrap());
        let mut bench = Self { graph, device, volumes };
        for tenant in [ONE, OTHER] {
            assert!(bench.room(tenant, tenant) > 0);
        }
        bench
    }

    /// Begins a tenant's visit, at a time that stands still.
    fn begin_visit(&mut self, tenant: usize) {
        self.graph.begin_turn(Ticks(1));
        self.graph.begin_visit(TenantNumber(u16::try_from(tenant).unwrap()));
    }

    /// Requests that the volume of one tenant would take in a visit of another.
    fn room(&mut self, volume: usize, visitor: usize) -> usize {
        self.begin_visit(visitor);
        self.graph.volume(self.volumes[volume]).unwrap().room()
    }

    /// Submits a discard of a tenant.
    fn submit(&mut self, tenant: usize, blocks: u32) -> Result<(), Refusal> {
        self.begin_visit(tenant);
        let tag = Tag::new(u16::try_from(tenant).unwrap(), 0);
        let mut volume = self.graph.volume(self.volumes[tenant]).unwrap();
        volume.submit(&Request { tag, operation: Operation::Discard, lba: Lba(0), blocks, data: &[] })
    }

    /// Submits requests of a tenant while there is room for it; returns how many.
    fn fill(&mut self, tenant: usize) -> usize {
        let mut taken = 0;
        while self.room(tenant, tenant) > 0 {
            self.submit(tenant, 1).unwrap();
            taken += 1;
        }
        taken
    }

    /// Takes turns in which nothing ends.
    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.graph.commit();
            self.graph.poll(|_| ());
        }
    }

    /// Takes turns until all requests have ended.
    fn end_all(&mut self) {
        while self.graph.in_flight() > 0 {
            self.graph.commit();
            self.device.complete_all(Status::Success);
            self.graph.poll(|_| ());
        }
    }
}

#[test]
fn a_tenant_that_fills_a_device_leaves_room_for_another() {
    let mut bench = Bench::new();
    assert_eq!(bench.fill(ONE), 29);
    assert_eq!(bench.fill(OTHER), 3);
    bench.end_all();
    assert_eq!(bench.fill(OTHER), 15, "an equal part: the first has had requests lately");
    assert_eq!(bench.fill(ONE), 15, "what has ended is no longer counted");
    bench.end_all();
}

#[test]
fn parts_of_long_requests_count_for_their_tenant() {
    let mut bench = Bench::new();
    bench.submit(ONE, 1000).unwrap();
    bench.turns(20);
    // The other tenant has a place left, unless it was so long ago that it asked for one.
    assert!((29..=30).contains(&bench.device.taken().len()), "{}", bench.device.taken().len());
    assert_eq!(bench.room(ONE, ONE), 0);
    assert!(bench.room(OTHER, OTHER) >= 2);
    bench.end_all();
    assert!(bench.fill(ONE) >= 29, "each part was counted once");
    bench.end_all();
}

#[test]
fn a_volume_counts_for_another_tenant_when_nothing_of_it_is_in_flight() {
    let mut bench = Bench::new();
    bench.fill(ONE);
    assert_eq!(bench.room(ONE, OTHER), 0, "it is the first tenant's as long as its requests are");
    bench.end_all();
    assert_eq!(bench.room(ONE, OTHER), 32, "the other tenant is alone then");
}

#[test]
fn a_tenant_whose_neighbour_has_gone_may_take_all() {
    let mut bench = Bench::new();
    bench.graph.remove_volume(bench.volumes[OTHER]);
    assert_eq!(bench.fill(ONE), 32);
    bench.end_all();
}
