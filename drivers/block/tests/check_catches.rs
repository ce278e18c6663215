//! The check of devices against devices that break the contract: each flaw is found, with the seed.

use luge_block::doubles::check_device;
use luge_block::{
    Blocks, Channel, Completion, Completions, CoreId, Device, Geometry, Lba, MemoryDevice, OpenError,
    Operation, Refusal, Request, Shape, Status,
};
use luge_memory::{DmaSpace, PageSize, Span};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Flaw of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    Nothing,
    CompletesTwice,
    CompletesWithAnotherTag,
    ReadsItsNeighbour,
    ForgetsWrites,
    ForgetsZeroes,
    WritesOneBlockTooMany,
    WritesBesideTheMemory,
    WritesAfterCompletion,
    PromisesTooMuchRoom,
    PromisesTooLittleRoom,
    FailsSometimes,
    TakesAnything,
    CountsWrong,
}

struct Flawed {
    device: MemoryDevice,
    flaw: Flaw,
}

impl Device for Flawed {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        let channel = self.device.open(core)?;
        Ok(Box::new(FlawedChannel { channel, flaw: self.flaw, last: None, extra: Vec::new(), taken: 0 }))
    }
}

struct FlawedChannel {
    channel: Box<dyn Channel>,
    flaw: Flaw,
    /// The memory of the last read.
    last: Option<Span>,
    extra: Vec<Completion>,
    taken: u64,
}

impl FlawedChannel {
    fn changed<'a>(&mut self, request: &Request<'a>) -> Request<'a> {
        let zeroes = matches!(request.operation, Operation::WriteZeroes | Operation::WriteZeroesUnmap);
        let spoiled = match (self.flaw, request.operation) {
            (Flaw::ReadsItsNeighbour, Operation::Read) => {
                Request { lba: Lba(request.lba.0.saturating_sub(1)), ..*request }
            }
            (Flaw::ForgetsWrites, Operation::Write(_)) => {
                Request { operation: Operation::Flush, data: &[], ..*request }
            }
            (Flaw::ForgetsZeroes, _) if zeroes => Request { operation: Operation::Flush, ..*request },
            (Flaw::WritesOneBlockTooMany, _) if zeroes => Request { blocks: request.blocks + 1, ..*request },
            _ => *request,
        };
        if request.operation == Operation::Read {
            self.last = request.data.last().copied();
        }
        spoiled
    }
}

impl Channel for FlawedChannel {
    fn room(&self) -> usize {
        match self.flaw {
            Flaw::PromisesTooMuchRoom => self.channel.room() + 1,
            Flaw::PromisesTooLittleRoom => self.channel.room().saturating_sub(1),
            _ => self.channel.room(),
        }
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.taken += 1;
        let request = self.changed(request);
        let result = self.channel.submit(&request);
        match (self.flaw, result) {
            (Flaw::TakesAnything, Err(Refusal::Failed(status))) => {
                self.extra.push(Completion::new(request.tag, status));
                Ok(())
            }
            (Flaw::CompletesTwice, Ok(())) if self.taken.is_multiple_of(100) => {
                self.extra.push(Completion::new(request.tag, Status::Success));
                result
            }
            _ => result,
        }
    }

    fn commit(&mut self) {
        self.channel.commit();
    }

    fn poll(&mut self, done: &mut Completions) {
        if let (Flaw::WritesAfterCompletion, Some(last)) = (self.flaw, self.last) {
            last.fill(0);
        }
        let mut ended = Completions::default();
        self.channel.poll(&mut ended);
        for ended in ended.as_slice() {
            let (mut tag, mut status) = (ended.tag(), ended.status());
            match self.flaw {
                Flaw::CompletesWithAnotherTag => {
                    tag = luge_block::Tag::new(tag.session(), tag.slot() ^ 0x8000)
                }
                Flaw::FailsSometimes if self.taken.is_multiple_of(7) => status = Status::DeviceError,
                _ => {}
            }
            let _ = done.push(tag, status);
        }
        if let (Flaw::WritesBesideTheMemory, Some(last)) = (self.flaw, self.last.take()) {
            beside(last).fill(0x55);
        }
        self.extra.drain(..).for_each(|extra| _ = done.push(extra.tag(), extra.status()));
    }

    fn in_flight(&self) -> usize {
        let wrong = usize::from(self.flaw == Flaw::CountsWrong);
        self.channel.in_flight() + self.extra.len() + wrong
    }
}

/// The eight bytes behind a span, which here are always in the same mapping: the memory for
/// requests has gaps.
#[expect(unsafe_code, reason = "the flaw is to write where nobody asked to")]
fn beside(span: Span) -> Span {
    // SAFETY: the check's memory goes on behind the pieces of a request.
    let behind = unsafe { span.host().add(span.len() as usize) };
    // SAFETY: as above.
    unsafe { Span::new(behind, span.iova(), 8) }
}

fn passes(flaw: Flaw) -> Result<(), String> {
    let space = DmaSpace::new();
    let shape = Shape::new(512, Blocks(400)).map_err(|error| error.to_string())?;
    let device = MemoryDevice::new(&space, shape, PageSize::Base, None).map_err(|error| error.to_string())?;
    let check = || check_device(0x5eed, &Flawed { device, flaw }, &space);
    catch_unwind(AssertUnwindSafe(check)).map_err(|panic| match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(_) => String::new(),
    })
}

#[test]
fn every_flaw_is_found_and_the_seed_named() {
    assert_eq!(passes(Flaw::Nothing), Ok(()));
    for flaw in [
        Flaw::CompletesTwice,
        Flaw::CompletesWithAnotherTag,
        Flaw::ReadsItsNeighbour,
        Flaw::ForgetsWrites,
        Flaw::ForgetsZeroes,
        Flaw::WritesOneBlockTooMany,
        Flaw::WritesBesideTheMemory,
        Flaw::WritesAfterCompletion,
        Flaw::PromisesTooMuchRoom,
        Flaw::PromisesTooLittleRoom,
        Flaw::FailsSometimes,
        Flaw::TakesAnything,
        Flaw::CountsWrong,
    ] {
        let found = passes(flaw).expect_err(&format!("{flaw:?} was not found"));
        assert!(found.contains("seed 0x5eed"), "{flaw:?} was found without the seed: {found}");
    }
}
