//! A volume on a graph of its own, as a device.

use luge_block::{Channel, Completion, Completions, CoreId, Device, Geometry, OpenError, Refusal, Request};
use luge_volume::doubles::mount;
use luge_volume::{Graph, Volume, VolumeId};
use std::cell::RefCell;
use std::sync::Arc;

/// A volume on a graph of its own, as a device.
pub struct AsDevice {
    volume: Arc<Volume>,
    geometry: Geometry,
}

impl AsDevice {
    /// A volume as a device with the limits that the volume tells, if it has some.
    pub fn new(volume: Arc<Volume>) -> Self {
        let Geometry { transfer_blocks_max, spans_max, .. } = volume.geometry();
        Self::wide(volume, transfer_blocks_max.min(256), spans_max.min(600))
    }

    /// A volume as a device with other limits: what the volume's base does not take at once is cut.
    pub fn wide(volume: Arc<Volume>, blocks: u32, spans_max: u16) -> Self {
        let geometry = volume.geometry();
        let longer = |most: u32| if most == 0 { 0 } else { blocks };
        let geometry = Geometry {
            transfer_blocks_max: blocks,
            spans_max,
            discard_blocks_max: longer(geometry.discard_blocks_max),
            write_zeroes_blocks_max: longer(geometry.write_zeroes_blocks_max),
            ..geometry
        };
        Self { volume, geometry }
    }
}

impl Device for AsDevice {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        let mut graph = Graph::default();
        let volume = mount(&mut graph, core, &self.volume)?;
        Ok(Box::new(AsChannel { graph: RefCell::new(graph), volume, geometry: self.geometry, in_flight: 0 }))
    }
}

struct AsChannel {
    graph: RefCell<Graph>,
    volume: VolumeId,
    geometry: Geometry,
    in_flight: usize,
}

impl Channel for AsChannel {
    fn room(&self) -> usize {
        self.graph.borrow_mut().volume(self.volume).unwrap().room()
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        self.graph.get_mut().volume(self.volume).unwrap().submit(request)?;
        self.in_flight += 1;
        Ok(())
    }

    fn commit(&mut self) {
        self.graph.get_mut().commit();
    }

    fn poll(&mut self, done: &mut Completions) {
        let up = |run: &[Completion]| assert_eq!(done.extend(run), run.len(), "a turn fits");
        self.in_flight -= self.graph.get_mut().poll(up);
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }
}
