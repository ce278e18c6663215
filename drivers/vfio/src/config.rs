//! The PCI configuration space of a function (PCI Express Base Specification, chapter 7.5).
//!
//! Invariant: the list of capabilities is followed for at most as many steps as it can have members.

use crate::reply::Region;
use luge_memory::{MemoryAccess, PciId};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const ID: u64 = 0x00;
const COMMAND: u64 = 0x04;
const CLASS: u64 = 0x09;
const COMMAND_MEMORY_SPACE: u16 = 1 << 1;
const COMMAND_BUS_MASTER: u16 = 1 << 2;

const CAPABILITIES: u64 = 0x34;
/// Capabilities lie between the header of 64 bytes and byte 255, with four bytes or more each.
const MOST_CAPABILITIES: usize = (256 - 64) / 4;

const POWER_MANAGEMENT: u8 = 0x01;
/// Offset of control and status in the power management capability, with the state in bits 1:0.
const POWER_CONTROL: u64 = 0x04;
const POWER_STATE: u16 = 0b11;

/// The Command register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command(u16);

impl Command {
    /// Enables the registers, and sets memory access.
    fn with_access(self, access: MemoryAccess) -> Self {
        match access {
            MemoryAccess::Allowed => Self(self.0 | COMMAND_MEMORY_SPACE | COMMAND_BUS_MASTER),
            MemoryAccess::Forbidden => Self((self.0 | COMMAND_MEMORY_SPACE) & !COMMAND_BUS_MASTER),
        }
    }
}

/// Access to the bytes of a configuration space.
pub trait ConfigAccess {
    /// Reads all of `bytes` from offset `at`.
    fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at offset `at`.
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
}

/// Configuration space in the device file of a function.
pub struct ConfigFile<'a> {
    /// Device file.
    pub file: &'a File,
    /// Region of the configuration space in the file.
    pub region: &'a Region,
}

impl ConfigFile<'_> {
    fn offset(&self, at: u64) -> io::Result<u64> {
        let missing = || io::Error::new(io::ErrorKind::UnexpectedEof, "the configuration space ends before");
        (at < self.region.len).then(|| self.region.offset.checked_add(at)).flatten().ok_or_else(missing)
    }
}

impl ConfigAccess for ConfigFile<'_> {
    fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, self.offset(at)?)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.offset(at)?)
    }
}

/// Configuration space of a function.
pub struct ConfigSpace<A>(pub A);

impl<A: ConfigAccess> ConfigSpace<A> {
    /// Reads vendor and device.
    pub fn id(&self) -> io::Result<PciId> {
        let [v0, v1, d0, d1] = self.read(ID)?;
        Ok(PciId { vendor: u16::from_le_bytes([v0, v1]), device: u16::from_le_bytes([d0, d1]) })
    }

    /// Reads programming interface, subclass and class.
    pub fn class(&self) -> io::Result<[u8; 3]> {
        self.read(CLASS)
    }

    /// Reads the Command register.
    pub fn command(&self) -> io::Result<Command> {
        self.read(COMMAND).map(|bytes| Command(u16::from_le_bytes(bytes)))
    }

    /// Writes the Command register.
    pub fn set_command(&self, command: Command) -> io::Result<()> {
        self.write(COMMAND, command.0.to_le_bytes())
    }

    /// Allows or forbids the function to access memory. Its registers are enabled in either case, because
    /// a load from a mapped BAR that is not enabled would be a bus error.
    pub fn set_memory_access(&self, access: MemoryAccess) -> io::Result<()> {
        self.set_command(self.command()?.with_access(access))
    }

    /// Sets the function's power state to D0, if it has another. vfio-pci waits as long as the
    /// specification requires.
    pub fn power_on(&self) -> io::Result<()> {
        let Some(capability) = self.capability(POWER_MANAGEMENT)? else { return Ok(()) };
        let at = capability + POWER_CONTROL;
        let control = u16::from_le_bytes(self.read(at)?);
        if control & POWER_STATE == 0 {
            return Ok(());
        }
        self.write(at, (control & !POWER_STATE).to_le_bytes())
    }

