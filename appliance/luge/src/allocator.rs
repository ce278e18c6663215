//! Settings of glibc's allocator: memory that a client's call took goes back to
//! the system when the call has ended.
//!
//! By default each thread may keep freed memory in an arena of its own, and large blocks too once one was
//! freed. With a thread per connection and eight arenas per CPU, that is many times what any call takes.
//!
//! Not here: guest I/O, which allocates nothing.

#![expect(unsafe_code, reason = "mallopt is a call of the C library")]

/// Maximum number of arenas. Only threads that may wait share them.
const ARENAS: i32 = 2;

/// Size in bytes from which a block is mapped by itself, and unmapped when it is freed.
const MAPPED_BYTES: i32 = 128 << 10;

/// Sets up the allocator. To be called before there are other threads.
pub fn set_up() {
    for (option, value) in [(libc::M_ARENA_MAX, ARENAS), (libc::M_MMAP_THRESHOLD, MAPPED_BYTES)] {
        // SAFETY: the call changes settings of the allocator, and no memory that is in use.
        let _ = unsafe { libc::mallopt(option, value) };
    }
}
