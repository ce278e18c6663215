//! A volume on a graph of its own, as a device.

use luge_block::{Channel, Completion, Completions, CoreId, Device, Geometry, OpenError, Refusal, Request};
use luge_volume::{Base, Graph, Source, Volume, VolumeId};
use std::cell::RefCell;
use std::sync::Arc;

/// A volume on a graph of its own, as a device.
pub struct AsDevice(pub Arc<Volume>);

impl Device for AsDevice {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        let mut graph = Graph::default();
        let volume = mount(&mut graph, core, &self.0)?;
        Ok(Box::new(AsChannel { graph: RefCell::new(graph), volume, in_flight: 0 }))
    }
}

/// Puts a volume on a graph, and all that it stands on.
pub fn mount(graph: &mut Graph, core: CoreId, volume: &Arc<Volume>) -> Result<VolumeId, OpenError> {
    let base = match volume.source() {
        Source::Device(device) => Base::Channel(graph.add_channel(device.open(core)?).ok().unwrap()),
        Source::Composite(composite) => {
            let parts = composite.parts().iter().map(|part| mount(graph, core, part));
            let parts = parts.collect::<Result<Vec<VolumeId>, OpenError>>()?;
            Base::Node(graph.add_node(composite.open(core, &parts), &parts).ok().unwrap())
        }
    };
    Ok(graph.add_volume(core, volume, base).unwrap())
}

struct AsChannel {
    graph: RefCell<Graph>,
    volume: VolumeId,
    in_flight: usize,
}

impl Channel for AsChannel {
    fn room(&self) -> usize {
        self.graph.borrow_mut().volume(self.volume).unwrap().room()
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
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
