//! A server of one queue: takes batches of any length, and answers in any order.

use crate::world::World;
use luge_memory::Span;
use luge_virtqueue::rig::Random;
use luge_virtqueue::{Batch, Head, SplitQueue};

/// A request that was taken.
struct Taken {
    head: Head,
    writes: bool,
    sector: u64,
    data: Span,
    status: Span,
}

pub struct Server<'a> {
    world: &'a World,
    queue: SplitQueue,
    batch: Batch<16, 1>,
    held: Vec<Taken>,
}

impl<'a> Server<'a> {
    pub fn start(world: &'a World) -> Self {
        Self { world, queue: world.queue(), batch: Batch::new(&world.layout), held: Vec::with_capacity(16) }
    }

    /// Takes some requests, answers some of those it has, in one batch, and publishes.
    pub fn turn(&mut self, random: &mut Random) {
        self.take(random.below(5) as usize);
        let answers = (0..self.held.len()).filter(|_| random.once_in(2)).count();
        self.answer(answers, random);
    }

    /// Answers all that there is.
    pub fn run(&mut self, random: &mut Random) {
        loop {
            self.take(64);
            if self.held.is_empty() {
                return;
            }
            self.answer(self.held.len(), random);
        }
    }

    pub fn take(&mut self, most: usize) {
        self.queue.take(&mut self.batch, most).unwrap();
        for at in 0..self.batch.len() {
            let chain = self.batch.chain(at).unwrap();
            assert_eq!(chain.fault, None);
            let header: [u8; 16] = chain.readable[0].first().unwrap();
            let [writes, sector] = zerocopy::transmute!(header);
            let (data, status) = match (&*chain.readable, &*chain.writable) {
                ([_, data], [status]) | ([_], [data, status]) => (*data, *status),
                other => panic!("no request: {other:?}"),
            };
            self.held.push(Taken { head: chain.head, writes: writes == 1_u64, sector, data, status });
        }
    }

    fn answer(&mut self, answers: usize, random: &mut Random) {
        let Self { world, queue, held, .. } = self;
        queue.complete_all((0..answers).map(|_| {
            let any = random.below(u32::try_from(held.len()).unwrap()) as usize;
            let Taken { head, writes, sector, data, status } = held.swap_remove(any);
            let (from, to) = if writes { (data, world.sector(sector)) } else { (world.sector(sector), data) };
            to.write(&from.first::<8>().unwrap());
            status.write(&[0]);
            (head, if writes { 1 } else { 9 })
        }));
        let _ = queue.publish();
    }
}
