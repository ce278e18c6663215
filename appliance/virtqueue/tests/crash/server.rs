//! A server of one queue: takes batches of any length, and answers in any order.

use crate::world::World;
use luge_memory::Span;
use luge_seeded::Random;
use luge_virtqueue::{Batch, Head, ResponseLast, SplitQueue};

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
    batch: Batch<ResponseLast<16, 1>>,
    held: Vec<Taken>,
    /// Order of the request that was taken last.
    last: Option<u32>,
}

impl<'a> Server<'a> {
    pub fn start(world: &'a World) -> Self {
        Self::with(world, Batch::new(&world.layout))
    }

    /// A server that starts with a batch made before.
    pub fn with(world: &'a World, batch: Batch<ResponseLast<16, 1>>) -> Self {
        Self { world, queue: world.queue(), batch, held: Vec::with_capacity(16), last: None }
    }

    /// Takes some requests, answers some of those it has, in one batch, and publishes.
    pub fn turn(&mut self, random: &mut Random) {
        self.take(1 + random.below(4));
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

    /// Requests that were taken and not answered.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes requests, in the order in which the driver has asked.
    pub fn take(&mut self, most: usize) {
        self.queue.take(&mut self.batch, most).unwrap();
        for at in 0..self.batch.len() {
            let chain = self.batch.chain(at).unwrap();
            assert_eq!(chain.fault, None);
            let header: [u8; 16] = chain.readable[0].first().unwrap();
            let [writes, order, sector, _]: [u32; 4] = zerocopy::transmute!(header);
            assert!(self.last < Some(order), "request {order} is taken after {:?}", self.last);
            self.last = Some(order);
            let (data, status) = match (&*chain.readable, &*chain.writable) {
                ([_, data], [status]) | ([_], [data, status]) => (*data, *status),
                other => panic!("no request: {other:?}"),
            };
            self.held.push(Taken {
                head: chain.head,
                writes: writes == 1,
                sector: sector.into(),
                data,
                status,
            });
        }
    }

    /// Answers so many requests, in any order, and publishes the answers.
    pub fn answer(&mut self, answers: usize, random: &mut Random) {
        let Self { world, queue, held, .. } = self;
        queue.complete_all((0..answers).map(|_| {
            let any = random.below(held.len());
            let Taken { head, writes, sector, data, status } = held.swap_remove(any);
            let (from, to) = if writes { (data, world.sector(sector)) } else { (world.sector(sector), data) };
            to.write(&from.first::<8>().unwrap());
            status.write(&[0]);
            (head, if writes { 1 } else { 9 })
        }));
        let _ = queue.publish();
    }
}
