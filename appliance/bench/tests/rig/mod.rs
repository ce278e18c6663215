//! A vhost-user-blk or vhost-user-scsi server in a test: as right or as wrong as the test tells it to be.
//!
//! The protocol is spoken by hand, for one queue, and without Luge's own server.

mod manners;
mod memory;
mod scsi;

use luge_memory::{SharedArray, Span};
use manners::Buffer;
pub use manners::{BLK_SIZE, CONFIG, MQ, Manners, NEEDED, PROTOCOL_MQ, RO, Reply, Request};
use memory::Memory;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tempfile::TempDir;
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

/// One test at a time: clients and servers all poll, and there are not so many CPUs.
static TURN: Mutex<()> = Mutex::new(());

/// The server; dropping it waits for its client to go.
pub struct Server {
    _turn: MutexGuard<'static, ()>,
    folder: TempDir,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// One that serves one client.
    pub fn start(
        manners: Manners,
        answer: impl FnMut(&mut [u8], &Request) -> Reply + Send + 'static,
    ) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            Connection { stream: Arc::new(stream), manners }.serve(answer);
        });
        Self { _turn: turn, folder, thread: Some(thread) }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A client that never came is let go.
        drop(UnixStream::connect(self.socket()));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))), "the server's own thread has failed");
    }
}

/// A right answer: reads and writes the disk.
pub fn right(disk: &mut [u8], request: &Request) -> Reply {
    let at = usize::try_from(request.sector * 512).unwrap();
    if request.compares {
        return compare_and_write(&mut disk[at..], request.data);
    }
    let bytes = &mut disk[at..at + request.data.len() as usize];
    if request.writes {
        request.data.read(bytes);
    } else {
        request.data.write(bytes);
    }
    Reply::Status(0)
}

fn compare_and_write(disk: &mut [u8], data: Span) -> Reply {
    let mut halves = vec![0; data.len() as usize];
    data.read(&mut halves);
    let (expected, new) = halves.split_at(halves.len() / 2);
    let there = &mut disk[..expected.len()];
    if there != expected {
        return Reply::Sense(0xe);
    }
    there.copy_from_slice(new);
    Reply::Status(0)
}

struct Connection {
    stream: Arc<UnixStream>,
    manners: Manners,
}

impl Connection {
    fn serve(self, mut answer: impl FnMut(&mut [u8], &Request) -> Reply + Send) {
        let (mut memory, mut ring, mut size) = (None, [0; 3], 0);
        let stop = AtomicBool::new(false);
        let (stream, manners) = (&self.stream, self.manners);
        std::thread::scope(|threads| {
            let mut answer = Some(&mut answer);
            while let Some((request, body, file)) = self.receive() {
                let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| body[at + i]));
                match request {
                    _ if manners.is_mute => {}
                    1 => self.reply(request, &manners.features.to_le_bytes()),
                    15 => self.reply(request, &manners.protocol.to_le_bytes()),
                    17 => self.reply(request, &u64::from(manners.queues).to_le_bytes()),
                    24 => self.reply(request, &self.config(&body)),
                    5 => memory = Some(Memory::map(number, &file.unwrap())),
                    8 => size = number(0) >> 32,
                    9 => ring = [number(8), number(24), number(16)],
                    18 => {
                        let queue = Queue::new(memory.take().unwrap(), ring, u32::try_from(size).unwrap());
                        let (stop, answer) = (&stop, answer.take().unwrap());
                        threads.spawn(move || queue.serve(answer, manners, stop, stream));
                    }
                    _ => {}
                }
            }
            stop.store(true, Relaxed);
        });
    }

    /// A message, its body, and the file that came with it; none at the end.
    fn receive(&self) -> Option<(u32, Vec<u8>, Option<File>)> {
        let mut header = [0; 12];
        let (got, file) = self.stream.recv_with_fd(&mut header).ok()?;
        (&*self.stream).read_exact(&mut header[got..]).ok()?;
        let [request, _, size] =
            [0, 4, 8].map(|at| u32::from_le_bytes(std::array::from_fn(|i| header[at + i])));
        let mut body = vec![0; size as usize];
        (&*self.stream).read_exact(&mut body).ok()?;
        Some((request, body, file))
    }

    fn reply(&self, request: u32, body: &[u8]) {
        let size = u32::try_from(body.len()).unwrap();
        let mut message = [request, 5, size].map(u32::to_le_bytes).concat();
        message.extend(body);
        // A client that has gone needs none.
        let _ = (&*self.stream).write_all(&message);
    }

    /// The configuration space, in the form that was asked for.
    fn config(&self, asked: &[u8]) -> Vec<u8> {
        let mut body = asked.to_vec();
        let space = &mut body[12..];
        space[..8].copy_from_slice(&self.manners.sectors.to_le_bytes());
        space[20..24].copy_from_slice(&self.manners.block_bytes.to_le_bytes());
        space[34..36].copy_from_slice(&self.manners.queues.to_le_bytes());
        body
    }
}

