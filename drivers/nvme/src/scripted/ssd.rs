//! State of the scripted SSD, and its service of commands.

use super::disk::Disk;
use super::memory::{Reach, piece_of};
use super::partner::NullPartner;
use super::queues::{Answer, Completed, Submissions, low_half};
use super::script::{Enabling, Mischief, Script};
use luge_memory::{DmaMemory, DmaSpace, PageSize, SharedArray};
use luge_spec::nvme::{AsyncEvent, CompletionEntry, Configuration, StatusCode, SubmissionEntry};
use rustix::event::{EventfdFlags, eventfd};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// Bytes of doorbells: enough for the queues and strides in use.
pub(super) const DOORBELL_BYTES: u32 = 0x4000;

/// Events that a scripted SSD has counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Account {
    /// Changes of CC.EN from 1 to 0.
    pub controller_resets: u32,
    /// Function resets that worked.
    pub function_resets: u32,
    /// Number of shutdown notifications.
    pub shutdowns: u32,
    /// Number of I/O queues at the last shutdown notification.
    pub queues_at_shutdown: usize,
    /// Number of I/O commands that were executed.
    pub executed: u64,
    /// Whether the host has its function back.
    pub handed_back: bool,
}

/// Scripted SSD. A test shares it with the function that the driver has.
pub struct ScriptedSsd {
    pub(super) reach: Arc<Reach>,
    pub(super) state: Mutex<State>,
    pub(super) doorbells: DmaMemory,
    pub(super) recall: OwnedFd,
}

/// State behind the registers.
pub(super) struct State {
    pub script: Script,
    pub disks: BTreeMap<u32, Disk>,
    pub configuration: Configuration,
    pub status: u32,
    pub admin: [u64; 3],
    pub submissions: BTreeMap<u16, Submissions>,
    pub completions: BTreeMap<u16, Completed>,
    pub event_requests: Vec<u16>,
    /// Log pages that have to be read before another event about them is sent.
    pub masked: Vec<u8>,
    pub events: VecDeque<AsyncEvent>,
    pub interrupt: Option<OwnedFd>,
    pub mischief: VecDeque<Option<Mischief>>,
    pub account: Account,
    pub last: Vec<SubmissionEntry>,
    pub doorbells: SharedArray<u32>,
    /// Combination of command sets that was chosen.
    pub profile: Option<u32>,
    /// Whether a wrong use has broken the SSD, so that it cannot be enabled any more.
    pub broken: bool,
    /// Time of the last function reset, or of the start.
    pub reset_at: Instant,
    /// Time of the last change of CC.EN to 0.
    pub disabled_at: Option<Instant>,
    /// Time of the creation of each submission queue.
    pub created_at: BTreeMap<u16, Instant>,
}

impl ScriptedSsd {
    /// Makes an SSD with zeroes on it, whose IOMMU is attached to `space`.
    ///
    /// # Panics
    /// If there is no memory.
    #[must_use]
    pub fn new(script: Script, space: &DmaSpace) -> Arc<Self> {
        let doorbells = DmaMemory::allocate(&DmaSpace::new(), DOORBELL_BYTES.into(), PageSize::Base, None)
            .expect("a few pages");
        let reach = Arc::new(Reach::default());
        space.attach(reach.clone()).expect("the scripted IOMMU takes every address");
        let words = piece_of(&doorbells, 0, DOORBELL_BYTES).and_then(SharedArray::new);
        let state = State::new(script, words.expect("doorbells are aligned"));
        let recall = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
        Arc::new(Self { reach, state: Mutex::new(state), doorbells, recall })
    }

    /// Serves the I/O queues up to the tails in their doorbells; returns the number of commands.
    pub fn step(&self) -> usize {
        self.lock().serve_io(&self.reach)
    }

