//! Life of a controller: enable, shutdown, and the resets.
//!
//! ```text
//!  (1) disabled  --CC.EN set, settings possible--> (2) ready
//!  (1) disabled  --CC.EN set, settings impossible--> (1), failed (CSTS.CFS)
//!  (2) ready     --CC.SHN set--> (3) shutting down: sessions are held
//!  (3)           --drained, caches flushed--> (4) shut down
//!  (2) (3) (4)   --CC.EN cleared, or another reset--> (5) resetting: sessions are held, CSTS.RDY stays set
//!  (5) resetting --drained--> (1), and from there to (2) if CC.EN is set again
//! ```
//!
//! A failure (CSTS.CFS) ends with the next reset.

use super::device::Controller;
use super::job::{JobOutcome, JobStep, RunningJob};
use super::registers::capabilities;
use super::running::{MemoryUse, RunningQueue};
use super::state::{CompletionQueueState, ControllerState, Phase, ShutdownPhase, SubmissionQueueState};
use crate::commands::CommandStatus;
use crate::ids::QueueId;
use crate::session::QueueSession;
use luge_block::{Lba, Operation};
use luge_spec::nvme::{AdminQueueAttributes, AsyncEvent, Capabilities, Configuration, offset};
use std::time::Instant;

/// CC.SHN of a normal shutdown.
const SHUTDOWN_NORMAL: u8 = 1;

/// Most controllers whose clients have left and whose commands have not ended. Each keeps a thread and guest memory.
const DEPARTING_MAX: usize = 16;

/// Extent of a reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ResetLevel {
    /// CC.EN was cleared: the registers of the admin queues stay.
    Controller,
    /// All registers are reset.
    Function,
}

impl Controller {
    /// CAP.
    fn capabilities(&self) -> Capabilities {
        capabilities(&self.parts.config, self.parts.doorbells.stride_log())
    }

    /// Bytes of the registers from `at` on; zeroes where there is none.
    pub(crate) fn read_registers(&self, at: u64, data: &mut [u8]) {
        let image = self.state.registers.image(self.capabilities(), self.state.status());
        let from = usize::try_from(at).map_or(usize::MAX, |at| at);
        let bytes = image.iter().copied().skip(from).chain(std::iter::repeat(0));
        data.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    }

    /// Writes words of registers. What is not whole aligned words of 32 bits has no effect.
    pub(crate) fn write_registers(&mut self, at: u64, data: &[u8]) {
        let is_words = at.is_multiple_of(4) && data.len().is_multiple_of(4);
        let (words, _) = data.as_chunks::<4>();
        let places = (at..).step_by(4);
        for (place, word) in places.zip(words).filter(|_| is_words) {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            self.write_register(place, u32::from_le_bytes(*word));
        }
    }

    fn write_register(&mut self, at: u32, value: u32) {
        match at {
            offset::CC => self.configure(Configuration(value & Configuration::WRITABLE)),
            _ => self.state.registers.store(at, value),
        }
    }

    /// Writes a doorbell of a client that has not mapped them.
    pub(crate) fn write_doorbell(&mut self, at: u64, value: u32) {
        // What lies between two doorbells is none, and has no effect.
        let Some(doorbell) = self.parts.doorbells.name(at) else { return };
        if !self.state.serves() || !self.parts.doorbells.store(at, value) {
            return;
        }
        if !self.doorbell_rung(doorbell) {
            self.add_event(AsyncEvent::INVALID_DOORBELL_REGISTER);
        }
    }

    /// CC is written.
    fn configure(&mut self, new: Configuration) {
        let old = self.state.configuration();
        self.state.registers.configuration = new.0;
        match (old.enabled(), new.enabled()) {
            (true, false) => self.reset(ResetLevel::Controller),
            (false, true) if self.state.phase == Phase::Disabled => self.enable(),
            _ => {}
        }
        match (old.shutting_down(), new.shutting_down()) {
            (false, true) if self.state.shutdown == ShutdownPhase::None => self.shut_down(),
            (true, false) if self.state.phase == Phase::Disabled => self.state.shutdown = ShutdownPhase::None,
            _ => {}
        }
        self.report();
    }