/// The server's side of a split ring.
struct Queue {
    memory: Memory,
    size: u32,
    descriptors: SharedArray<u64>,
    available: SharedArray<u16>,
    used_index: SharedArray<u16>,
    used: SharedArray<u32>,
}

impl Queue {
    /// `areas`: descriptors, available and used ring.
    fn new(memory: Memory, areas: [u64; 3], size: u32) -> Self {
        let [descriptors, available, used] = areas;
        let (descriptors, available) =
            (memory.span(descriptors, size * 16), memory.span(available, size * 2 + 6));
        let used = memory.span(used, size * 8 + 6);
        Self {
            size,
            descriptors: SharedArray::new(descriptors).unwrap(),
            available: SharedArray::new(available).unwrap(),
            used_index: SharedArray::new(used).unwrap(),
            used: SharedArray::new(used.split_at(4).1).unwrap(),
            memory,
        }
    }

    fn serve(
        &self,
        answer: &mut impl FnMut(&mut [u8], &Request) -> Reply,
        manners: Manners,
        stop: &AtomicBool,
        stream: &UnixStream,
    ) {
        let mut disk = vec![0; usize::try_from(manners.sectors * 512).unwrap()];
        let (mut taken, mut ended) = (0u16, 0u16);
        for number in 0.. {
            while self.available.load(1, Acquire) == taken {
                if stop.load(Relaxed) {
                    return;
                }
                std::thread::yield_now();
            }
            let head = self.available.load(2 + u32::from(taken) % self.size, Relaxed);
            taken = taken.wrapping_add(1);
            let chain = [0, 1, 2].map(|n| self.buffer(u32::from(head) + n));
            let reply = if manners.is_scsi {
                scsi::serve(number, chain, manners, |request| answer(&mut disk, request))
            } else {
                serve_blk(number, chain, |request| answer(&mut disk, request))
            };
            let id = match reply {
                Reply::Used(id) => id,
                Reply::Never => continue,
                Reply::HangUp => return stream.shutdown(Shutdown::Both).unwrap(),
                Reply::Status(_) | Reply::Sense(_) | Reply::Short | Reply::NoStatus => head.into(),
            };
            self.used.store(u32::from(ended) % self.size * 2, id, Relaxed);
            ended = ended.wrapping_add(1);
            self.used_index.store(1, ended, Release);
        }
    }

    /// Buffer of a descriptor.
    fn buffer(&self, index: u32) -> Buffer {
        let (address, rest) =
            (self.descriptors.load(index * 2, Relaxed), self.descriptors.load(index * 2 + 1, Relaxed));
        let len = u32::try_from(rest & 0xffff_ffff).unwrap();
        Buffer { span: self.memory.span(address, len), is_written: rest >> 32 & 2 != 0 }
    }
}

/// Serves a request to a virtio disk: header, data and status.
fn serve_blk(number: u64, chain: [Buffer; 3], answer: impl FnOnce(&Request) -> Reply) -> Reply {
    let [header, data, status] = chain.map(|buffer| buffer.span);
    let mut bytes = [0; 16];
    header.read(&mut bytes);
    let sector = u64::from_le_bytes(std::array::from_fn(|i| bytes[8 + i]));
    let reply = answer(&Request { number, writes: bytes[0] == 1, compares: false, sector, data });
    if let Reply::Status(byte) = reply {
        status.write(&[byte]);
    }
    reply
}
