//! A volume whose completions wait behind a gate.

use super::pass::Pass;
use crate::{Composite, Layers, Node, Volume, VolumeId};
use luge_block::doubles::Gate;
use luge_block::{Completion, Completions, CoreId, Geometry, Refusal, Request};
use std::collections::VecDeque;
use std::sync::Arc;

/// A volume on top of another one whose completions pass a gate.
pub struct Delaying {
    parts: [Arc<Volume>; 1],
    gate: Gate,
}

impl Delaying {
    /// `volume` behind `gate`.
    #[must_use]
    pub fn new(volume: Arc<Volume>, gate: Gate) -> Self {
        Self { parts: [volume], gate }
    }
}

impl Composite for Delaying {
    fn geometry(&self) -> Geometry {
        self.parts[0].geometry().without_limits()
    }

    fn parts(&self) -> &[Arc<Volume>] {
        &self.parts
    }

    fn open(&self, _core: CoreId, parts: &[VolumeId]) -> Box<dyn Node> {
        Box::new(DelayingNode {
            pass: Pass::new(parts[0]),
            gate: self.gate.clone(),
            held: VecDeque::new(),
            taken: 0,
        })
    }
}

struct DelayingNode {
    pass: Pass,
    gate: Gate,
    held: VecDeque<Completion>,
    /// Requests taken and not handed out, those held included.
    taken: usize,
}

impl Node for DelayingNode {
    fn room(&self, layers: &mut Layers) -> usize {
        self.pass.room(layers)
    }

    fn submit(&mut self, request: &Request<'_>, layers: &mut Layers) -> Result<(), Refusal> {
        self.pass.submit(request, layers)?;
        self.taken += 1;
        Ok(())
    }

    fn turn(&mut self, ended: &[Completion], _layers: &mut Layers, done: &mut Completions) {
        self.held.extend(ended);
        while done.room() > 0
            && !self.held.is_empty()
            && self.gate.pass()
            && let Some(end) = self.held.pop_front()
        {
            let end = self.pass.ended(end);
            // There is room.
            let _ = done.push(end.tag(), end.status());
            self.taken -= 1;
        }
    }

    fn in_flight(&self) -> usize {
        self.taken
    }
}
