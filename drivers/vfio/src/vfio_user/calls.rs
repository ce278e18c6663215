//! Messages of a client, and checks of their replies.
//!
//! Only what every server understands is used: one descriptor for each message, data of a few bytes.

use super::connection::{CallError, Connection, PAYLOAD_MAX, Reply};
use crate::config::ConfigAccess;
use crate::reply::{Region, Reply as Structure};
use luge_memory::{Iova, Mapping};
use luge_spec::vfio_user::{
    Command, DeviceInfo, DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags, InterruptIndex, InterruptInfo,
    RegionAccess, RegionIndex, RegionInfo, SetInterrupts, SetInterruptsFlags, Version,
};
use rustix::fd::{AsFd, OwnedFd};
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of the protocol.
const VERSION: Version =
    Version { major: zerocopy::little_endian::U16::new(0), minor: zerocopy::little_endian::U16::new(1) };

/// Capabilities of this client, with the NUL that ends them.
const CAPABILITIES: &[u8] = b"{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":4096}}\0";

impl Connection {
    /// Agrees on the version.
    pub fn negotiate(&self) -> Result<(), CallError> {
        let reply = self.call(Command::VERSION, &[VERSION.as_bytes(), CAPABILITIES].concat(), &[])?;
        let version: Version = self.structure(&reply)?;
        if version.major != VERSION.major {
            return Err(self.give_up("it has another major version"));
        }
        Ok(())
    }

    /// Asks for the numbers of regions and of kinds of interrupts.
    pub fn device_info(&self) -> Result<DeviceInfo, CallError> {
        let info = DeviceInfo { argsz: bytes_of::<DeviceInfo>().into(), ..DeviceInfo::default() };
        self.structure(&self.call(Command::GET_INFO, info.as_bytes(), &[])?)
    }

    /// Asks for a region; returns the file by which parts of it can be mapped, if there is one.
    pub fn region(&self, index: RegionIndex) -> Result<(Region, Option<OwnedFd>), CallError> {
        let info = RegionInfo { argsz: PAYLOAD_MAX.into(), index, ..RegionInfo::default() };
        let mut reply = self.call(Command::GET_REGION_INFO, info.as_bytes(), &[])?;
        let region = Region::parse(Structure(&reply.payload));
        let region = region.ok_or_else(|| self.give_up("a region contradicts itself"))?;
        Ok((region, reply.fds.pop()))
    }

    /// Reads all of `bytes` from a region.
    pub fn read(&self, region: RegionIndex, offset: u64, bytes: &mut [u8]) -> Result<(), CallError> {
        let access = RegionAccess { offset: offset.into(), region, count: self.count(bytes.len())?.into() };
        let reply = self.call(Command::REGION_READ, access.as_bytes(), &[])?;
        let data = reply.payload.get(size_of::<RegionAccess>()..).filter(|data| data.len() == bytes.len());
        let data = data.ok_or_else(|| self.give_up("a read has another length than was asked for"))?;
        bytes.copy_from_slice(data);
        Ok(())
    }

    /// Writes all of `bytes` to a region.
    pub fn write(&self, region: RegionIndex, offset: u64, bytes: &[u8]) -> Result<(), CallError> {
        let access = RegionAccess { offset: offset.into(), region, count: self.count(bytes.len())?.into() };
        self.call(Command::REGION_WRITE, &[access.as_bytes(), bytes].concat(), &[]).map(drop)
    }

    /// Makes memory reachable for the function.
    pub fn map(&self, iova: Iova, memory: &Mapping) -> Result<(), CallError> {
        let map = DmaMap {
            argsz: bytes_of::<DmaMap>().into(),
            flags: DmaMapFlags((DmaMapFlags::READ | DmaMapFlags::WRITE).into()),
            offset: memory.file_offset().into(),
            address: iova.0.into(),
            size: memory.len().into(),
        };
        self.call(Command::DMA_MAP, map.as_bytes(), &[memory.file().as_fd()]).map(drop)
    }

    /// Takes memory away from the function.
    pub fn unmap(&self, iova: Iova, len: u64) -> Result<(), CallError> {
        let unmap = DmaUnmap {
            argsz: bytes_of::<DmaUnmap>().into(),
            flags: DmaUnmapFlags::default(),
            address: iova.0.into(),
            size: len.into(),
        };
        self.call(Command::DMA_UNMAP, unmap.as_bytes(), &[]).map(drop)
    }

    /// Asks for the number of MSI-X vectors.
    pub fn msix_vectors(&self) -> Result<u32, CallError> {
        let index = InterruptIndex::MSIX;
        let info =
            InterruptInfo { argsz: bytes_of::<InterruptInfo>().into(), index, ..InterruptInfo::default() };
        let info: InterruptInfo =
            self.structure(&self.call(Command::GET_IRQ_INFO, info.as_bytes(), &[])?)?;
        Ok(info.count.get())
    }

    /// Routes all MSI-X vectors nowhere.
    pub fn disable_msix(&self) -> Result<(), CallError> {
        let set = set_msix(SetInterruptsFlags::DATA_NONE, 0, 0);
        self.call(Command::SET_IRQS, set.as_bytes(), &[]).map(drop)
    }

    /// Routes an MSI-X vector to an eventfd.
    pub fn route_msix(&self, vector: u16, eventfd: &OwnedFd) -> Result<(), CallError> {
        let set = set_msix(SetInterruptsFlags::DATA_EVENTFD, vector, 1);
        self.call(Command::SET_IRQS, set.as_bytes(), &[eventfd.as_fd()]).map(drop)
    }

    /// Resets the function.
    pub fn reset(&self) -> Result<(), CallError> {
        self.call(Command::DEVICE_RESET, &[], &[]).map(drop)
    }

    /// Structure at the start of a reply.
    fn structure<T: FromBytes + KnownLayout + Immutable>(&self, reply: &Reply) -> Result<T, CallError> {
        let parsed = T::read_from_prefix(&reply.payload);
        parsed.map(|(structure, _)| structure).map_err(|_| self.give_up("a reply is too short"))
    }

    fn count(&self, len: usize) -> Result<u32, CallError> {
        u32::try_from(len).map_err(|_| self.give_up("a transfer is too long"))
    }
}

/// Configuration space of the function behind a connection.
impl ConfigAccess for &Connection {
    fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        Connection::read(self, RegionIndex::CONFIG, at, bytes).map_err(|error| error.about(self.name()))
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        Connection::write(self, RegionIndex::CONFIG, at, bytes).map_err(|error| error.about(self.name()))
    }
}

fn set_msix(data: u32, start: u16, count: u32) -> SetInterrupts {
    SetInterrupts {
        argsz: bytes_of::<SetInterrupts>().into(),
        flags: SetInterruptsFlags((data | SetInterruptsFlags::ACTION_TRIGGER).into()),
        index: InterruptIndex::MSIX,
        start: u32::from(start).into(),
        count: count.into(),
    }
}

/// Size of a structure in bytes.
const fn bytes_of<T>() -> u32 {
    const { assert!(size_of::<T>() <= PAYLOAD_MAX as usize) };
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    let bytes = size_of::<T>() as u32;
    bytes
}
