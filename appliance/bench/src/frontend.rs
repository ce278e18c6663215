//! The control side of a front end: connects, negotiates, sets the rings up.

use crate::BenchError;
use crate::arena::Arena;
use crate::options::Options;
use crate::patience;
use crate::ring::{Notifications, Ring};
use luge_spec::virtio::{Features, blk};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fmt::Display;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserProtocolFeatures as Protocol};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use zerocopy::FromBytes;

/// A disk with its rings set up.
pub(crate) struct Disk {
    pub(crate) queues: Vec<Ring>,
    pub(crate) sectors: u64,
    path: String,
    peer: Option<i32>,
    /// The server stops serving when it closes.
    connection: UnixStream,
    /// The same connection.
    _frontend: Frontend,
    /// What the rings and buffers are in. Dropped after the connection.
    _memory: Arena,
}

impl Disk {
    /// # Errors
    /// What the server or the disk cannot do; what the server did wrong; `stop` was set.
    pub(crate) fn connect(options: &Options, stop: &AtomicBool) -> Result<Self, BenchError> {
        let failed = |what: &dyn Display| server(options, what);
        let connect = || UnixStream::connect(&options.socket);
        let connection = connect().map_err(|e| failed(&format_args!("cannot connect: {e}")))?;
        let same = connection.try_clone().map_err(|e| failed(&e))?;
        let peer =
            rustix::net::sockopt::socket_peercred(&connection).ok().map(|c| c.pid.as_raw_nonzero().get());
        let talk =
            || Talk { frontend: Frontend::from_stream(same, u64::from(options.queues)), options }.all();
        let set_up = patience::with_limit(&connection, stop, talk).map_err(|reason| failed(&reason))??;
        let (frontend, memory, queues, sectors) = set_up;
        let path = options.socket.display().to_string();
        Ok(Self { queues, sectors, path, peer, connection, _frontend: frontend, _memory: memory })
    }

    /// The process at the other end of the socket.
    pub(crate) fn peer(&self) -> Option<i32> {
        self.peer
    }

    /// Requests not yet answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.queues.iter().map(Ring::in_flight).sum()
    }

    /// # Errors
    /// The server is gone.
    pub(crate) fn check_connection(&self) -> Result<(), BenchError> {
        let mut fds = [PollFd::new(&self.connection, PollFlags::RDHUP)];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(1..) => Err(BenchError::Server {
                path: self.path.clone(),
                reason: "the server has closed the connection".into(),
            }),
            _ => Ok(()),
        }
    }
}

fn server(options: &Options, reason: &dyn Display) -> BenchError {
    BenchError::Server { path: options.socket.display().to_string(), reason: reason.to_string() }
}

/// The conversation with the server.
struct Talk<'a> {
    frontend: Frontend,
    options: &'a Options,
}