    /// (1) to (2): enables the controller.
    fn enable(&mut self) {
        self.state.shutdown = ShutdownPhase::None;
        if let Err(reason) = self.start() {
            tracing::warn!("{}: its host cannot enable the controller: {reason}", self.parts.name);
            self.state.is_failed = true;
            return;
        }
        self.state.phase = Phase::Ready;
    }

    /// Starts the admin queues.
    fn start(&mut self) -> Result<(), String> {
        if self.parts.link.is_none() {
            return Err("all identifiers of controllers are in use".into());
        }
        if !self.parts.subsystem.allows_any_host() {
            return Err("the subsystem allows named hosts only, and hosts of a socket have no names".into());
        }
        if self.parts.subsystem.departing() > DEPARTING_MAX {
            return Err("commands of many earlier clients have not ended: is an SSD stuck?".into());
        }
        check(&self.state, self.capabilities())?;
        self.check_admin_queues()?;
        self.parts.doorbells.fix().map_err(|error| format!("its doorbells cannot be sealed: {error}"))?;
        let attributes = AdminQueueAttributes(self.state.registers.admin_queue_attributes);
        let completion_queue = CompletionQueueState {
            base: self.state.registers.admin_completion_queue,
            entries: u32::from(attributes.completion_entries_z()).saturating_add(1),
            is_contiguous: true,
            vector: Some(0),
        };
        let submission_queue = SubmissionQueueState {
            base: self.state.registers.admin_submission_queue,
            entries: u32::from(attributes.submission_entries_z()).saturating_add(1),
            is_contiguous: true,
            completion_queue: QueueId::ADMIN.0,
        };
        let fault = |status: CommandStatus| format!("its admin queues: {}", status.code());
        self.create_completion_queue(QueueId::ADMIN, completion_queue).map_err(fault)?;
        let created = self.create_submission_queue(QueueId::ADMIN, submission_queue);
        created.map_err(|status| {
            self.release_queues();
            fault(status)
        })
    }

    /// Checks that the admin queues are no longer than the operator wants them.
    fn check_admin_queues(&self) -> Result<(), String> {
        let attributes = AdminQueueAttributes(self.state.registers.admin_queue_attributes);
        let entries_z = attributes.submission_entries_z().max(attributes.completion_entries_z());
        let (entries, most) = (u32::from(entries_z).saturating_add(1), self.parts.config.admin_queue_entries);
        if entries > most {
            return Err(format!(
                "admin queues of {entries} entries are not possible: max_aq_depth is {most}"
            ));
        }
        Ok(())
    }

    /// (2), (3), (4) to (5), and on to (1) if nothing is in flight: resets the controller.
    pub(crate) fn reset(&mut self, level: ResetLevel) {
        let ControllerState { registers, shutdown, is_failed, .. } = &mut self.state;
        *registers = match level {
            ResetLevel::Controller => registers.after_disable(),
            ResetLevel::Function => Default::default(),
        };
        (*shutdown, *is_failed) = (ShutdownPhase::None, false);
        if self.state.phase == Phase::Ready {
            self.state.phase = Phase::Resetting;
            self.forget_commands();
            self.hold_queues();
        }
        self.go_on();
    }

    /// Forgets commands that this thread has: they are not completed.
    fn forget_commands(&mut self) {
        self.event_requests.clear();
        self.deletions.clear();
        // They are not stopped, and not answered.
        self.changes.clear();
        self.keep_alive_until = None;
        self.format.iter_mut().for_each(|format| format.command = None);
        self.jobs.iter().for_each(RunningJob::stop);
    }

    /// Takes no more commands from any queue.
    pub(super) fn hold_queues(&self) {
        self.running.values().for_each(|running| {
            running.hold();
        });
    }

    /// Whether sessions take commands.
    pub(super) fn may_take(&self) -> bool {
        self.state.serves() && self.may_use_memory()
    }