    /// Changes the script.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.lock().script);
    }

    /// Sets the misbehaviour with the next I/O commands, one by one; none for those that go well.
    pub fn misbehave(&self, mischief: impl IntoIterator<Item = Option<Mischief>>) {
        self.lock().mischief.extend(mischief);
    }

    /// Sends an event, as soon as there is a request for it.
    pub fn raise(&self, event: AsyncEvent) {
        let mut state = self.lock();
        state.events.push_back(event);
        state.send_events();
    }

    /// Sets CSTS.CFS to 1.
    pub fn fail(&self) {
        self.lock().status |= 2;
    }

    /// Sets CSTS.RDY to 1 after all, where the script let nothing follow CC.EN.
    pub fn become_ready(&self) {
        let mut state = self.lock();
        state.script.enabling = Enabling::Ready;
        state.enable(&self.reach);
    }

    /// Sets CSTS.RDY to 0.
    pub fn stop(&self) {
        self.lock().status &= !1;
    }

    /// Requests the function back, as the host does.
    ///
    /// # Panics
    /// If this was done as often as an eventfd can count.
    pub fn recall(&self) {
        rustix::io::write(&self.recall, &1u64.to_ne_bytes()).expect("room in the eventfd");
    }

    /// Events that were counted so far.
    #[must_use]
    pub fn account(&self) -> Account {
        self.lock().account
    }

    /// Takes the I/O commands since the last call, in order.
    #[must_use]
    pub fn take_commands(&self) -> Vec<SubmissionEntry> {
        std::mem::take(&mut self.lock().last)
    }

    /// Number of accesses to memory that were not allowed.
    #[must_use]
    pub fn dma_faults(&self) -> usize {
        self.reach.faults()
    }

    /// Number of I/O queue pairs that exist.
    #[must_use]
    pub fn io_queues(&self) -> usize {
        self.lock().submissions.keys().filter(|&&id| id != 0).count()
    }

    /// Combination of I/O command sets that the host has chosen.
    #[must_use]
    pub fn profile(&self) -> Option<u32> {
        self.lock().profile
    }

    /// Whether CC.CSS says all command sets.
    #[must_use]
    pub fn enabled_with_all_command_sets(&self) -> bool {
        self.lock().configuration.0 >> 4 & 7 == 6
    }

    /// Tail doorbell of a queue, as it was last written.
    #[must_use]
    pub fn tail(&self, queue: u16) -> u32 {
        self.lock().queue_doorbells(queue).0.into()
    }

    /// Reads blocks of a namespace's media.
    #[must_use]
    pub fn media(&self, namespace: u32, lba: u64, blocks: u32) -> Vec<u8> {
        self.lock().disks[&namespace].bytes(lba, blocks).to_vec()
    }

    /// Whether the SSD may access memory.
    #[must_use]
    pub fn is_bus_master(&self) -> bool {
        self.reach.bus_master.load(Ordering::Relaxed)
    }

    /// Makes a partner that serves a queue; [`Self::step`] must not be called meanwhile.
    #[must_use]
    pub fn null_partner(self: &Arc<Self>, queue: u16) -> Option<NullPartner> {
        let state = self.lock();
        let submissions = state.submissions.get(&queue)?.clone();
        let completions = state.completions.get(&submissions.completions)?.clone();
        let tail = state.doorbell_index(queue, 0);
        Some(NullPartner::new(submissions, completions, state.doorbells, tail))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no scripted SSD panics")
    }
}

impl State {
    fn new(script: Script, doorbells: SharedArray<u32>) -> Self {
        let disks = script.namespaces.iter().map(|namespace| (namespace.id, Disk::new(namespace))).collect();
        Self {
            script,
            disks,
            configuration: Configuration(0),
            status: 0,
            admin: [0; 3],
            submissions: BTreeMap::new(),
            completions: BTreeMap::new(),
            event_requests: Vec::new(),
            masked: Vec::new(),
            events: VecDeque::new(),
            interrupt: None,
            mischief: VecDeque::new(),
            account: Account::default(),
            last: Vec::new(),
            doorbells,
            profile: None,
            broken: false,
            reset_at: Instant::now(),
            disabled_at: None,
            created_at: BTreeMap::new(),
        }
    }

    /// Tail and head doorbell of a queue.
    fn queue_doorbells(&self, queue: u16) -> (u16, u16) {
        let load = |which| self.doorbells.load(self.doorbell_index(queue, which), Ordering::Acquire);
        (low_half(load(0)), low_half(load(1)))
    }

    /// Sets a doorbell to zero, when its queue is created.
    pub(super) fn clear_doorbell(&self, queue: u16, which: u32) {
        self.doorbells.store(self.doorbell_index(queue, which), 0, Ordering::Release);
    }

    fn doorbell_index(&self, queue: u16, which: u32) -> u32 {
        (u32::from(queue) * 2 + which) << self.script.stride_log
    }

    pub(super) fn running(&self) -> bool {
        self.script.present && self.status & 3 == 1
    }

    /// Follows a write of CC.
    pub(super) fn configure(&mut self, new: Configuration, reach: &Reach) {
        let old = std::mem::replace(&mut self.configuration, new);
        if new.shutting_down() && !old.shutting_down() {
            self.account.shutdowns += 1;
            self.account.queues_at_shutdown = self.submissions.len().saturating_sub(1);
            self.status |= if self.script.shutdown_works { 2 << 2 } else { 1 << 2 };
        }
        match (old.enabled(), new.enabled()) {
            (false, true) => self.enable(reach),
            (true, false) => {
                self.account.controller_resets += 1;
                self.disabled_at = Some(Instant::now());
                if self.script.disable_works {
                    self.forget();
                }
            }
            _ => {}
        }
    }

    /// Forgets everything, as after power-on.
    pub(super) fn forget(&mut self) {
        self.configuration = Configuration(0);
        self.status = 0;
        self.submissions.clear();
        self.completions.clear();
        self.event_requests.clear();
        self.masked.clear();
    }

