//! One client, from its connection to its end.
//!
//! ```text
//!                   +--> message --> function --> reply --+
//!   wait (socket, event of the function, time)            |
//!     ^             +--> function's event --> late reply -+
//!     +---------------------------------------------------+
//! ```
//!
//! Invariants
//! - The thread waits in one place only, and there for everything. So a client that stops in the middle of a message,
//!   or takes no replies, keeps nothing from going on in its function.
//! - Messages are answered in their order. One that waits for requests in flight holds up those after it. All that wait
//!   for the same requests hold up others for [`LATE`] at most.
//!
//! Not here: who is served (`luge_endpoint`).

mod interrupts;
mod memory;
mod message;
mod outbox;
mod receive;
mod regions;
mod version;
mod watched;

use crate::client::Client;
use crate::function::{Function, Progress};
use crate::served::Served;
use luge_endpoint::End;
use luge_spec::vfio_user::{Command, DeviceFlags, DeviceInfo, Header, InterruptIndex, RegionIndex};
use memory::ClientMemory;
use message::{Answer, Message, Refusal, Reply, split};
use outbox::Outbox;
use receive::{Received, Receiver};
use regions::Regions;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use version::Negotiated;
use watched::WatchedMemory;

/// Longest time that replies wait for requests in flight, all together: a client may send many messages and wait for the
/// last reply. QEMU's gives up after 5 s.
const LATE: Duration = Duration::from_secs(1);

type Ending = End<Infallible>;

/// Serves a client until it leaves or is at fault. Its function is gone then.
pub(crate) fn serve(stream: UnixStream, number: u64, served: &Arc<Served>) -> Ending {
    let mut connection = match Connection::new(Arc::new(stream), number, served) {
        Ok(connection) => connection,
        Err(error) => return fault(format_args!("its memory cannot be watched: {error}")),
    };
    let end = loop {
        if let Err(end) = connection.step() {
            break end;
        }
    };
    // Where memory is missing it was we who ended the connection.
    if connection.memory.is_lost() { fault(LOST) } else { end }
}

/// Reason why a client was cut off whose memory is gone.
const LOST: &str =
    "it has taken memory of its guest away (is its memory file shortened, or out of hugepages?)";

fn fault(reason: impl ToString) -> Ending {
    End::Fault(reason.to_string())
}

/// A connection that is served.
struct Connection {
    served: Arc<Served>,
    socket: Arc<UnixStream>,
    // Dropped before the memory that it uses.
    function: Box<dyn Function>,
    regions: Regions,
    memory: ClientMemory,
    watched: Arc<WatchedMemory>,
    /// Capabilities of the client, after its first message.
    negotiated: Option<Negotiated>,
    receiver: Receiver,
    outbox: Outbox,
    held: Option<Held>,
    /// Time up to which replies wait; none while the function waits for nothing.
    late_at: Option<Instant>,
}

/// A message whose reply waits for requests in flight.
struct Held {
    header: Header,
    reply: Reply,
    until: Instant,
}

/// Reasons why a wait has ended.
struct Ready {
    /// Events of the client's socket.
    socket: PollFlags,
    /// Whether the function has something to do.
    function: bool,
    /// Whether the client's memory has kept a core waiting.
    memory: bool,
}

impl Connection {
    fn new(socket: Arc<UnixStream>, number: u64, served: &Arc<Served>) -> io::Result<Self> {
        let watched = WatchedMemory::watch()?;
        let endpoint = served.name.as_str().into();
        let function = served.source.connect(Client { endpoint, owner: served.owner.clone(), number });
        Ok(Self {
            served: served.clone(),
            regions: Regions::of(&*function),
            function,
            memory: ClientMemory::new(served.clone(), socket.clone(), watched.clone()),
            watched,
            socket,
            negotiated: None,
            receiver: Receiver::default(),
            outbox: Outbox::default(),
            held: None,
            late_at: None,
        })
    }

