//! Volumes on a graph without a core.

use crate::{Base, Graph, Source, Volume, VolumeId};
use luge_block::{CoreId, OpenError};
use std::sync::Arc;

const ROOM: &str = "a graph of a few volumes has room";

/// Puts a volume on a graph, and all that it stands on. Channels are not shared.
///
/// # Errors
/// [`OpenError`] of a device.
///
/// # Panics
/// If the graph has no room.
pub fn mount(graph: &mut Graph, core: CoreId, volume: &Arc<Volume>) -> Result<VolumeId, OpenError> {
    let base = match volume.source() {
        Source::Device(device) => Base::Channel(graph.add_channel(device.open(core)?).ok().expect(ROOM)),
        Source::Composite(composite) => {
            let parts = composite.parts().iter().map(|part| mount(graph, core, part));
            let parts = parts.collect::<Result<Vec<VolumeId>, OpenError>>()?;
            Base::Node(graph.add_node(composite.open(core, &parts), &parts).ok().expect(ROOM))
        }
    };
    Ok(graph.add_volume(core, volume, base).expect(ROOM))
}
