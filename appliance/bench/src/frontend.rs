//! The control side of a front end: connects, negotiates, sets the rings up.

use crate::arena::Arena;
use crate::options::Options;
use crate::ring::{Notifications, Ring};
use crate::{BenchError, Direction};
use luge_spec::virtio::{Features, blk};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use zerocopy::FromBytes;

/// A disk with its rings set up.
pub(crate) struct Disk {
    pub(crate) queues: Vec<Ring>,
    pub(crate) sectors: u64,
    peer: Option<i32>,
    /// The connection: the server stops serving when it closes.
    _frontend: Frontend,
    /// What the rings and buffers are in. Dropped after the connection.
    _memory: Arena,
}

/// Room for the rings' alignment and a slot's line.
const SPARE: u64 = 1 << 20;

impl Disk {
    pub(crate) fn connect(options: &Options) -> Result<Self, BenchError> {
        let path = options.socket.display().to_string();
        let server = |reason: String| BenchError::Server { path: path.clone(), reason };
        let stream =
            UnixStream::connect(&options.socket).map_err(|e| server(format!("cannot connect: {e}")))?;
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok().map(|c| c.pid.as_raw_nonzero().get());
        let mut frontend = Frontend::from_stream(stream, u64::from(options.queues));
        let said = |what: &'static str| {
            move |e: vhost::Error| BenchError::Server { path: what.into(), reason: e.to_string() }
        };
        let features = negotiate(&mut frontend, options)?;
        let sectors = config(&mut frontend)?.capacity.get();
        if sectors < u64::from(options.bs / 512) {
            return Err(server(format!("the disk has {sectors} sectors only, less than one request")));
        }
        if options.rw.writes() && features.contains(Features::BLK_RO) {
            return Err(server("the disk is read-only".into()));
        }
        let slots = u64::from(options.queues) * u64::from(options.iodepth);
        let rings = u64::from(options.queues) * u64::from(options.ring_size()) * 32;
        let mut memory = Arena::new(slots * (u64::from(options.bs) + 4096 + 64) + rings + SPARE)?;
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: memory.address(),
            memory_size: memory.len(),
            userspace_addr: memory.address(),
            mmap_offset: 0,
            mmap_handle: memory.file(),
        };
        frontend.set_mem_table(&[region]).map_err(said("SET_MEM_TABLE"))?;
        let mut queues = Vec::new();
        for index in 0..usize::from(options.queues) {
            queues.push(start_queue(&mut frontend, (index, features), (options, &mut memory))?);
        }
        Ok(Self { queues, sectors, peer, _frontend: frontend, _memory: memory })
    }

    /// The process at the other end of the socket.
    pub(crate) fn peer(&self) -> Option<i32> {
        self.peer
    }
}

fn failed(message: &'static str) -> impl Fn(vhost::Error) -> BenchError {
    move |e| BenchError::Server { path: message.into(), reason: e.to_string() }
}

fn negotiate(frontend: &mut Frontend, options: &Options) -> Result<Features, BenchError> {
    frontend.set_owner().map_err(failed("SET_OWNER"))?;
    let offered = Features(frontend.get_features().map_err(failed("GET_FEATURES"))?);
    let wanted =
        Features::VERSION_1 | Features::VHOST_PROTOCOL_FEATURES | Features::BLK_FLUSH | Features::BLK_RO;
    let event_index = if options.no_event_idx { Features(0) } else { Features::RING_EVENT_IDX };
    let agreed = Features(offered.0 & (wanted | Features::BLK_MQ | event_index).0);
    if !agreed.contains(Features::VERSION_1 | Features::VHOST_PROTOCOL_FEATURES) {
        return Err(BenchError::Server {
            path: "GET_FEATURES".into(),
            reason: "no VERSION_1 or no protocol features".into(),
        });
    }
    let can = frontend.get_protocol_features().map_err(failed("GET_PROTOCOL_FEATURES"))?;
    let use_ = can
        & (VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK);
    frontend.set_protocol_features(use_).map_err(failed("SET_PROTOCOL_FEATURES"))?;
    if use_.contains(VhostUserProtocolFeatures::MQ) {
        let have = frontend.get_queue_num().map_err(failed("GET_QUEUE_NUM"))?;
        if u64::from(options.queues) > have {
            return Err(BenchError::Options(format!("--queues {}: the server has {have}", options.queues)));
        }
    }
    frontend.set_features(agreed.0).map_err(failed("SET_FEATURES"))?;
    Ok(agreed)
}

fn config(frontend: &mut Frontend) -> Result<blk::Config, BenchError> {
    // As long as the oldest servers know it: up to the writeback byte and the queues.
    let empty = [0; 60];
    let flags = VhostUserConfigFlags::empty();
    let (_, bytes) = frontend.get_config(0, 60, flags, &empty).map_err(failed("GET_CONFIG"))?;
    let mut whole = [0; size_of::<blk::Config>()];
    whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    blk::Config::read_from_bytes(&whole)
        .map_err(|_| BenchError::Server { path: "GET_CONFIG".into(), reason: "too short".into() })
}

fn start_queue(
    frontend: &mut Frontend,
    (index, features): (usize, Features),
    (options, memory): (&Options, &mut Arena),
) -> Result<Ring, BenchError> {
    let event = || {
        EventFd::new(EFD_NONBLOCK)
            .map_err(|source| BenchError::System { what: "cannot make an eventfd", source })
    };
    let (kick, call) = (event()?, event()?);
    let by_index = features.contains(Features::RING_EVENT_IDX);
    let notifications = if by_index { Notifications::EventIndex } else { Notifications::Flags };
    let (ring, at) = Ring::new(options, notifications, memory);
    let size = u16::try_from(options.ring_size()).unwrap_or(u16::MAX);
    frontend.set_vring_num(index, size).map_err(failed("SET_VRING_NUM"))?;
    frontend.set_vring_base(index, 0).map_err(failed("SET_VRING_BASE"))?;
    let addresses = VringConfigData {
        queue_max_size: size,
        queue_size: size,
        flags: 0,
        desc_table_addr: at.descriptors,
        used_ring_addr: at.used,
        avail_ring_addr: at.available,
        log_addr: None,
    };
    frontend.set_vring_addr(index, &addresses).map_err(failed("SET_VRING_ADDR"))?;
    frontend.set_vring_call(index, &call).map_err(failed("SET_VRING_CALL"))?;
    frontend.set_vring_kick(index, &kick).map_err(failed("SET_VRING_KICK"))?;
    frontend.set_vring_enable(index, true).map_err(failed("SET_VRING_ENABLE"))?;
    debug_assert!(kick.as_raw_fd() >= 0, "an eventfd is open");
    let writes_first = options.rw == Direction::Write || options.rw == Direction::RandWrite;
    Ok(ring.with_events(kick, call, writes_first))
}
