//! Words of QEMU's command line.

#![expect(unsafe_code, reason = "file descriptors by their numbers")]

use std::os::fd::{FromRawFd, OwnedFd};

/// Text after `mark` in the first word that contains it, up to a comma.
pub(crate) fn after(words: &[String], mark: &str) -> Option<String> {
    let rest = words.iter().find_map(|word| word.split_once(mark))?.1;
    rest.split(',').next().map(str::to_owned)
}

/// File descriptor whose number follows `mark`.
pub(crate) fn descriptor(words: &[String], mark: &str) -> Option<OwnedFd> {
    let number = after(words, mark)?.parse().ok()?;
    // SAFETY: the parent gives this descriptor for this purpose, and each one is asked for once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}
