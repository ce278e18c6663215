//! The control thread: it owns what exists, and is the only writer.
//!
//! Path: none of a guest's. RPC and console threads send tasks and wait for the answers.
//!
//! Slow work (a controller's bring-up, gigabytes of memory, the end of a slow SSD's
//! requests) is done by the thread that asked, between two tasks: the first reserves the
//! name, the second puts the object there. An [`Undo`] frees the name where that fails.
//!
//! Invariants
//! - A task is done wholly or not at all, and no other one is done meanwhile.
//! - No task waits for a guest, a front end or an SSD, nor drops what would: objects that can be slow to end
//!   go back to the thread that asked. Only the stop waits, when nobody asks any more.
//! - After `stop` no object exists and none is made.

mod bdevs;
mod budget;
mod contents;
mod endpoint;
mod hba;
mod identifiers;
mod nvmf;
mod platform;
mod pr_scope;
mod record;
#[cfg(test)]
mod rig;
mod sled;
mod socket_folder;
mod ssd;
mod table;
mod units;

pub use bdevs::{Bdev, Bdevs, HistogramStart, Source, User};
pub use budget::Budget;
pub use contents::{Contents, EndedNames};
pub use endpoint::{Delayed, Disk, Endpoint, Place, Server, VhostDevice};
pub use hba::{Hba, Lun, LunPresence, WantedTarget};
pub use nvmf::{Listener, MadeDirectories, Nvmf, NvmfSubsystem, ServedNamespace, Transport};
pub use platform::Platform;
pub use pr_scope::{PrOwner, PrScope};
pub use record::{Call, Record, Subsystem};
#[cfg(test)]
pub use rig::{control, platform};
pub use sled::Sled;
pub use socket_folder::{SocketFolder, real};
pub use ssd::{Ssd, SsdAddress};
pub use table::{Names, Table};
pub use units::UnitNames;

use luge_rpc::{Caller, RpcError};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most time that a stop waits for objects that are being made: longer than CAP.TO lets an SSD take.
const SETTLE: Duration = Duration::from_secs(150);

/// Work of the control thread.
type Task = Box<dyn FnOnce(&mut Sled) + Send>;

enum Message {
    /// A task that may change what exists.
    Do(Task),
    /// A task that only looks.
    Look(Task),
    Stop,
}

/// The control thread, as all others see it.
pub struct Control {
    mailbox: Sender<Message>,
    changes: Arc<Changes>,
    platform: Arc<Platform>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Control {
    /// Starts the control thread of a sled.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(sled: Sled) -> std::io::Result<Arc<Self>> {
        let (mailbox, tasks) = channel();
        let changes = Arc::<Changes>::default();
        let (told, platform) = (changes.clone(), sled.platform.clone());
        let thread =
            std::thread::Builder::new().name("control".into()).spawn(move || run(sled, &tasks, &told))?;
        Ok(Arc::new(Self { mailbox, changes, platform, thread: Mutex::new(Some(thread)) }))
    }

    /// The parts that never change: cores, memory, folders.
    #[must_use]
    pub fn platform(&self) -> &Arc<Platform> {
        &self.platform
    }

