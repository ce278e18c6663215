//! Work on a whole volume: flushes before a shutdown, zeroes for Format NVM.
//!
//! ```text
//!  (1) next  --room--> (2) in flight: a request of a part of a step
//!  (2) in flight --success, more to do--> (1)
//!  (2) in flight --success, nothing left--> (3) over
//!  (1) (2)   --a failure, or stopped--> (3) over, when nothing is in flight
//! ```
//!
//! One request at a time: guests' commands come first.

use luge_block::{Completion, Lba, Operation, Refusal, Request, Status, Tag};
use luge_core::{Armed, CoreHandle, Kick, Published, Session, SessionId, Took, Work};
use luge_volume::{Graph, Ticks, VolumeId};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Acquire, Ordering::Release};

/// Bytes of one request.
const REQUEST_BYTES: u64 = 64 << 20;

/// An operation on blocks of a volume.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobStep {
    /// Number of the volume on the job's core.
    pub(crate) volume: VolumeId,
    /// Operation without data.
    pub(crate) operation: Operation,
    /// First block.
    pub(crate) lba: Lba,
    /// Number of blocks; zero for a flush.
    pub(crate) blocks: u64,
    /// Size of a block in bytes.
    pub(crate) block_bytes: u32,
}

impl JobStep {
    /// Blocks of the next request.
    fn part(&self) -> u32 {
        let most = REQUEST_BYTES.checked_div(self.block_bytes.into()).unwrap_or(1).max(1);
        u32::try_from(self.blocks.min(most)).unwrap_or(u32::MAX)
    }

    /// The rest of the step after a request of `blocks` blocks; none if nothing is left.
    fn after(self, blocks: u32) -> Option<Self> {
        let left = self.blocks.saturating_sub(blocks.into());
        let lba = Lba(self.lba.0.saturating_add(blocks.into()));
        (left > 0).then_some(Self { lba, blocks: left, ..self })
    }
}

/// Outcome of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum JobOutcome {
    /// All steps are done.
    Done,
    /// A step failed, or the job was stopped.
    Failed,
}

/// Progress of a job, shared with its core.
#[derive(Default)]
struct Progress(AtomicU8);

impl Progress {
    const DONE: u8 = 1;
    const FAILED: u8 = 2;

    fn outcome(&self) -> Option<JobOutcome> {
        match self.0.load(Acquire) {
            Self::DONE => Some(JobOutcome::Done),
            Self::FAILED => Some(JobOutcome::Failed),
            _ => None,
        }
    }
}

/// A job on its core.
struct Job {
    session: SessionId,
    /// Steps, the next one last.
    steps: Vec<JobStep>,
    /// Blocks of the request in flight.
    in_flight: Option<u32>,
    failed: bool,
    progress: Arc<Progress>,
    /// Eventfd of the thread that waits.
    bell: Arc<OwnedFd>,
}

impl Job {
    /// (1) to (2): submits the next request.
    fn submit(&mut self, graph: &mut Graph) -> Took {
        let Some(step) = self.steps.last() else { return Took::Nothing };
        let Some(mut volume) = graph.volume(step.volume) else {
            self.fail();
            return Took::Nothing;
        };
        let blocks = step.part();
        let tag = Tag::new(self.session.0, 0);
        let request = Request { tag, operation: step.operation, lba: step.lba, blocks, data: &[] };
        match volume.submit(&request) {
            Ok(()) => {
                self.in_flight = Some(blocks);
                Took::Work(Work::REQUEST)
            }
            Err(Refusal::Full) => Took::NoRoom,
            // The volume is its reservation's holder's to flush. Others are flushed.
            Err(Refusal::Failed(Status::ReservationConflict)) if step.operation.is_flush() => {
                self.skip();
                Took::Work(Work::REQUEST)
            }
            Err(Refusal::Failed(_)) => {
                self.fail();
                Took::Nothing
            }
        }
    }

    /// (1), or (1) to (3): passes over a step.
    fn skip(&mut self) {
        self.steps.pop();
        if self.steps.is_empty() {
            self.tell(Progress::DONE);
        }
    }

    /// (2) to (1) or (3): a request has ended.
    fn ended(&mut self, status: Status) {
        let blocks = self.in_flight.take().unwrap_or(0);
        if status != Status::Success || self.failed {
            return self.fail();
        }
        let step = self.steps.pop();
        self.steps.extend(step.and_then(|step| step.after(blocks)));
        if self.steps.is_empty() {
            self.tell(Progress::DONE);
        }
    }

    /// (3), when nothing is in flight.
    fn fail(&mut self) {
        self.failed = true;
        self.steps.clear();
        if self.in_flight.is_none() {
            self.tell(Progress::FAILED);
        }
    }

    fn tell(&self, outcome: u8) {
        self.progress.0.store(outcome, Release);
        // It fails only if the counter is full, and then the thread is awake.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

impl Session for Job {
    fn adopt(&mut self, id: SessionId) {
        self.session = id;
    }

    fn request_slots(&self) -> usize {
        1
    }

    fn take(&mut self, graph: &mut Graph, _allowance: Work) -> Took {
        if self.in_flight.is_some() { Took::Nothing } else { self.submit(graph) }
    }

    fn finish(&mut self, done: &[Completion]) {
        done.iter().for_each(|completion| self.ended(completion.status()));
    }

    fn publish(&mut self) -> Published {
        Published::All
    }

    fn arm(&mut self) -> Armed {
        Armed::Quiet
    }

    fn disarm(&mut self) {}

    fn kick(&self) -> Option<&Kick> {
        None
    }

    fn needs_polling(&self) -> bool {
        self.in_flight.is_none() && !self.steps.is_empty()
    }

    fn wake_at(&self) -> Option<Ticks> {
        self.needs_polling().then_some(Ticks(0))
    }

    fn in_flight(&self) -> usize {
        usize::from(self.in_flight.is_some())
    }

    fn quiesce(&mut self) {
        self.steps.clear();
        self.failed = true;
    }
}

/// A job, as the controller's thread sees it.
pub(super) struct RunningJob {
    core: CoreHandle,
    session: SessionId,
    progress: Arc<Progress>,
}

impl RunningJob {
    /// Starts a job on a core. Its volumes stay there until it is over.
    pub(super) fn start(
        core: &CoreHandle,
        mut steps: Vec<JobStep>,
        tenant: &luge_core::Tenant,
        bell: &Arc<OwnedFd>,
    ) -> Option<Self> {
        steps.reverse();
        let progress = Arc::<Progress>::default();
        let job = Job {
            session: SessionId(0),
            steps,
            in_flight: None,
            failed: false,
            progress: progress.clone(),
            bell: bell.clone(),
        };
        let session = core.add_session(Box::new(job), tenant).ok()?;
        Some(Self { core: core.clone(), session, progress })
    }

    /// Outcome; none while it runs.
    pub(super) fn outcome(&self) -> Option<JobOutcome> {
        self.progress.outcome()
    }

    /// Submits no more requests. The outcome is that it failed.
    pub(super) fn stop(&self) {
        let session = self.session;
        self.core.call(move |core| core.session_as::<Job>(session).into_iter().for_each(Job::fail));
    }

    /// Takes the session off its core, and waits until nothing of it is in flight.
    pub(super) fn remove(self) {
        drop(self.core.remove_session(self.session));
    }
}
