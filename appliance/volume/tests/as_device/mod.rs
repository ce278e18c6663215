//! A volume on a graph of its own, as a device.

use luge_block::{
    Channel, Completion, Completions, CoreId, Device, Geometry, Lba, OpenError, Operation, Refusal, Request,
    Tag,
};
use luge_memory::Span;
use luge_volume::doubles::mount;
use luge_volume::{Graph, Volume, VolumeId};
use std::cell::RefCell;
use std::collections::VecDeque;
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
        let waiting = VecDeque::new();
        Ok(Box::new(AsChannel {
            graph: RefCell::new(graph),
            volume,
            geometry: self.geometry,
            waiting,
            in_flight: 0,
        }))
    }
}

struct AsChannel {
    graph: RefCell<Graph>,
    volume: VolumeId,
    geometry: Geometry,
    /// Requests for which the volume has no slot, or whose blocks are locked, though it has room for others.
    waiting: VecDeque<Waiting>,
    in_flight: usize,
}

struct Waiting {
    tag: Tag,
    operation: Operation,
    lba: Lba,
    blocks: u32,
    data: Vec<Span>,
}

impl AsChannel {
    fn submit_waiting(&mut self) {
        while let Some(Waiting { tag, operation, lba, blocks, data }) = self.waiting.front() {
            let (tag, operation, lba, blocks) = (*tag, *operation, *lba, *blocks);
            let request = Request { tag, operation, lba, blocks, data };
            match self.graph.get_mut().volume(self.volume).unwrap().submit(&request) {
                Ok(()) => {}
                Err(Refusal::Full) => return,
                Err(Refusal::Failed(status)) => panic!("a good request ends in {status:?}"),
            }
            self.waiting.pop_front();
        }
    }
}

impl Channel for AsChannel {
    fn room(&self) -> usize {
        let room = self.graph.borrow_mut().volume(self.volume).unwrap().room();
        if self.waiting.is_empty() { room } else { 0 }
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        if self.room() == 0 {
            return Err(Refusal::Full);
        }
        match self.graph.get_mut().volume(self.volume).unwrap().submit(request) {
            Err(Refusal::Full) => {
                let &Request { tag, operation, lba, blocks, data } = request;
                self.waiting.push_back(Waiting { tag, operation, lba, blocks, data: data.to_vec() });
            }
            result => result?,
        }
        self.in_flight += 1;
        Ok(())
    }

    fn commit(&mut self) {
        self.submit_waiting();
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