    /// Does `task` on the control thread, and waits for the answer.
    ///
    /// # Errors
    /// Errors of `task`, or one that says that Luge is stopping.
    pub fn ask<R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Sled) -> Result<R, RpcError> + Send + 'static,
    ) -> Result<R, RpcError> {
        self.send(Message::Do, task)
    }

    fn send<R: Send + 'static>(
        &self,
        message: fn(Task) -> Message,
        task: impl FnOnce(&mut Sled) -> Result<R, RpcError> + Send + 'static,
    ) -> Result<R, RpcError> {
        let (answer, question) = sync_channel(1);
        let task = move |sled: &mut Sled| {
            // Nobody waits any more only where the process is ending.
            let _ = answer.send(task(sled));
        };
        let sent = self.mailbox.send(message(Box::new(task)));
        sent.ok()
            .and_then(|()| question.recv().ok())
            .ok_or_else(|| RpcError::invalid_state("Luge is stopping"))?
    }

    /// Prepares a task that is done on the control thread unless [`Undo::disarm`] comes first.
    pub fn undo(self: &Arc<Self>, task: impl FnOnce(&mut Sled) + Send + 'static) -> Undo {
        Undo { control: self.clone(), task: Some(Box::new(task)) }
    }

    /// Looks at what exists, once.
    ///
    /// # Errors
    /// Errors of `look`, or one that says that Luge is stopping.
    pub fn look<R: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Sled) -> Result<R, RpcError> + Send + 'static,
    ) -> Result<R, RpcError> {
        self.send(Message::Look, look)
    }

    /// Looks again after each change until there is an answer, the time is over, or the caller no
    /// longer wants to know.
    ///
    /// # Errors
    /// The last error, or -16 if too many callers wait already.
    pub fn look_until<R: Send + 'static>(
        &self,
        deadline: Instant,
        caller: &Caller<'_>,
        look: impl Fn(&mut Sled) -> Result<R, RpcError> + Send + Clone + 'static,
    ) -> Result<R, RpcError> {
        let first = self.look(look.clone());
        if first.is_ok() || deadline <= Instant::now() {
            return first;
        }
        let _permit = caller.wait_permit()?;
        loop {
            let seen = self.changes.count();
            match self.look(look.clone()) {
                Err(error) if !self.changes.wait(seen, deadline, caller) => return Err(error),
                Err(_) => {}
                answer => return answer,
            }
        }
    }

    /// Deletes all that exists. Waits on this thread, for as long as guests and SSDs take.
    ///
    /// # Errors
    /// If Luge is stopping.
    pub fn clear(&self) -> Result<(), RpcError> {
        let names = self.ask(|sled| Ok(sled.take_all()))?.end();
        self.ask(move |sled| {
            sled.release(&names);
            Ok(())
        })
    }

    /// Deletes all that exists and ends the thread. Waits for every request that was taken.
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(thread), Ok(())) = (thread, self.mailbox.send(Message::Stop)) {
            // A panic there has been reported; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

fn run(mut sled: Sled, tasks: &Receiver<Message>, changes: &Changes) {
    loop {
        match tasks.recv() {
            Ok(Message::Do(task)) => {
                task(&mut sled);
                changes.add();
            }
            Ok(Message::Look(task)) => task(&mut sled),
            Ok(Message::Stop) | Err(_) => break,
        }
    }
    settle(&mut sled, tasks);
    sled.stop();
}

/// Waits until other threads have ended what they have begun: an SSD that is coming up now is to be
/// shut down, too.
fn settle(sled: &mut Sled, tasks: &Receiver<Message>) {
    let deadline = Instant::now() + SETTLE;
    while !sled.is_settled() {
        match tasks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Message::Do(task) | Message::Look(task)) => task(sled),
            Ok(Message::Stop) => {}
            Err(_) => return,
        }
    }
}

/// A task that undoes what was begun. Dropping it does it.
#[must_use]
pub struct Undo {
    control: Arc<Control>,
    task: Option<Task>,
}

impl Undo {
    /// Forgets the task: all went well.
    pub fn disarm(mut self) {
        self.task = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            let _ = self.control.ask(move |sled| {
                task(sled);
                Ok(())
            });
        }
    }
}

/// Number of tasks that may have changed something.
#[derive(Default)]
struct Changes {
    count: Mutex<u64>,
    more: Condvar,
}

impl Changes {
    fn add(&self) {
        *self.lock() += 1;
        self.more.notify_all();
    }

    fn count(&self) -> u64 {
        *self.lock()
    }

    /// Waits until there were more than `seen`; false if that takes too long, or the caller no
    /// longer wants to know.
    fn wait(&self, seen: u64, deadline: Instant, caller: &Caller<'_>) -> bool {
        let mut count = self.lock();
        while *count == seen {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest == Duration::ZERO || !caller.wants_answer() {
                return false;
            }
            let waited = self.more.wait_timeout(count, rest.min(Caller::LOOK));
            (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
