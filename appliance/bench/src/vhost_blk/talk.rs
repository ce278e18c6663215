//! The conversation with a server: negotiation, memory, rings.

use super::ring::Ring;
use crate::arena::Arena;
use crate::error::BenchError;
use crate::options::Options;
use luge_spec::virtio::{Features, blk};
use std::fmt::Display;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserInflight, VhostUserProtocolFeatures as Protocol,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use zerocopy::FromBytes;

/// Memory in which a server notes what it has in flight, for the one after it.
pub(crate) struct Inflight {
    layout: VhostUserInflight,
    file: File,
}

/// An error of the server's.
pub(crate) fn server(path: &Path, reason: &dyn Display) -> BenchError {
    BenchError::Server { path: path.display().to_string(), reason: reason.to_string() }
}

/// A conversation with a server.
pub(crate) struct Talk<'a> {
    frontend: Frontend,
    options: &'a Options,
    path: &'a Path,
}

impl<'a> Talk<'a> {
    /// A conversation that has not begun.
    pub(crate) fn new(frontend: Frontend, options: &'a Options, path: &'a Path) -> Self {
        Self { frontend, options, path }
    }

    /// Ends it; what keeps the connection open is left.
    pub(crate) fn end(self) -> Frontend {
        self.frontend
    }

    /// Agrees with the server on features; returns them, and the sectors of a disk that fits the options.
    pub(crate) fn negotiate(&mut self) -> Result<(Features, u64), BenchError> {
        let (features, queues) = self.agree()?;
        let config = self.config()?;
        self.check(features, &config, queues)?;
        Ok((features, config.capacity.get()))
    }

    /// The features that both sides know, and the number of queues that the server has.
    fn agree(&mut self) -> Result<(Features, u64), BenchError> {
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
        if self.options.reconnect && !can.contains(Protocol::INFLIGHT_SHMFD) {
            return Err(self.wrong(
                "it does not track what is in flight (protocol feature INFLIGHT_SHMFD): leave --reconnect out",
            ));
        }
        let inflight = if self.options.reconnect { Protocol::INFLIGHT_SHMFD } else { Protocol::empty() };
        let use_ = can & (Protocol::CONFIG | Protocol::MQ | Protocol::REPLY_ACK | inflight);
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

    /// Fails unless the disk is one for these options.
    fn check(&self, features: Features, config: &blk::Config, queues: u64) -> Result<(), BenchError> {
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

    /// Has the server make the memory where it notes what it has in flight.
    pub(crate) fn get_inflight(&mut self) -> Result<Inflight, BenchError> {
        let size = u16::try_from(self.options.ring_size()).unwrap_or(u16::MAX);
        let wanted = VhostUserInflight::new(0, 0, self.options.queues, size);
        let (layout, file) = self.ask("GET_INFLIGHT_FD", |server| server.get_inflight_fd(&wanted))?;
        Ok(Inflight { layout, file })
    }

    /// Shares the memory and starts the rings where they are.
    pub(crate) fn start(
        &mut self,
        memory: &Arena,
        queues: &[Ring],
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
        queues.iter().enumerate().try_for_each(|(index, ring)| self.start_queue(index, ring))
    }

    fn start_queue(&mut self, index: usize, ring: &Ring) -> Result<(), BenchError> {
        let size = u16::try_from(self.options.ring_size()).unwrap_or(u16::MAX);
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
        message(&mut self.frontend).map_err(|e| server(self.path, &format_args!("{name}: {e}")))
    }

    pub(crate) fn wrong(&self, reason: &str) -> BenchError {
        server(self.path, &reason)
    }
}