    /// Whether sessions may use the host's memory where they are.
    pub(super) fn may_use_memory(&self) -> bool {
        self.placement.serves() && self.is_bus_master
    }

    /// Takes commands from all queues again, if nothing is against it.
    pub(super) fn resume_queues(&self) {
        let ready =
            self.running.values().filter(|running| running.memory_use != MemoryUse::Held && self.may_take());
        ready.for_each(|running| _ = running.call(QueueSession::resume));
    }

    /// Lets the function read and write memory, or not. Commands that volumes have go on.
    pub(crate) fn set_bus_master(&mut self, is_bus_master: bool) {
        if std::mem::replace(&mut self.is_bus_master, is_bus_master) == is_bus_master {
            return;
        }
        if !is_bus_master {
            return self.hold_queues();
        }
        self.resume_queues();
        self.tell_events();
        // Commands that this thread has are served now.
        self.ring();
    }

    /// Whether nothing is in flight, on queues that are held.
    pub(super) fn has_drained(&self) -> bool {
        self.running.values().all(RunningQueue::hold)
    }

    /// (2) to (3), and on if nothing is in flight: CC.SHN is set.
    fn shut_down(&mut self) {
        self.state.shutdown = match self.state.phase {
            Phase::Disabled => ShutdownPhase::Complete,
            Phase::Ready | Phase::Resetting => ShutdownPhase::Occurring,
        };
        if self.state.phase == Phase::Ready {
            self.hold_queues();
            if self.has_drained() {
                self.flush_caches();
            }
        }
    }

    /// (3): after commands in flight, writes caches to the media at a normal shutdown.
    fn flush_caches(&mut self) {
        let flushes = self.state.configuration().shutdown() == SHUTDOWN_NORMAL;
        if !flushes || !self.start_flush() {
            self.state.shutdown = ShutdownPhase::Complete;
        }
        self.flushing = self.state.shutdown == ShutdownPhase::Occurring;
    }

    /// Starts to flush the caches of all namespaces; returns whether there is one to wait for.
    fn start_flush(&mut self) -> bool {
        let Some(core) = self.running.get(&QueueId::ADMIN).map(|running| running.core.clone()) else {
            return false;
        };
        let table = self.mounts.table(&core, &self.namespaces, self.parts.subsystem.namespaces_max());
        let cached = table
            .from(0)
            .map(|(_, namespace)| namespace)
            .filter(|namespace| namespace.geometry.volatile_cache);
        let flush = |namespace: &crate::namespaces::Namespace| JobStep {
            volume: namespace.volume,
            operation: Operation::Flush,
            lba: Lba(0),
            blocks: 0,
            block_bytes: namespace.geometry.block_bytes,
        };
        let steps: Vec<JobStep> = cached.map(flush).collect();
        if steps.is_empty() {
            return false;
        }
        let job = RunningJob::start(&core, steps, &self.parts.tenant, &self.parts.bell);
        self.jobs.extend(job);
        !self.jobs.is_empty()
    }

    /// Goes on with whatever waits for commands in flight.
    pub(crate) fn go_on(&mut self) {
        self.finish_jobs();
        self.finish_deletions();
        self.finish_changes();
        self.finish_leaving();
        self.finish_late_volumes();
        self.move_sessions();
        match (self.state.phase, self.state.shutdown) {
            (Phase::Resetting, _) if self.jobs.is_empty() && self.has_drained() => self.finish_reset(),
            (Phase::Ready, ShutdownPhase::Occurring) if self.jobs.is_empty() && self.has_drained() => {
                self.flush_caches()
            }
            _ => {}
        }
        self.report();
    }

    /// (5) to (1), and on to (2) where CC.EN is set again.
    fn finish_reset(&mut self) {
        self.release_queues();
        self.state.phase = Phase::Disabled;
        self.state.features = Default::default();
        self.state.events = Default::default();
        self.state.reservation_notices = Default::default();
        // Nothing is in flight any more that the host has sent under its name.
        self.mounts.identify(0);
        // A shutdown that was notified meanwhile has nothing to wait for.
        if self.state.shutdown == ShutdownPhase::Occurring {
            self.state.shutdown = ShutdownPhase::Complete;
        }
        if self.state.configuration().enabled() {
            self.enable();
        }
    }