    /// Waits for something to do, and does it.
    fn step(&mut self) -> Result<(), Ending> {
        self.outbox.flush(&self.socket).map_err(|_| End::Left)?;
        let ready = self.wait();
        if ready.memory {
            self.leave_cores();
        }
        if ready.function {
            self.function.on_event();
            self.settle();
        }
        if let Some(reason) = self.function.failure() {
            return Err(fault(reason));
        }
        if self.may_read() {
            if ready.socket.is_empty() {
                self.memory.publish(&mut *self.function);
                return Ok(());
            }
            return self.receive();
        }
        let has_left = ready.socket.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR);
        if has_left { Err(End::Left) } else { Ok(()) }
    }

    /// Moves the function's queues off the cores that had to wait for the client's memory.
    fn leave_cores(&mut self) {
        let Some(stalls) = self.watched.take() else { return };
        let Served { name, log, ledger, .. } = &*self.served;
        log.costly.line(|| {
            tracing::warn!(
                "{name}: a core has waited {:?} for memory of the client (are holes made in its file?): a slow thread of \
                 its own serves it from now on",
                stalls.longest
            );
        });
        ledger.left_cores(stalls);
        self.function.leave_cores();
    }

    /// Whether the next message may be read: all before it have been answered.
    fn may_read(&self) -> bool {
        self.held.is_none() && self.outbox.is_empty()
    }

    fn wait(&self) -> Ready {
        let wanted = match (self.outbox.is_empty(), &self.held) {
            (false, _) => PollFlags::OUT | PollFlags::RDHUP,
            (true, Some(_)) => PollFlags::RDHUP,
            (true, None) => PollFlags::IN | PollFlags::RDHUP,
        };
        let (now, wake_at) = (Instant::now(), self.wake_at());
        let left = wake_at.map(|at| at.saturating_duration_since(now));
        let left = if self.memory.is_published() { left } else { Some(Duration::ZERO) };
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let event = self.function.event();
        let bell = self.watched.bell();
        let mut fds = vec![PollFd::new(&*self.socket, wanted), PollFd::new(&bell, PollFlags::IN)];
        fds.extend(event.iter().map(|event| PollFd::new(event, PollFlags::IN)));
        // Interrupted or out of memory: another turn, no worse than one too many.
        if poll(&mut fds, timeout.as_ref()).is_err() {
            return Ready { socket: PollFlags::empty(), function: false, memory: false };
        }
        let mut events = fds.iter().map(PollFd::revents);
        let socket = events.next().unwrap_or(PollFlags::empty());
        let memory = events.next().is_some_and(|events| !events.is_empty());
        let is_time = wake_at.is_some_and(|at| at <= Instant::now());
        Ready { socket, function: is_time || events.any(|event| !event.is_empty()), memory }
    }

    /// Time at which there is something to do, if nothing happens before.
    fn wake_at(&self) -> Option<Instant> {
        let held = self.held.as_ref().map(|held| held.until);
        self.function.wake_at().into_iter().chain(held).min()
    }

    /// Answers the message that waits, if requests in flight have ended or it has waited too long.
    fn settle(&mut self) {
        let Some(held) = self.held.take() else { return };
        match self.function.progress() {
            Progress::Done => {
                self.answer(&held.header, Ok(held.reply));
            }
            Progress::Pending if held.until > Instant::now() => self.held = Some(held),
            Progress::Pending => {
                self.answer(&held.header, Err(Refusal(Errno::BUSY)));
            }
        }
    }

    fn receive(&mut self) -> Result<(), Ending> {
        match self.receiver.receive(&self.socket).map_err(fault)? {
            Received::Message(message) => self.handle(message),
            Received::Incomplete => {
                self.memory.publish(&mut *self.function);
                Ok(())
            }
            Received::End => Err(End::Left),
        }
    }

    fn handle(&mut self, message: Message) -> Result<(), Ending> {
        let header = message.header;
        if !header.flags.is_command() {
            return Err(fault(format_args!("it has sent a reply, {}, to nothing", header.command)));
        }
        if header.command != Command::DMA_MAP || !header.flags.wants_no_reply() {
            // What was mapped before is to be there for what follows.
            self.memory.publish(&mut *self.function);
        }
        let Some(negotiated) = self.negotiated else { return self.negotiate(&message) };
        self.late_at.take_if(|_| self.function.progress() == Progress::Done);
        match self.obey(message, negotiated) {
            Ok(Answer::Now(reply)) => {
                if !header.flags.wants_no_reply() {
                    self.memory.publish(&mut *self.function);
                }
                self.answer(&header, Ok(reply));
            }
            Ok(Answer::Later(reply)) => {
                let now = Instant::now();
                let until = *self.late_at.get_or_insert_with(|| now.checked_add(LATE).unwrap_or(now));
                self.held = Some(Held { header, reply, until });
            }
            Err(refusal) => self.answer(&header, Err(refusal)),
        }
        Ok(())
    }

    /// Takes the first message.
    fn negotiate(&mut self, message: &Message) -> Result<(), Ending> {
        let header = &message.header;
        if header.command != Command::VERSION {
            return Err(fault(format_args!("its first message is {}, not VERSION", header.command)));
        }
        match version::negotiate(&message.payload) {
            Ok((negotiated, reply)) => {
                self.served.ledger.spoken();
                self.negotiated = Some(negotiated);
                self.answer(header, Ok(reply));
                Ok(())
            }
            Err(Refusal(error)) => {
                self.answer(header, Err(Refusal(error)));
                // Its end follows, whether the client has room for the reply or not.
                let _ = self.outbox.flush(&self.socket);
                Err(fault(format_args!("its VERSION cannot be understood: {error}")))
            }
        }
    }

    /// Does what a message asks for.
    fn obey(&mut self, message: Message, negotiated: Negotiated) -> Result<Answer, Refusal> {
        let Message { header, payload, files } = message;
        let function = &mut *self.function;
        let reply = match header.command {
            Command::DMA_UNMAP => return self.memory.unmap(&payload, function),
            Command::DEVICE_RESET => {
                return Ok(match function.reset() {
                    Progress::Done => Answer::Now(Reply::empty()),
                    Progress::Pending => Answer::Later(Reply::empty()),
                });
            }
            Command::DMA_MAP => self.memory.map(&payload, files),
            Command::GET_INFO => info(&payload),
            Command::GET_REGION_INFO => self.regions.info(&payload, negotiated),
            Command::GET_REGION_IO_FDS => self.regions.io_fds(&payload),
            Command::GET_IRQ_INFO => interrupts::info(&payload, function),
            Command::SET_IRQS => interrupts::set(&payload, files, function),
            Command::REGION_READ => self.regions.read(&payload, negotiated, function),
            Command::REGION_WRITE => self.regions.write(&payload, function),
            Command::REGION_WRITE_MULTI => self.regions.write_multi(&payload, function),
            Command::VERSION => Err(Refusal(Errno::INVAL)),
            _ => Err(Refusal(Errno::NOTSUP)),
        };
        reply.map(Answer::Now)
    }

    fn answer(&mut self, request: &Header, answer: Result<Reply, Refusal>) {
        if let Err(Refusal(error)) = answer {
            let name = &self.served.name;
            self.served.log.refused.line(|| {
                tracing::info!("{name}: the client's {} was refused: {error}", request.command);
            });
        }
        if request.flags.wants_no_reply() {
            return;
        }
        match answer {
            Ok(reply) => self.outbox.put(request, reply),
            Err(Refusal(error)) => self.outbox.put_error(request, error),
        }
    }
}

/// Answers GET_INFO.
fn info(payload: &[u8]) -> Result<Reply, Refusal> {
    split::<DeviceInfo>(payload)?;
    Ok(Reply::of(&DeviceInfo {
        argsz: u32::try_from(size_of::<DeviceInfo>()).unwrap_or(0).into(),
        flags: DeviceFlags((DeviceFlags::RESET | DeviceFlags::PCI).into()),
        regions: RegionIndex::COUNT.into(),
        interrupts: InterruptIndex::COUNT.into(),
    }))
}
