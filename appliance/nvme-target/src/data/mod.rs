//! Memory of a command: from its PRPs or SGL to spans of guest memory.

mod bit_bucket;
mod host_buffer;

pub use bit_bucket::BitBucket;
pub use host_buffer::HostBuffer;
