//! Texts in pages.

/// Stores a text that is padded with spaces.
pub(in crate::admin) fn pad(to: &mut [u8], text: &str) {
    let bytes = text.bytes().chain(std::iter::repeat(b' '));
    to.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
}
