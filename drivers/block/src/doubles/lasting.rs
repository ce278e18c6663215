//! Requests that last until they are polled for.

use crate::{
    Channel, CheckedTransfer, Completions, CoreId, Device, Geometry, Lba, OpenError, Refusal, Request,
};
use std::sync::Arc;

/// A device whose requests end by completions, as those of an SSD do: none ends at once.
pub struct Lasting(Arc<dyn Device>);

impl Lasting {
    /// `device`, with requests that last.
    #[must_use]
    pub fn new(device: Arc<dyn Device>) -> Self {
        Self(device)
    }
}

impl Device for Lasting {
    fn window(&self) -> Lba {
        self.0.window()
    }

    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        Ok(Box::new(LastingChannel(self.0.open(core)?)))
    }

    fn uses_dma(&self) -> bool {
        self.0.uses_dma()
    }
}

struct LastingChannel(Box<dyn Channel>);

impl Channel for LastingChannel {
    fn room(&self) -> usize {
        self.0.room()
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.0.submit(request)
    }

    fn submit_all(&mut self, transfers: &[CheckedTransfer<'_>]) -> (usize, Option<Refusal>) {
        self.0.submit_all(transfers)
    }

    fn commit(&mut self) {
        self.0.commit();
    }

    fn poll(&mut self, done: &mut Completions) {
        self.0.poll(done);
    }

    fn in_flight(&self) -> usize {
        self.0.in_flight()
    }
}