    /// Offset of the capability `id`.
    fn capability(&self, id: u8) -> io::Result<Option<u64>> {
        let [mut at] = self.read(CAPABILITIES)?;
        for _ in 0..MOST_CAPABILITIES {
            at &= !0b11;
            if at < 64 {
                break;
            }
            let [found, next] = self.read(u64::from(at))?;
            if found == id {
                return Ok(Some(at.into()));
            }
            at = next;
        }
        Ok(None)
    }

    fn read<const N: usize>(&self, at: u64) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read(at, &mut bytes)?;
        Ok(bytes)
    }

    fn write<const N: usize>(&self, at: u64, bytes: [u8; N]) -> io::Result<()> {
        self.0.write(at, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device_file::{device_file, region};

    /// A configuration space of 256 bytes at 0x1000 of a file, with `bytes` in it.
    fn space(bytes: &[(u64, &[u8])]) -> (File, Region) {
        let file = device_file(0x1100);
        bytes.iter().for_each(|&(at, bytes)| file.write_all_at(bytes, 0x1000 + at).unwrap());
        (file, region(0x1000, 256, &[]))
    }

    fn byte(file: &File, at: u64) -> u8 {
        let mut byte = [0];
        file.read_exact_at(&mut byte, 0x1000 + at).unwrap();
        byte[0]
    }

    #[test]
    fn memory_access_is_one_bit_and_registers_stay_enabled() {
        let (file, region) = space(&[(COMMAND, &[0x01, 0x04])]);
        let config = ConfigSpace(ConfigFile { file: &file, region: &region });
        config.set_memory_access(MemoryAccess::Allowed).unwrap();
        assert_eq!([byte(&file, 4), byte(&file, 5)], [0x07, 0x04]);
        config.set_memory_access(MemoryAccess::Forbidden).unwrap();
        assert_eq!([byte(&file, 4), byte(&file, 5)], [0x03, 0x04]);
    }

    #[test]
    fn vendor_and_device_come_first() {
        let (file, region) = space(&[(0, &[0x4d, 0x14, 0x21, 0xa8])]);
        let id = ConfigSpace(ConfigFile { file: &file, region: &region }).id().unwrap();
        assert_eq!(id, PciId { vendor: 0x144d, device: 0xa821 });
        assert_eq!(id.to_string(), "144d:a821");
    }

    #[test]
    fn a_function_that_sleeps_is_woken() {
        let capabilities: &[(u64, &[u8])] =
            &[(CAPABILITIES, &[0x40]), (0x40, &[0x11, 0x80]), (0x80, &[0x01, 0, 0, 0, 0x0b, 0x01])];
        let (file, region) = space(capabilities);
        ConfigSpace(ConfigFile { file: &file, region: &region }).power_on().unwrap();
        assert_eq!([byte(&file, 0x84), byte(&file, 0x85)], [0x08, 0x01]);
    }

    #[test]
    fn a_list_of_capabilities_that_leads_back_ends() {
        let (file, region) = space(&[(CAPABILITIES, &[0x40]), (0x40, &[0x11, 0x50]), (0x50, &[0x10, 0x40])]);
        assert_eq!(ConfigSpace(ConfigFile { file: &file, region: &region }).capability(1).unwrap(), None);
    }

    #[test]
    fn a_function_that_was_removed_has_no_capability() {
        let (file, region) = space(&[(0, &[0xff; 256])]);
        assert_eq!(ConfigSpace(ConfigFile { file: &file, region: &region }).capability(1).unwrap(), None);
    }

    #[test]
    fn a_function_without_a_configuration_space_is_an_error() {
        let (file, region) = (device_file(0x1000), region(0, 0, &[]));
        assert!(ConfigSpace(ConfigFile { file: &file, region: &region }).command().is_err());
    }
}
