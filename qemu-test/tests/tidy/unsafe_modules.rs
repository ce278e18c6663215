//! Unsafe code: the modules that may open it, and in which form.

use super::workspace::{assert_none, sources};
use std::collections::BTreeSet;

/// Modules that open unsafe code, each with `#![expect(unsafe_code, reason = ...)]`.
const UNSAFE_MODULES: &[&str] = &[
    "appliance/bench/src/arena.rs",
    "appliance/bench/src/clock.rs",
    "appliance/bench/src/ideal.rs",
    "appliance/bench/tests/rig/memory.rs",
    "appliance/core/src/notify.rs",
    "appliance/core/tests/counters/sessions.rs",
    "appliance/luge/src/allocator.rs",
    "appliance/nvme-target/src/data/bit_bucket.rs",
    "appliance/nvme-target/src/data/collector.rs",
    "appliance/nvme-target/src/queues/doorbells.rs",
    "appliance/nvme-target/src/queues/memory.rs",
    "appliance/nvme-target/src/queues/shadow.rs",
    "appliance/nvme-target/src/session/transfer.rs",
    "appliance/scsi/tests/model/disk.rs",
    "appliance/socket/src/peer.rs",
    "appliance/vfio-user/tests/protocol.rs",
    "appliance/vfio-user/tests/rig/function.rs",
    "appliance/vhost/benches/turn.rs",
    "appliance/vhost/src/blk/session.rs",
    "appliance/vhost/src/connection/front_end.rs",
    "appliance/vhost/src/connection/resumed.rs",
    "appliance/vhost/src/connection/vring.rs",
    "appliance/vhost/src/queue.rs",
    "appliance/vhost/src/scsi/control.rs",
    "appliance/vhost/src/scsi/events.rs",
    "appliance/vhost/src/scsi/session/request_session.rs",
    "appliance/vhost/tests/costly_memory.rs",
    "appliance/vhost/tests/echo/device.rs",
    "appliance/vhost/tests/fences.rs",
    "appliance/vhost/tests/handed_over.rs",
    "appliance/vhost/tests/independent_front_end.rs",
    "appliance/vhost/tests/inflight.rs",
    "appliance/vhost/tests/owed_interrupt.rs",
    "appliance/vhost/tests/scsi_hba/departures.rs",
    "appliance/virtqueue/src/ending.rs",
    "appliance/virtqueue/src/fast_walk.rs",
    "appliance/virtqueue/src/general_walk.rs",
    "appliance/virtqueue/src/indirect.rs",
    "appliance/virtqueue/src/inflight/region.rs",
    "appliance/virtqueue/src/layout.rs",
    "appliance/virtqueue/src/rig/driver.rs",
    "appliance/virtqueue/src/rig/memory.rs",
    "appliance/virtqueue/src/split.rs",
    "appliance/virtqueue/tests/crash/stepping.rs",
    "appliance/virtqueue/tests/crash/world.rs",
    "appliance/virtqueue/tests/fuzz.rs",
    "appliance/virtqueue/tests/handed_over.rs",
    "appliance/virtqueue/tests/independent_reader.rs",
    "appliance/virtqueue/tests/inflight.rs",
    "appliance/virtqueue/tests/pair/mod.rs",
    "appliance/virtqueue/tests/split_ring.rs",
    "appliance/vm/fake-qemu/attempts.rs",
    "appliance/vm/fake-qemu/words.rs",
    "appliance/vm/src/sandbox/inside.rs",
    "appliance/vm/src/sandbox/start.rs",
    "appliance/volume/src/clock.rs",
    "appliance/volume/src/steps/mod.rs",
    "appliance/volume/tests/cut_parts.rs",
    "appliance/volume/tests/fences.rs",
    "appliance/volume/tests/graph.rs",
    "appliance/volume/tests/no_allocation.rs",
    "appliance/volume/tests/operations/rig.rs",
    "appliance/volume/tests/reservations.rs",
    "appliance/volume/tests/volumes.rs",
    "drivers/block/benches/memory.rs",
    "drivers/block/src/check.rs",
    "drivers/block/src/doubles/arena.rs",
    "drivers/block/src/doubles/narrow.rs",
    "drivers/block/src/file/buffers.rs",
    "drivers/block/src/file/channel.rs",
    "drivers/block/src/file/memory.rs",
    "drivers/block/src/file/resident.rs",
    "drivers/block/src/immediate.rs",
    "drivers/block/src/memory/mod.rs",
    "drivers/block/src/transfer.rs",
    "drivers/block/tests/check_catches.rs",
    "drivers/block/tests/desk/mod.rs",
    "drivers/block/tests/file.rs",
    "drivers/block/tests/file_in_memory.rs",
    "drivers/block/tests/no_allocation.rs",
    "drivers/measure/src/allocator.rs",
    "drivers/memory/benches/guest/mod.rs",
    "drivers/memory/src/copy.rs",
    "drivers/memory/src/dma_memory.rs",
    "drivers/memory/src/elastic_memory.rs",
    "drivers/memory/src/fault/handler.rs",
    "drivers/memory/src/fault/ranges.rs",
    "drivers/memory/src/fault/spare.rs",
    "drivers/memory/src/fault/ties.rs",
    "drivers/memory/src/guest.rs",
    "drivers/memory/src/lookup.rs",
    "drivers/memory/src/mapping.rs",
    "drivers/memory/src/numa.rs",
    "drivers/memory/src/peer_memory.rs",
    "drivers/memory/src/shared_array.rs",
    "drivers/memory/src/shared_ring.rs",
    "drivers/memory/src/span.rs",
    "drivers/memory/src/stall/event.rs",
    "drivers/memory/src/stall/records.rs",
    "drivers/memory/tests/bin/bus_error.rs",
    "drivers/memory/tests/lost_memory.rs",
    "drivers/memory/tests/many_regions.rs",
    "drivers/memory/tests/shared_memory.rs",
    "drivers/memory/tests/stall.rs",
    "drivers/nvme/src/queue_memory.rs",
    "drivers/nvme/src/scripted/memory.rs",
    "drivers/nvme/src/scripted/rig.rs",
    "drivers/vfio/src/function/bar.rs",
    "drivers/vfio/src/ioctl.rs",
    "drivers/vfio/src/vfio_user/relay.rs",
    "drivers/vfio/src/vfio_user/windows.rs",
    "drivers/vfio/tests/vfio_user/memory.rs",
    "qemu-test/src/process.rs",
];

#[test]
fn unsafe_code_is_opened_where_the_list_says_and_nowhere_else() {
    let opens = |text: &str| {
        text.lines().any(|line| line.contains("(unsafe_code") && line.trim_start().starts_with('#'))
    };
    let found: BTreeSet<String> =
        sources().into_iter().filter(|(_, text)| opens(text)).map(|(name, _)| name).collect();
    let listed: BTreeSet<String> = UNSAFE_MODULES.iter().map(|&name| name.to_owned()).collect();
    assert_none("modules that open unsafe code unlisted", found.difference(&listed).cloned().collect());
    assert_none("modules listed that open no unsafe code", listed.difference(&found).cloned().collect());
}

#[test]
fn unsafe_code_is_opened_by_an_expectation_with_a_reason() {
    let found = sources().into_iter().flat_map(|(name, text)| {
        let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with('#'));
        let opens = lines.filter(|line| line.contains("(unsafe_code"));
        let bad = opens.filter(|line| !line.contains("[expect(unsafe_code, reason = \""));
        bad.map(|line| format!("{name}: {line}")).collect::<Vec<_>>()
    });
    assert_none("unsafe code opened otherwise", found.collect());
}