    fn enable(&mut self, reach: &Reach) {
        self.before_enabling();
        let [sizes, asq, acq] = self.admin;
        match self.script.enabling {
            _ if self.broken => self.status = 2,
            Enabling::Never => {}
            Enabling::Fatal => self.status = 2,
            Enabling::Ready => {
                let entries = |z: u64| u16::try_from((z & 0xfff) + 1).expect("12 bits");
                let submissions = Submissions::new(reach, asq, entries(sizes), 0);
                let completions = Completed::new(reach, acq, entries(sizes >> 16));
                if let (Some(submissions), Some(completions)) = (submissions, completions) {
                    self.submissions.insert(0, submissions);
                    self.completions.insert(0, completions);
                    self.status = 1;
                }
            }
        }
    }

    /// Serves the admin queue up to its doorbell.
    pub(super) fn serve_admin(&mut self, reach: &Reach, tail: u16) {
        while self.running() {
            let Some(entry) = self.submissions.get_mut(&0).and_then(|queue| queue.fetch(tail)) else { break };
            if self.before_command(0, &entry) {
                break;
            }
            if let Some(answer) = self.execute_admin(reach, &entry) {
                self.complete_admin(&entry, answer);
            }
            self.send_events();
        }
    }

    fn serve_io(&mut self, reach: &Reach) -> usize {
        let queues: Vec<u16> = self.submissions.keys().copied().filter(|&id| id != 0).collect();
        let mut served = 0;
        for id in queues {
            let (tail, head) = self.queue_doorbells(id);
            while self.running() && !self.completions[&id].full(head) {
                let Some(entry) = self.submissions.get_mut(&id).and_then(|queue| queue.fetch(tail)) else {
                    break;
                };
                let left = self.submissions.get(&id).map_or(0, |queue| queue.left(tail));
                if !self.drops_command(id, &entry, left) {
                    self.serve_one(reach, id, &entry);
                }
                served += 1;
            }
        }
        served
    }

    /// Identifier of the command that had the slot of `entry` before.
    fn last_use_of_slot(&self, entry: &SubmissionEntry) -> u16 {
        let slot = |entry: &SubmissionEntry| entry.command_id & 0x0fff;
        let mut earlier = self.last.iter().rev().skip(1);
        earlier.find(|other| slot(other) == slot(entry)).map_or(0xfffe, |other| other.command_id)
    }

    fn serve_one(&mut self, reach: &Reach, queue: u16, entry: &SubmissionEntry) {
        self.last.push(*entry);
        let mischief = self.mischief.pop_front().flatten();
        match mischief {
            Some(Mischief::Silence) => return,
            Some(Mischief::Fatal) => return self.status |= 2,
            Some(Mischief::Vanish) => return self.script.present = false,
            Some(Mischief::Status(code)) => return self.complete(queue, entry, code.into(), None),
            Some(Mischief::StaleId) => {
                let stale = SubmissionEntry { command_id: self.last_use_of_slot(entry), ..*entry };
                return self.complete(queue, &stale, StatusCode::SUCCESS.into(), None);
            }
            _ => {}
        }
        self.account.executed += 1;
        let code = match self.disks.get_mut(&entry.namespace) {
            Some(disk) => disk.execute(reach, entry),
            None => StatusCode::INVALID_NAMESPACE,
        };
        self.complete(queue, entry, code.into(), mischief);
    }

    /// Completes a command, with a misbehaviour if there is one.
    fn complete(&mut self, queue: u16, entry: &SubmissionEntry, answer: Answer, mischief: Option<Mischief>) {
        let Some(Submissions { head, entries, completions, .. }) = self.submissions.get(&queue).cloned()
        else {
            return;
        };
        let completion = CompletionEntry {
            result: answer.result,
            submission_head: match mischief {
                Some(Mischief::HeadPastTail) => head.wrapping_sub(2) % entries,
                Some(Mischief::HeadOutside) => entries + head,
                _ => head,
            },
            submission_queue: if mischief == Some(Mischief::WrongQueue) { queue + 1 } else { queue },
            command_id: if mischief == Some(Mischief::UnknownId) { 0xfffe } else { entry.command_id },
            ..CompletionEntry::default()
        };
        let Some(to) = self.completions.get_mut(&completions) else { return };
        to.post(answer.code, completion);
        match mischief {
            Some(Mischief::Twice) => to.post(answer.code, completion),
            Some(Mischief::FalsePhase) => to.flip_phase(),
            _ => {}
        }
    }

    /// Completes an admin command.
    pub(super) fn complete_admin(&mut self, entry: &SubmissionEntry, answer: Answer) {
        if self.script.admin == Some(Mischief::Silence) {
            return;
        }
        self.complete(0, entry, answer, self.script.admin);
        if let Some(fd) = &self.interrupt {
            let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
        }
    }

    /// Completes event requests with events, as long as the log page of the last such event was read.
    pub(super) fn send_events(&mut self) {
        while let Some(event) = self.events.front().copied() {
            if self.masked.contains(&event.log_page()) {
                return;
            }
            let Some(command_id) = self.event_requests.pop() else { return };
            self.events.pop_front();
            self.masked.push(event.log_page());
            let entry = SubmissionEntry { command_id, ..SubmissionEntry::default() };
            self.complete_admin(&entry, Answer::success(event.0));
        }
    }
}