impl Talk<'_> {
    fn all(mut self) -> Result<(Frontend, Arena, Vec<Ring>, u64), BenchError> {
        let (features, queues) = self.negotiate()?;
        let config = self.config()?;
        self.check(features, (&config, queues))?;
        let (queues, memory) = self.start(features)?;
        Ok((self.frontend, memory, queues, config.capacity.get()))
    }

    /// What both sides know, and how many queues the server has.
    fn negotiate(&mut self) -> Result<(Features, u64), BenchError> {
        self.ask("SET_OWNER", |server| server.set_owner())?;
        let offered = Features(self.ask("GET_FEATURES", |server| server.get_features())?);
        let needed = Features::VERSION_1 | Features::VHOST_PROTOCOL_FEATURES;
        if !offered.contains(needed) {
            return Err(self.wrong("it does not offer VIRTIO_F_VERSION_1 and protocol features"));
        }
        let wanted =
            needed | Features::BLK_FLUSH | Features::BLK_RO | Features::BLK_BLK_SIZE | Features::BLK_MQ;
        let event_index = if self.options.no_event_idx { Features(0) } else { Features::RING_EVENT_IDX };
        let agreed = Features(offered.0 & (wanted | event_index).0);
        let can = self.ask("GET_PROTOCOL_FEATURES", |server| server.get_protocol_features())?;
        if !can.contains(Protocol::CONFIG) {
            return Err(self.wrong("it does not tell how large its disk is (protocol feature CONFIG)"));
        }
        let use_ = can & (Protocol::CONFIG | Protocol::MQ | Protocol::REPLY_ACK);
        self.ask("SET_PROTOCOL_FEATURES", |server| server.set_protocol_features(use_))?;
        let is_multiqueue = use_.contains(Protocol::MQ) && agreed.contains(Features::BLK_MQ);
        let queues =
            if is_multiqueue { self.ask("GET_QUEUE_NUM", |server| server.get_queue_num())? } else { 1 };
        self.ask("SET_FEATURES", |server| server.set_features(agreed.0))?;
        Ok((agreed, queues))
    }

    fn config(&mut self) -> Result<blk::Config, BenchError> {
        // As long as the oldest servers know it: up to the writeback byte and the queues.
        let (empty, flags) = ([0; 60], VhostUserConfigFlags::empty());
        let (_, bytes) = self.ask("GET_CONFIG", |server| server.get_config(0, 60, flags, &empty))?;
        let mut whole = [0; size_of::<blk::Config>()];
        whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        blk::Config::read_from_bytes(&whole).map_err(|_| self.wrong("GET_CONFIG: too short"))
    }

    /// Whether the disk is one for these options.
    fn check(&self, features: Features, (config, queues): (&blk::Config, u64)) -> Result<(), BenchError> {
        let (sectors, bs) = (config.capacity.get(), self.options.bs);
        let block = if features.contains(Features::BLK_BLK_SIZE) { config.blk_size.get() } else { 0 };
        if u64::from(self.options.queues) > queues {
            let asked = self.options.queues;
            return Err(BenchError::Options(format!(
                "--queues {asked}: the server has {queues}, ask for no more"
            )));
        }
        if block != 0 && !bs.is_multiple_of(block) {
            return Err(BenchError::Options(format!(
                "--bs {bs}: the disk has blocks of {block} bytes, name a multiple of that"
            )));
        }
        if sectors < u64::from(bs / 512) {
            return Err(self.wrong(&format!("the disk has {sectors} sectors only, less than one request")));
        }
        if self.options.rw.writes() && features.contains(Features::BLK_RO) {
            return Err(self.wrong("the disk is read-only"));
        }
        Ok(())
    }

    /// Shares the memory and starts the rings.
    fn start(&mut self, features: Features) -> Result<(Vec<Ring>, Arena), BenchError> {
        let mut memory = Arena::new(self.options.memory_bytes())?;
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: memory.address(),
            memory_size: memory.len(),
            userspace_addr: memory.address(),
            mmap_offset: 0,
            mmap_handle: memory.file(),
        };
        self.ask("SET_MEM_TABLE", |server| server.set_mem_table(&[region]))?;
        let indices = 0..usize::from(self.options.queues);
        let rings = indices.map(|index| self.start_queue((index, features), &mut memory));
        Ok((rings.collect::<Result<_, _>>()?, memory))
    }

    fn start_queue(
        &mut self,
        (index, features): (usize, Features),
        memory: &mut Arena,
    ) -> Result<Ring, BenchError> {
        let (kick, call) = (event()?, event()?);
        let by_index = features.contains(Features::RING_EVENT_IDX);
        let notifications = if by_index { Notifications::EventIndex } else { Notifications::Flags };
        let (ring, at) = Ring::new(self.options, notifications, memory);
        let size = u16::try_from(self.options.ring_size()).unwrap_or(u16::MAX);
        let addresses = VringConfigData {
            queue_max_size: size,
            queue_size: size,
            flags: 0,
            desc_table_addr: at.descriptors,
            used_ring_addr: at.used,
            avail_ring_addr: at.available,
            log_addr: None,
        };
        self.ask("SET_VRING_NUM", |server| server.set_vring_num(index, size))?;
        self.ask("SET_VRING_BASE", |server| server.set_vring_base(index, 0))?;
        self.ask("SET_VRING_ADDR", |server| server.set_vring_addr(index, &addresses))?;
        self.ask("SET_VRING_CALL", |server| server.set_vring_call(index, &call))?;
        self.ask("SET_VRING_KICK", |server| server.set_vring_kick(index, &kick))?;
        self.ask("SET_VRING_ENABLE", |server| server.set_vring_enable(index, true))?;
        Ok(ring.with_events(kick, call))
    }

    /// Sends a message; an error is said with the message's name.
    fn ask<T>(
        &mut self,
        name: &str,
        message: impl FnOnce(&mut Frontend) -> vhost::Result<T>,
    ) -> Result<T, BenchError> {
        message(&mut self.frontend).map_err(|e| server(self.options, &format_args!("{name}: {e}")))
    }

    fn wrong(&self, reason: &str) -> BenchError {
        server(self.options, &reason)
    }
}

fn event() -> Result<EventFd, BenchError> {
    EventFd::new(EFD_NONBLOCK).map_err(|source| BenchError::System { what: "cannot make an eventfd", source })
}
