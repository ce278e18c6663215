//! Fields of CDBs and parameter lists, and the cutting of answers.

/// Byte at a place; zero where there is none.
pub(crate) fn u8_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// Big-endian word of 16 bits at a place.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([u8_at(bytes, at), u8_at(bytes, at.saturating_add(1))])
}

/// Big-endian word of 32 bits at a place.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) << 16 | u32::from(u16_at(bytes, at.saturating_add(2)))
}

/// The first bytes of an answer, as many as the allocation length says.
pub(crate) fn cut(mut answer: Vec<u8>, allocation_length: u32) -> Vec<u8> {
    answer.truncate(usize::try_from(allocation_length).unwrap_or(usize::MAX));
    answer
}

/// Length of something that stands in a field of 8 bits, and fits there.
pub(crate) fn length_8(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

/// Length of something that stands in a field of 16 bits, and fits there.
pub(crate) fn length_16(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// Length of something that stands in a field of 32 bits, and fits there.
pub(crate) fn length_32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