    /// Takes all queues off their cores. Nothing of them is in flight.
    fn release_queues(&mut self) {
        self.state.completion_queues.clear();
        self.state.submission_queues.clear();
        std::mem::take(&mut self.running).into_values().for_each(|running| drop(running.remove()));
        // Commands of sessions that are gone are none of the next ones.
        std::iter::from_fn(|| self.parts.relay.next()).for_each(drop);
        (self.state.shadow, self.shadow, self.flushing) = (None, None, false);
        (0..=self.parts.config.io_queues).for_each(|id| self.parts.doorbells.clear(QueueId(id)));
    }

    /// Ends jobs that are over.
    fn finish_jobs(&mut self) {
        let is_over = |job: &mut RunningJob| job.outcome().is_some();
        let over: Vec<RunningJob> = self.jobs.extract_if(.., is_over).collect();
        for job in over {
            let outcome = job.outcome().unwrap_or(JobOutcome::Failed);
            job.remove();
            self.job_over(outcome);
        }
    }

    fn job_over(&mut self, outcome: JobOutcome) {
        let is_of_format = self.finish_format(outcome);
        if !is_of_format
            && std::mem::take(&mut self.flushing)
            && self.state.shutdown == ShutdownPhase::Occurring
        {
            self.state.shutdown = ShutdownPhase::Complete;
        }
    }

    /// The host has kept the controller alive: it has as much time again.
    pub(crate) fn kept_alive(&mut self) {
        let timeout = std::time::Duration::from_millis(self.state.features.keep_alive_ms.into());
        self.keep_alive_until = Instant::now().checked_add(timeout).filter(|_| !timeout.is_zero());
    }

    /// Time at which the host is gone, if it does not keep the controller alive.
    pub(crate) fn keep_alive_until(&self) -> Option<Instant> {
        self.keep_alive_until
    }

    /// Fails the controller if its host is gone: it serves no more commands.
    pub(crate) fn check_keep_alive(&mut self) {
        if self.keep_alive_until.is_none_or(|until| until > Instant::now()) {
            return;
        }
        tracing::warn!("{}: its host has not kept the controller alive", self.parts.name);
        self.keep_alive_until = None;
        self.state.is_failed = true;
        self.hold_queues();
        self.report();
    }

    /// Adds an event, and tells the host.
    pub(crate) fn add_event(&mut self, event: AsyncEvent) {
        self.state.events.add(event);
        self.tell_events();
    }

    /// Completes Asynchronous Event Requests with the events that there are.
    pub(crate) fn tell_events(&mut self) {
        while self.is_bus_master && !self.event_requests.is_empty() {
            let Some(event) = self.state.events.take() else { return };
            let request = self.event_requests.pop_front();
            request.inspect(|request| self.complete(request, CommandStatus::SUCCESS, event.0.into()));
        }
    }
}

/// Checks the settings with which a controller is to be enabled.
fn check(state: &ControllerState, capabilities: Capabilities) -> Result<(), String> {
    let configuration = state.configuration();
    let attributes = AdminQueueAttributes(state.registers.admin_queue_attributes);
    let pages = capabilities.page_bytes_min()..=capabilities.page_bytes_max();
    if !pages.contains(&configuration.page_bytes().into()) {
        return Err(format!("memory pages of {} bytes are not possible", configuration.page_bytes()));
    }
    if configuration.command_sets() != 0 {
        return Err(format!("command sets {:#b} are not possible", configuration.command_sets()));
    }
    if configuration.arbitration() != 0 {
        return Err(format!("arbitration {:#b} is not possible", configuration.arbitration()));
    }
    if configuration.ready_without_media() {
        return Err("it is never ready before its media".into());
    }
    if attributes.submission_entries_z() == 0 || attributes.completion_entries_z() == 0 {
        return Err("admin queues of one entry are not possible".into());
    }
    Ok(())
}
