//! The conversation with a server: negotiation, memory, rings.

use super::kind::Kind;
use super::ring::Ring;
use crate::arena::Arena;
use crate::error::BenchError;
use crate::options::Options;
use luge_spec::virtio::Features;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fmt::Display;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserInflight, VhostUserProtocolFeatures as Protocol,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};

/// Memory in which a server notes what it has in flight, for the one after it.
pub(crate) struct Inflight {
    layout: VhostUserInflight,
    file: File,
}

/// An error of the server's.
pub(crate) fn server(path: &Path, reason: &dyn Display) -> BenchError {
    BenchError::Server { path: path.display().to_string(), reason: reason.to_string() }
}

/// Party that talks to a server, and the server.
#[derive(Clone, Copy)]
pub(crate) struct Parties<'a> {
    pub(crate) options: &'a Options,
    pub(crate) path: &'a Path,
    pub(crate) stream: &'a UnixStream,
}

/// A conversation with a server.
pub(crate) struct Talk<'a> {
    frontend: Frontend,
    parties: Parties<'a>,
    /// Whether the server tells its configuration space.
    has_config: bool,
}

impl<'a> Talk<'a> {
    /// A conversation that has not begun.
    pub(crate) fn new(frontend: Frontend, parties: Parties<'a>) -> Self {
        Self { frontend, parties, has_config: false }
    }

    /// Ends it; what keeps the connection open is left.
    pub(crate) fn end(self) -> Frontend {
        self.frontend
    }

    /// Options of the load.
    pub(crate) fn options(&self) -> &'a Options {
        self.parties.options
    }

    /// Whether the connection was closed.
    pub(crate) fn is_over(&self) -> bool {
        let mut fds = [PollFd::new(self.parties.stream, PollFlags::RDHUP)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..))
    }

    /// Agrees with the server on features, and returns them.
    pub(crate) fn negotiate<K: Kind>(&mut self) -> Result<Features, BenchError> {
        let (features, queues) = self.agree::<K>()?;
        let (asked, queues) = (self.options().queues, queues.saturating_sub(K::FIRST_QUEUE.into()));
        if u64::from(asked) > queues {
            return Err(BenchError::Options(format!(
                "--queues {asked}: the server has {queues}, ask for no more"
            )));
        }
        Ok(features)
    }

    /// The features that both sides know, and the number of queues that the server has.
    fn agree<K: Kind>(&mut self) -> Result<(Features, u64), BenchError> {
        self.ask("SET_OWNER", |server| server.set_owner())?;
        let offered = Features(self.ask("GET_FEATURES", |server| server.get_features())?);
        let needed = Features::VERSION_1 | Features::VHOST_PROTOCOL_FEATURES;
        if !offered.contains(needed) {
            return Err(self.wrong("it does not offer VIRTIO_F_VERSION_1 and protocol features"));
        }
        let wanted = needed | K::FEATURES;
        let event_index = if self.options().no_event_idx { Features(0) } else { Features::RING_EVENT_IDX };
        let agreed = Features(offered.0 & (wanted | event_index).0);
        let can = self.ask("GET_PROTOCOL_FEATURES", |server| server.get_protocol_features())?;
        if self.options().reconnect && !can.contains(Protocol::INFLIGHT_SHMFD) {
            return Err(self.wrong(
                "it does not track what is in flight (protocol feature INFLIGHT_SHMFD): leave --reconnect out",
            ));
        }
        let inflight = if self.options().reconnect { Protocol::INFLIGHT_SHMFD } else { Protocol::empty() };
        let use_ = can & (Protocol::CONFIG | Protocol::MQ | Protocol::REPLY_ACK | inflight);
        self.ask("SET_PROTOCOL_FEATURES", |server| server.set_protocol_features(use_))?;
        self.has_config = use_.contains(Protocol::CONFIG);
        let is_multiqueue = use_.contains(Protocol::MQ) && agreed.contains(K::MULTIQUEUE);
        let queues = if is_multiqueue {
            self.ask("GET_QUEUE_NUM", |server| server.get_queue_num())?
        } else {
            u64::from(K::FIRST_QUEUE) + 1
        };
        self.ask("SET_FEATURES", |server| server.set_features(agreed.0))?;
        Ok((agreed, queues))
    }

    /// First `len` bytes of the configuration space.
    pub(crate) fn config(&mut self, len: u32) -> Result<Vec<u8>, BenchError> {
        if !self.has_config {
            return Err(self.wrong("it does not tell how large its disk is (protocol feature CONFIG)"));
        }
        let (empty, flags) = (vec![0; len as usize], VhostUserConfigFlags::empty());
        let (_, bytes) = self.ask("GET_CONFIG", |server| server.get_config(0, len, flags, &empty))?;
        Ok(bytes)
    }

    /// Has the server make the memory where it notes what it has in flight.
    pub(crate) fn get_inflight<K: Kind>(&mut self) -> Result<Inflight, BenchError> {
        let size = u16::try_from(self.options().ring_size()).unwrap_or(u16::MAX);
        let wanted = VhostUserInflight::new(0, 0, K::FIRST_QUEUE + self.options().queues, size);
        let (layout, file) = self.ask("GET_INFLIGHT_FD", |server| server.get_inflight_fd(&wanted))?;
        Ok(Inflight { layout, file })
    }

    /// Shares the memory and starts the rings where they are.
    pub(crate) fn start<K: Kind>(
        &mut self,
        memory: &Arena,
        queues: &[Ring<K>],
        inflight: Option<&Inflight>,
    ) -> Result<(), BenchError> {
        if let Some(Inflight { layout, file }) = inflight {
            self.ask("SET_INFLIGHT_FD", |server| server.set_inflight_fd(layout, file.as_raw_fd()))?;
        }
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: memory.address(),
            memory_size: memory.len(),
            userspace_addr: memory.address(),
            mmap_offset: 0,
            mmap_handle: memory.file(),
        };
        self.ask("SET_MEM_TABLE", |server| server.set_mem_table(&[region]))?;
        (K::FIRST_QUEUE.into()..).zip(queues).try_for_each(|(index, ring)| self.start_queue(index, ring))
    }

    fn start_queue<K: Kind>(&mut self, index: usize, ring: &Ring<K>) -> Result<(), BenchError> {
        let size = u16::try_from(self.options().ring_size()).unwrap_or(u16::MAX);
        let at = ring.addresses();
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
        // All that a front end knows of a server that was killed, and what QEMU says then.
        self.ask("SET_VRING_BASE", |server| server.set_vring_base(index, ring.used_index()))?;
        self.ask("SET_VRING_ADDR", |server| server.set_vring_addr(index, &addresses))?;
        self.ask("SET_VRING_CALL", |server| server.set_vring_call(index, ring.call()))?;
        self.ask("SET_VRING_KICK", |server| server.set_vring_kick(index, ring.kick()))?;
        self.ask("SET_VRING_ENABLE", |server| server.set_vring_enable(index, true))
    }

    /// Sends a message; an error is said with the message's name.
    fn ask<T>(
        &mut self,
        name: &str,
        message: impl FnOnce(&mut Frontend) -> vhost::Result<T>,
    ) -> Result<T, BenchError> {
        message(&mut self.frontend).map_err(|e| server(self.parties.path, &format_args!("{name}: {e}")))
    }

    pub(crate) fn wrong(&self, reason: &str) -> BenchError {
        server(self.parties.path, &reason)
    }
}
