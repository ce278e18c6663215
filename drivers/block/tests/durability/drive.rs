//! A file on a drive with a volatile cache, as a file system in user space.
//!
//! ```text
//!   WRITE ---------> cache --- FSYNC ---> media --- power cut ---> what is left
//!   WRITE, O_DSYNC -> cache and media
//! ```
//!
//! Nothing reaches the media unasked, so what is there was asked for: the kernel is the witness of what
//! the file device has it do. Answers can be held back, to see what waits for them.

use super::fuse::{self, Call, opcode};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time limit for a request of the kernel.
const REQUEST_TIME: Duration = Duration::from_secs(20);

/// Drive, with its file system mounted where nobody else sees it.
pub struct Drive {
    mount: OwnedFd,
    shared: Arc<Shared>,
}

impl Drive {
    /// Mounts a drive whose file has `bytes` zeroes; `None` if this process may not mount.
    pub fn new(bytes: usize) -> Option<Self> {
        let kernel = File::options().read(true).write(true).open("/dev/fuse").ok()?;
        let mount = mount(&kernel).ok()?;
        let state = State { cache: vec![0; bytes], media: vec![0; bytes], ..State::default() };
        let shared = Arc::new(Shared { kernel, state: Mutex::new(state), held: Condvar::new() });
        let server = shared.clone();
        // It ends when the kernel unmounts, after the last file is closed.
        std::thread::spawn(move || server.serve());
        Some(Self { mount, shared })
    }

    /// Path of the file.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}/file", self.mount.as_raw_fd()).into()
    }

    /// Content of the media: what a power cut would leave.
    pub fn media(&self) -> Vec<u8> {
        self.shared.state().media.clone()
    }

    /// Holds back all writes and syncs from now on.
    pub fn hold(&self) {
        self.shared.state().holds = true;
    }

    /// Waits until `count` requests are held back.
    pub fn wait_held(&self, count: usize) {
        let waiting = |state: &mut State| state.held.len() < count;
        let (state, timeout) = self
            .shared
            .held
            .wait_timeout_while(self.shared.state(), REQUEST_TIME, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "the kernel has sent {} of {count} requests", state.held.len());
    }

    /// Performs and answers what was held back, and holds back nothing from now on.
    pub fn release(&self) {
        let mut state = self.shared.state();
        state.holds = false;
        for call in std::mem::take(&mut state.held) {
            let answer = state.perform(&call);
            self.shared.send(&answer);
        }
    }
}

/// Mounts a file system that is served through `kernel`.
fn mount(kernel: &File) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [
        ("fd", kernel.as_raw_fd().to_string()),
        ("rootmode", "40000".to_owned()),
        ("user_id", "0".to_owned()),
        ("group_id", "0".to_owned()),
    ] {
        fsconfig_set_string(&context, key, value)?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// Drive, as its server and its owner share it.
struct Shared {
    kernel: File,
    state: Mutex<State>,
    /// Notified when a request is held back.
    held: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves the kernel until it unmounts.
    fn serve(&self) {
        let mut message = vec![0; fuse::WRITE_BYTES_MAX as usize + 4096];
        loop {
            match (&self.kernel).read(&mut message) {
                Ok(len) => self.take(Call::parse(&message[..len])),
                Err(error) if ends(&error) => return,
                // The kernel has taken its request back.
                Err(_) => {}
            }
        }
    }

    fn take(&self, call: Call) {
        let mut state = self.state();
        if state.holds && matches!(call.opcode, opcode::WRITE | opcode::FSYNC) {
            state.held.push(call);
            self.held.notify_all();
            return;
        }
        let answer = state.perform(&call);
        self.send(&answer);
    }

    fn send(&self, answer: &[u8]) {
        if !answer.is_empty() {
            // The kernel may have stopped waiting.
            let _ = (&self.kernel).write(answer);
        }
    }
}

fn ends(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}

/// Content of the drive.
#[derive(Default)]
struct State {
    cache: Vec<u8>,
    media: Vec<u8>,
    /// Whether writes and syncs are held back.
    holds: bool,
    held: Vec<Call>,
}

impl State {
    /// Performs a request; returns the answer, empty if there is none.
    fn perform(&mut self, call: &Call) -> Vec<u8> {
        let bytes = self.cache.len() as u64;
        match call.opcode {
            opcode::INIT => call.answer(&fuse::init()),
            opcode::LOOKUP if call.body == b"file\0" => call.answer(&fuse::entry(bytes)),
            opcode::LOOKUP => call.refusal(libc::ENOENT),
            opcode::GETATTR => call.answer(&fuse::attributes_answer(call.node, bytes)),
            opcode::OPEN => call.answer(&fuse::open()),
            opcode::STATFS => call.answer(&fuse::statistics()),
            opcode::READ => call.answer(self.read(call)),
            opcode::WRITE => self.write(call),
            opcode::FSYNC => self.sync(call),
            opcode::RELEASE => call.answer(&[]),
            opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT => Vec::new(),
            _ => call.refusal(libc::ENOSYS),
        }
    }

    fn read(&self, call: &Call) -> &[u8] {
        let end = self.cache.len().min(call.offset() + call.len());
        self.cache.get(call.offset()..end).unwrap_or_default()
    }

    fn write(&mut self, call: &Call) -> Vec<u8> {
        let range = call.offset()..call.offset() + call.len();
        if range.end > self.cache.len() {
            return call.refusal(libc::ENOSPC);
        }
        self.cache[range.clone()].copy_from_slice(call.data());
        if call.is_synchronous() {
            self.media[range].copy_from_slice(call.data());
        }
        call.answer(&fuse::written(call.len()))
    }

    fn sync(&mut self, call: &Call) -> Vec<u8> {
        self.media.copy_from_slice(&self.cache);
        call.answer(&[])
    }
}
