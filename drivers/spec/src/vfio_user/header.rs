//! The header of every message.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Header of a message.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Identifier that the sender has chosen. It may be in use for several messages at once.
    pub id: U16,
    /// Command of the message; of the message that is answered in a reply.
    pub command: Command,
    /// Length of the message in bytes, with this header.
    pub size: U32,
    /// Kind of the message.
    pub flags: MessageFlags,
    /// Number of the error (`errno`) in a reply with the error flag.
    pub error: U32,
}

const _: () = assert!(size_of::<Header>() == 16);

impl Header {
    /// Length of a header in bytes.
    pub const BYTES: u32 = 16;
}

/// Command of a message. Unknown ones are legal, and answered with an error.
#[derive(Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Command(pub U16);

impl Command {
    /// Negotiation of version and capabilities: the first message of a client.
    pub const VERSION: Self = Self(U16::new(1));
    /// Makes memory of the client reachable for the function.
    pub const DMA_MAP: Self = Self(U16::new(2));
    /// Takes memory of the client away.
    pub const DMA_UNMAP: Self = Self(U16::new(3));
    /// Asks for the numbers of regions and of kinds of interrupts.
    pub const GET_INFO: Self = Self(U16::new(4));
    /// Asks for a region.
    pub const GET_REGION_INFO: Self = Self(U16::new(5));
    /// Asks for eventfds that replace writes to a region.
    pub const GET_REGION_IO_FDS: Self = Self(U16::new(6));
    /// Asks for a kind of interrupts.
    pub const GET_IRQ_INFO: Self = Self(U16::new(7));
    /// Sets eventfds of interrupts; masks or triggers interrupts.
    pub const SET_IRQS: Self = Self(U16::new(8));
    /// Reads from a region.
    pub const REGION_READ: Self = Self(U16::new(9));
    /// Writes to a region.
    pub const REGION_WRITE: Self = Self(U16::new(10));
    /// Reads memory of the client. Sent by the server.
    pub const DMA_READ: Self = Self(U16::new(11));
    /// Writes memory of the client. Sent by the server.
    pub const DMA_WRITE: Self = Self(U16::new(12));
    /// Resets the function.
    pub const DEVICE_RESET: Self = Self(U16::new(13));
    /// Several writes to regions, of up to eight bytes each.
    pub const REGION_WRITE_MULTI: Self = Self(U16::new(15));
    /// Asks for or sets a feature of migration.
    pub const DEVICE_FEATURE: Self = Self(U16::new(16));
    /// Reads state of a function that migrates.
    pub const MIG_DATA_READ: Self = Self(U16::new(17));
    /// Writes state of a function that migrates.
    pub const MIG_DATA_WRITE: Self = Self(U16::new(18));

    /// Name of the command, for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0.get() {
            1 => "VERSION",
            2 => "DMA_MAP",
            3 => "DMA_UNMAP",
            4 => "DEVICE_GET_INFO",
            5 => "DEVICE_GET_REGION_INFO",
            6 => "DEVICE_GET_REGION_IO_FDS",
            7 => "DEVICE_GET_IRQ_INFO",
            8 => "DEVICE_SET_IRQS",
            9 => "REGION_READ",
            10 => "REGION_WRITE",
            11 => "DMA_READ",
            12 => "DMA_WRITE",
            13 => "DEVICE_RESET",
            15 => "REGION_WRITE_MULTI",
            16 => "DEVICE_FEATURE",
            17 => "MIG_DATA_READ",
            18 => "MIG_DATA_WRITE",
            _ => "unknown command",
        }
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

/// Flags of a message. Unknown bits are legal and ignored.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct MessageFlags(pub U32);

impl MessageFlags {
    /// Bits of the type.
    const TYPE: u32 = 0xf;
    /// Bit of a command that is not to be answered.
    const NO_REPLY: u32 = 1 << 4;
    /// Bit of a reply with an error.
    const ERROR: u32 = 1 << 5;

    /// A command that is to be answered.
    pub const COMMAND: Self = Self(U32::new(0));
    /// A command that is not to be answered.
    pub const COMMAND_WITHOUT_REPLY: Self = Self(U32::new(Self::NO_REPLY));
    /// A reply.
    pub const REPLY: Self = Self(U32::new(1));
    /// A reply to a command that failed.
    pub const ERROR_REPLY: Self = Self(U32::new(1 | Self::ERROR));

    /// Whether the message is a command.
    #[must_use]
    pub const fn is_command(self) -> bool {
        self.0.get() & Self::TYPE == 0
    }

    /// Whether the message is a reply.
    #[must_use]
    pub const fn is_reply(self) -> bool {
        self.0.get() & Self::TYPE == 1
    }

    /// Whether the command is not to be answered.
    #[must_use]
    pub const fn wants_no_reply(self) -> bool {
        self.0.get() & Self::NO_REPLY != 0
    }

    /// Whether the reply is to a command that failed.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0.get() & Self::ERROR != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_laid_out_as_the_protocol_draws_it() {
        let header = Header {
            id: 0x1234.into(),
            command: Command::GET_REGION_INFO,
            size: 48.into(),
            flags: MessageFlags::ERROR_REPLY,
            error: 22.into(),
        };
        assert_eq!(header.as_bytes(), [0x34, 0x12, 5, 0, 48, 0, 0, 0, 0x21, 0, 0, 0, 22, 0, 0, 0]);
    }

    #[test]
    fn kinds_of_messages_are_told_apart_whatever_other_bits_say() {
        let noise = 0xffff_ff00;
        assert!(MessageFlags((noise | 0x10).into()).is_command());
        assert!(MessageFlags((noise | 0x10).into()).wants_no_reply());
        assert!(MessageFlags((noise | 0x21).into()).is_reply());
        assert!(MessageFlags((noise | 0x21).into()).is_error());
        assert!(!MessageFlags(2.into()).is_command());
        assert!(!MessageFlags(2.into()).is_reply());
    }
}
