//! Access to a file, and the way of its data to the media.

/// Access for which a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading and writing; nobody else has it open as a device.
    ReadWrite,
    /// Reading only; others may read it too.
    ReadOnly,
}

/// Way of data to the media.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caching {
    /// Direct I/O, past the host's page cache.
    Direct,
    /// I/O through the host's page cache, because the file system cannot do it directly, or not
    /// with blocks this small.
    Buffered,
    /// No way: the file is memory (tmpfs), and nothing is more durable.
    Memory,
}
