//! Messages between the kernel and a file system in user space (FUSE 7.31, `linux/fuse.h`).

/// Operations of the kernel's requests.
pub mod opcode {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const INIT: u32 = 26;
    pub const INTERRUPT: u32 = 36;
    pub const BATCH_FORGET: u32 = 42;
}

/// Node of the file system's root, set by the protocol.
pub const ROOT: u64 = 1;

/// Node of its only file.
pub const FILE: u64 = 2;

/// Longest data of one write, in bytes.
pub const WRITE_BYTES_MAX: u32 = 128 << 10;

/// Length of the header of a request in bytes.
const HEADER_BYTES: usize = 40;

/// Length of what precedes the data of a write in bytes.
const WRITE_HEADER_BYTES: usize = 40;

/// Seconds for which the kernel may believe names and attributes.
const VALID_SECONDS: u64 = 3600;

/// Request of the kernel.
pub struct Call {
    pub opcode: u32,
    pub unique: u64,
    pub node: u64,
    pub body: Vec<u8>,
}

impl Call {
    /// Parses one request.
    pub fn parse(message: &[u8]) -> Self {
        let (header, body) = message.split_at(HEADER_BYTES);
        Self {
            opcode: u32_at(header, 4),
            unique: u64_at(header, 8),
            node: u64_at(header, 16),
            body: body.to_vec(),
        }
    }

    /// Place of a read or write in the file, in bytes.
    pub fn offset(&self) -> usize {
        usize::try_from(u64_at(&self.body, 8)).unwrap()
    }

    /// Length of a read or write in bytes.
    pub fn len(&self) -> usize {
        u32_at(&self.body, 16) as usize
    }

    /// Data of a write.
    pub fn data(&self) -> &[u8] {
        &self.body[WRITE_HEADER_BYTES..][..self.len()]
    }

    /// Whether a write is to be on the media when it is answered.
    pub fn is_synchronous(&self) -> bool {
        u32_at(&self.body, 32).cast_signed() & libc::O_DSYNC != 0
    }

    /// Successful answer with `body`.
    pub fn answer(&self, body: &[u8]) -> Vec<u8> {
        self.message(0, body)
    }

    /// Answer with an error.
    pub fn refusal(&self, errno: i32) -> Vec<u8> {
        self.message(-errno, &[])
    }

    fn message(&self, error: i32, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(16 + body.len()).unwrap();
        let header = [u64::from(len) | u64::from(error.cast_unsigned()) << 32, self.unique];
        [&u64s(&header)[..], body].concat()
    }
}

/// Answer to INIT.
pub fn init() -> Vec<u8> {
    const MAJOR_MINOR: [u32; 2] = [7, 31];
    const BIG_WRITES: u32 = 1 << 5;
    let mut words = [0; 16];
    words[..2].copy_from_slice(&MAJOR_MINOR);
    words[3] = BIG_WRITES;
    words[5] = WRITE_BYTES_MAX;
    // Granularity of times, in ns.
    words[6] = 1;
    u32s(&words)
}

/// Answer to LOOKUP of the file.
pub fn entry(file_bytes: u64) -> Vec<u8> {
    [u64s(&[FILE, 0, VALID_SECONDS, VALID_SECONDS, 0]), attributes(FILE, file_bytes)].concat()
}

/// Answer to GETATTR.
pub fn attributes_answer(node: u64, file_bytes: u64) -> Vec<u8> {
    [u64s(&[VALID_SECONDS, 0]), attributes(node, file_bytes)].concat()
}

fn attributes(node: u64, file_bytes: u64) -> Vec<u8> {
    let (mode, bytes) = match node {
        ROOT => (libc::S_IFDIR | 0o700, 0),
        _ => (libc::S_IFREG | 0o600, file_bytes),
    };
    let times = [0; 3];
    let [links, user, group, device, block_bytes, flags] = [1, 0, 0, 0, 4096, 0];
    [
        u64s(&[node, bytes, bytes / 512, times[0], times[1], times[2]]),
        u32s(&[0, 0, 0, mode, links, user, group, device, block_bytes, flags]),
    ]
    .concat()
}

/// Answer to OPEN.
pub fn open() -> Vec<u8> {
    u64s(&[0, 0])
}

/// Answer to WRITE of so many bytes.
pub fn written(len: usize) -> Vec<u8> {
    u32s(&[u32::try_from(len).unwrap(), 0])
}

/// Answer to STATFS.
pub fn statistics() -> Vec<u8> {
    vec![0; 80]
}

fn u64s(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn u32s(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}
