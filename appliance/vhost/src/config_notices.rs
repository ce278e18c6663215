//! Notices to a front end that the configuration space of its device has changed (vhost-user, message
//! `VHOST_USER_BACKEND_CONFIG_CHANGE_MSG`).
//!
//! ```text
//!  (1) knows    --the device changes-->                    (2) to be told
//!  (2) to tell  --it can be told: message sent-->          (3) told, an answer is awaited if it gives some
//!  (3) told     --answer-->                                (3); (2) if the device has changed again meanwhile
//!  (2) (3)      --it reads the configuration space-->      (1)
//!  any          --another front end-->                     (2), told when its first ring starts
//! ```
//!
//! Invariants
//! - Nobody waits for a front end: messages are sent without blocking, and its own connection's thread receives the
//!   answers. One message at most waits for an answer.
//! - What a front end sends beside the answer that is awaited costs it the channel, and nothing else.
//!
//! Not here: where the channel comes from (`connection/backend_channel.rs`).

use luge_spec::vhost_user::{BackendMessage, ConfigAnswer};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use zerocopy::{FromBytes, IntoBytes};

/// Knowledge of a front end about the configuration space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigKnowledge {
    /// Whether the front end has read it since it last changed.
    pub is_current: bool,
    /// Last message about a change.
    pub notice: Notice,
}

/// Message to a front end about a change of the configuration space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Notice {
    /// No message was sent.
    #[default]
    None,
    /// No message can be sent: the front end has given no channel, or has not negotiated such messages.
    Impossible,
    /// A message was sent to a front end that does not acknowledge messages.
    Sent,
    /// A message was sent, and its acknowledgement has not come.
    Awaited,
    /// The front end has acknowledged the last message.
    Acknowledged,
    /// The front end could not handle the last message.
    Failed,
}

/// Notices of an endpoint to its front end. Clones are the same; they keep neither endpoint nor volume.
#[derive(Clone, Default)]
pub struct ConfigNotices(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Number of changes of the configuration space.
    changes: u64,
    front_end: FrontEnd,
}

/// A front end that is connected, or none yet.
#[derive(Default)]
struct FrontEnd {
    channel: Option<Arc<UnixStream>>,
    features: u64,
    /// Number of changes when it last read the configuration space.
    read: Option<u64>,
    /// Number of changes when the last message was sent.
    told: Option<u64>,
    notice: Notice,
    /// Bytes of an answer that have come.
    answer: heapless::Vec<u8, { size_of::<ConfigAnswer>() }>,
}

impl ConfigNotices {
    /// Tells the front end that the configuration space has changed. Does not wait for it.
    pub fn changed(&self) {
        let mut state = self.lock();
        state.changes = state.changes.wrapping_add(1);
        state.tell();
    }

    /// Knowledge of the front end that is connected.
    #[must_use]
    pub fn knowledge(&self) -> ConfigKnowledge {
        let State { changes, front_end } = &*self.lock();
        let notice = match front_end.notice {
            Notice::None if !front_end.can_be_told() => Notice::Impossible,
            notice => notice,
        };
        ConfigKnowledge { is_current: front_end.read == Some(*changes), notice }
    }

    /// Forgets a front end: another one connects, or none.
    pub(crate) fn forget(&self) {
        let before = std::mem::take(&mut self.lock().front_end);
        drop(before);
    }

    /// Notes the features of vhost-user that a front end has negotiated.
    pub(crate) fn negotiated(&self, features: u64) {
        self.lock().front_end.features = features;
    }

    /// Takes a channel for requests to the front end.
    pub(crate) fn set_channel(&self, channel: Option<UnixStream>) {
        let front_end = &mut self.lock().front_end;
        front_end.answer.clear();
        front_end.channel = channel.map(Arc::new);
    }

    /// Channel on which answers come.
    pub(crate) fn channel(&self) -> Option<Arc<UnixStream>> {
        self.lock().front_end.channel.clone()
    }

    /// Tells a front end whose rings run, if it has not read the configuration space as it is.
    pub(crate) fn ring_started(&self) {
        self.lock().tell();
    }

    /// Reads the configuration space for the front end by `read`.
    pub(crate) fn read(&self, read: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        // A change that comes meanwhile is one that the front end has not read.
        let changes = self.lock().changes;
        let config = read();
        self.lock().front_end.read = Some(changes);
        config
    }

    /// Receives what has come on the channel.
    pub(crate) fn receive(&self) {
        let mut state = self.lock();
        state.front_end.receive();
        state.tell();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// (2) to (3), if that is possible now.
    fn tell(&mut self) {
        let now = Some(self.changes);
        let front_end = &mut self.front_end;
        let knows = front_end.read == now || front_end.told == now;
        if !knows && front_end.notice != Notice::Awaited && front_end.send() {
            front_end.told = now;
        }
    }
}

impl FrontEnd {
    fn has(&self, feature: VhostUserProtocolFeatures) -> bool {
        VhostUserProtocolFeatures::from_bits_truncate(self.features).contains(feature)
    }

    fn can_be_told(&self) -> bool {
        let needed = VhostUserProtocolFeatures::BACKEND_REQ | VhostUserProtocolFeatures::CONFIG;
        self.channel.is_some() && self.has(needed)
    }

    /// Sends a message; returns whether it was sent.
    fn send(&mut self) -> bool {
        let acknowledges = self.has(VhostUserProtocolFeatures::REPLY_ACK);
        let Some(channel) = self.channel.as_ref().filter(|_| self.can_be_told()) else { return false };
        let message = BackendMessage::config_change(acknowledges);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match send(channel, message.as_bytes(), flags) {
            Ok(sent) if sent == size_of::<BackendMessage>() => {
                self.notice = if acknowledges { Notice::Awaited } else { Notice::Sent };
                true
            }
            // It has not read earlier messages; it reads the present configuration when it does.
            Err(Errno::AGAIN | Errno::INTR) => false,
            Ok(_) | Err(_) => {
                self.channel = None;
                false
            }
        }
    }

    /// Receives bytes of an answer. The channel is closed for anything else.
    fn receive(&mut self) {
        let Some(channel) = &self.channel else { return };
        let mut bytes = [0; size_of::<ConfigAnswer>()];
        let left = bytes.len().saturating_sub(self.answer.len());
        let received = recv(channel, bytes.get_mut(..left).unwrap_or_default(), RecvFlags::DONTWAIT);
        let taken = match received {
            Ok((_, 0)) => false,
            Ok((_, count)) => self.take(bytes.get(..count).unwrap_or_default()),
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        };
        if !taken {
            self.channel = None;
        }
    }

    /// Adds bytes to the answer; returns whether they are of one that is awaited.
    fn take(&mut self, bytes: &[u8]) -> bool {
        if self.notice != Notice::Awaited || self.answer.extend_from_slice(bytes).is_err() {
            return false;
        }
        let Ok(answer) = ConfigAnswer::read_from_bytes(&self.answer) else { return true };
        self.answer.clear();
        let Some(outcome) = answer.outcome() else { return false };
        self.notice = if outcome == 0 { Notice::Acknowledged } else { Notice::Failed };
        true
    }
}
