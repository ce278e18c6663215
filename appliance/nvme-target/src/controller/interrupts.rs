//! Interrupts: what the vectors of a controller signal.

use super::device::Controller;
use crate::ids::QueueId;
use luge_core::Call;
use std::os::fd::OwnedFd;

impl Controller {
    /// Number of interrupt vectors.
    pub(crate) fn vectors(&self) -> u16 {
        self.parts.config.vectors
    }

    /// Sets the eventfds of vectors from `first` on.
    pub(crate) fn set_vectors(&mut self, first: u16, eventfds: Vec<Option<OwnedFd>>) {
        let changed = usize::from(first)..usize::from(first).saturating_add(eventfds.len());
        let places = self.vectors.iter_mut().skip(changed.start);
        places.zip(eventfds).for_each(|(place, eventfd)| *place = eventfd);
        let queues: Vec<(QueueId, u16)> = self.queues_with_vectors().collect();
        for (queue, vector) in
            queues.into_iter().filter(|(_, vector)| changed.contains(&usize::from(*vector)))
        {
            let interrupt = self.interrupt(Some(vector));
            let Some(running) = self.running.get(&queue) else { continue };
            // The one before comes back, so that it is closed here and not by the core.
            drop(running.call(move |session| session.replace_interrupt(interrupt)));
        }
    }

    fn queues_with_vectors(&self) -> impl Iterator<Item = (QueueId, u16)> {
        let queues = self.state.completion_queues.iter();
        queues.filter_map(|(&id, queue)| Some((QueueId(id), queue.vector?)))
    }

    /// Interrupt of a vector; none for a vector that signals nothing.
    pub(super) fn interrupt(&self, vector: Option<u16>) -> Option<Call> {
        let eventfd = self.vectors.get(usize::from(vector?))?.as_ref()?;
        let call = eventfd.try_clone().map_err(|error| error.to_string());
        let call = call.and_then(|eventfd| Call::new(eventfd).map_err(|error| error.to_string()));
        call.inspect_err(|error| tracing::warn!("{}: an interrupt vector: {error}", self.parts.name)).ok()
    }

    /// Signals a vector once.
    pub(crate) fn trigger(&self, vector: u16) {
        self.interrupt(Some(vector)).into_iter().for_each(|mut interrupt| interrupt.signal());
    }
}
