//! A client that sends whatever a test wants.

use luge_spec::vfio_user::{Command, DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags, Header, MessageFlags};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Time after which a test has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A reply.
#[derive(Debug)]
pub struct Reply {
    pub header: Header,
    pub payload: Vec<u8>,
    pub files: Vec<OwnedFd>,
}

impl Reply {
    /// Number of the error; 0 without one.
    pub fn error(&self) -> i32 {
        assert!(self.header.flags.is_reply());
        assert_eq!(self.header.flags.is_error(), self.header.error.get() != 0);
        self.header.error.get().cast_signed()
    }

    /// The structure at the start of the payload of a reply without error.
    #[track_caller]
    pub fn get<T: FromBytes + KnownLayout + Immutable>(&self) -> T {
        assert_eq!(self.error(), 0);
        T::read_from_prefix(&self.payload).unwrap().0
    }
}

/// A client.
pub struct Client {
    pub stream: UnixStream,
}

/// Bytes of a message.
pub fn message(command: Command, flags: MessageFlags, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(size_of::<Header>() + payload.len()).unwrap();
    let header = Header { id: 0x1234.into(), command, size: size.into(), flags, error: 0.into() };
    [header.as_bytes(), payload].concat()
}

/// Bytes of a command that is to be answered.
pub fn command(command: Command, payload: &(impl IntoBytes + Immutable + ?Sized)) -> Vec<u8> {
    message(command, MessageFlags::COMMAND, payload.as_bytes())
}

/// A memory file of so many bytes whose words are their own offsets.
pub fn memory_file(len: u64) -> OwnedFd {
    let file = memfd_create("guest", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, len).unwrap();
    let words: Vec<u8> = (0..len.min(1 << 20) / 8).flat_map(|n| (n * 8).to_ne_bytes()).collect();
    let mut done = 0;
    while done < words.len() {
        done += rustix::io::pwrite(&file, &words[done..], done as u64).unwrap();
    }
    file
}

/// A DMA_MAP for reading and writing.
pub fn map(address: u64, size: u64, offset: u64) -> DmaMap {
    let flags = DmaMapFlags((DmaMapFlags::READ | DmaMapFlags::WRITE).into());
    DmaMap { argsz: 32.into(), flags, offset: offset.into(), address: address.into(), size: size.into() }
}

/// A DMA_UNMAP.
pub fn unmap(address: u64, size: u64) -> DmaUnmap {
    DmaUnmap { argsz: 24.into(), flags: DmaUnmapFlags(0.into()), address: address.into(), size: size.into() }
}

impl Client {
    pub fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream }
    }

    /// Sends the shortest VERSION that there is, and takes the reply.
    #[track_caller]
    pub fn negotiate(&self) {
        let reply = self.ask(&command(Command::VERSION, &[0_u8; 4]));
        assert_eq!(reply.error(), 0);
    }

    /// Sends bytes in one message of the kernel, with files.
    pub fn send(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(files)));
        }
        let sent = sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
        // What a socket has no room for follows without the files.
        (&self.stream).write_all(&bytes[sent..]).map_err(|_| rustix::io::Errno::PIPE)
    }

    /// Receives a reply; none if the connection has ended.
    pub fn receive(&self) -> Option<Reply> {
        let mut header = [0; size_of::<Header>()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut header)];
        let read = recvmsg(&self.stream, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC).ok()?;
        let mut files = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(its) = message {
                files.extend(its);
            }
        }
        (&self.stream).read_exact(&mut header[read.bytes..]).ok()?;
        let header = Header::read_from_bytes(&header).unwrap();
        let mut payload = vec![0; header.size.get() as usize - size_of::<Header>()];
        (&self.stream).read_exact(&mut payload).ok()?;
        Some(Reply { header, payload, files })
    }

    /// Sends a message and receives its reply.
    #[track_caller]
    pub fn ask(&self, bytes: &[u8]) -> Reply {
        self.ask_with(bytes, &[])
    }

    /// Sends a message with files, and receives its reply.
    #[track_caller]
    pub fn ask_with(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> Reply {
        self.send(bytes, files).unwrap();
        let reply = self.receive().expect("the connection has ended");
        assert_eq!(reply.header.id, Header::read_from_prefix(bytes).unwrap().0.id);
        assert_eq!(reply.header.command, Header::read_from_prefix(bytes).unwrap().0.command);
        reply
    }

    /// Maps memory; returns the number of the error.
    #[track_caller]
    pub fn map(&self, map: DmaMap, file: &OwnedFd) -> i32 {
        self.ask_with(&command(Command::DMA_MAP, &map), &[file.as_fd()]).error()
    }

    /// Unmaps memory; returns the number of the error.
    #[track_caller]
    pub fn unmap(&self, unmap: DmaUnmap) -> i32 {
        self.ask(&command(Command::DMA_UNMAP, &unmap)).error()
    }

    /// Whether the connection has ended, or ends now.
    pub fn has_ended(&self) -> bool {
        self.receive().is_none()
    }
}
