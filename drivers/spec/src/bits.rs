//! Words of bits: flags, and registers of them.

/// Defines a word, a constant for each of its bits, and `contains`. Unknown bits are legal.
macro_rules! bits {
    ($(#[$doc:meta])* $name:ident: $word:ty = $number:ty { $($(#[$bit_doc:meta])* $bit:ident = $value:expr;)* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
        )]
        #[repr(transparent)]
        pub struct $name(pub $word);

        impl $name {
            $($(#[$bit_doc])* pub const $bit: $number = $value;)*

            /// Whether all bits of `bits` are set.
            #[must_use]
            pub const fn contains(self, bits: $number) -> bool {
                self.0.get() & bits == bits
            }
        }
    };
}

pub(crate) use bits;
