//! Copies of shared memory, a cache line at a time.
//!
//! Path: guest ring -> session -> volume -> **channel of a memory device**, and wherever else a
//! span is copied to another.
//!
//! The C library's `memmove` serves odd lengths, overlaps and CPUs without AVX2, which are older than
//! NVMe. For whole lines a plain loop is faster: than musl's, a string
//! instruction, for a single block, and than glibc's for blocks of 4 KiB and more. PERFORMANCE.md has
//! the numbers.
//!
//! Invariants
//! - The bytes are those of a `memmove`, whatever the lengths, the places and the overlap of addresses
//!   here: of memory that is mapped twice, which a front end may do, the overlap is not seen.
//! - Both sides may be written by others meanwhile. The loop is assembly, so that this is no data
//!   race of the language: each byte is loaded once, stored once, and nothing is concluded from it.
//!
//! Not here: AVX-512 and stores past the caches, which were slower or no faster at every length;
//! prefetching, which is left to callers that know the next address.

#![expect(unsafe_code, reason = "shared memory is reached through raw pointers, by a loop in assembly")]

use std::arch::asm;

/// Size of a cache line in bytes, which one iteration of the loop copies.
pub(crate) const LINE_BYTES: usize = 64;

/// Copies `len` bytes.
///
/// # Safety
/// Both sides have `len` bytes of memory, mapped while this runs.
#[inline]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    let apart = from.addr().abs_diff(to.addr()) >= len;
    if apart && len > 0 && len.is_multiple_of(LINE_BYTES) && is_x86_feature_detected!("avx2") {
        // SAFETY: the caller's promise; whole lines, at least one; the CPU has the instructions.
        unsafe { copy_lines(from, to, len) };
    } else {
        // SAFETY: the caller's promise; overlap is allowed here.
        unsafe { from.copy_to(to, len) };
    }
}

/// Copies lines in pieces of 32 bytes.
///
/// # Safety
/// As [`copy`]; `len` is a multiple of a line and not zero, and the CPU knows AVX2.
#[inline]
unsafe fn copy_lines(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: RCX runs from `-len` to zero in steps of a line, so that each access is inside of the
    // two sides, whose ends the registers hold. The upper halves that are cleared at the end, so
    // that code without AVX is not slowed down, are in registers declared as overwritten.
    unsafe {
        asm!(
            ".p2align 5",
            "2:",
            "vmovdqu ymm0, [rsi + rcx]",
            "vmovdqu ymm1, [rsi + rcx + 32]",
            "vmovdqu [rdi + rcx], ymm0",
            "vmovdqu [rdi + rcx + 32], ymm1",
            "add rcx, 64",
            "jnz 2b",
            "vzeroupper",
            in("rsi") from.wrapping_add(len),
            in("rdi") to.wrapping_add(len),
            inout("rcx") len.wrapping_neg() => _,
            clobber_abi("C"),
            options(nostack),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that differ from their neighbours and from those a line away.
    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    /// Copies within one buffer, and compares with `copy_within`.
    fn expect_a_move([from, to, len]: [usize; 3]) {
        let mut expected = bytes(from.max(to) + len + 8);
        let mut memory = expected.clone();
        expected.copy_within(from..from + len, to);
        let all = memory.as_mut_ptr();
        // SAFETY: both sides end eight bytes before the memory does.
        unsafe { copy(all.wrapping_add(from), all.wrapping_add(to), len) };
        assert_eq!(memory, expected, "{len} bytes from {from} to {to}");
    }

    #[test]
    fn whatever_the_length_and_the_alignment_all_bytes_are_copied_and_no_others() {
        for len in (0..=4 * LINE_BYTES + 1).chain([511, 512, 513, 4095, 4096, 4097]) {
            for (from, to) in [(0, 5000), (5000, 0), (1, 5000), (16, 5017), (5063, 33)] {
                expect_a_move([from, to, len]);
            }
        }
    }

    #[test]
    fn whatever_the_overlap_the_bytes_are_those_before_the_copy() {
        for len in [63, 64, 65, 128, 192, 320] {
            for distance in 0..=len + 1 {
                expect_a_move([3, 3 + distance, len]);
                expect_a_move([3 + distance, 3, len]);
            }
        }
    }

    #[test]
    fn lines_are_copied_from_and_to_any_place() {
        for lines in [1, 2, 3, 8, 65] {
            for place in 0..LINE_BYTES {
                expect_a_move([place, 5000, lines * LINE_BYTES]);
                expect_a_move([5000, place, lines * LINE_BYTES]);
            }
        }
    }
}
