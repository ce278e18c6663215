//! Regions of a function: GET_REGION_INFO, GET_REGION_IO_FDS, REGION_READ, REGION_WRITE and REGION_WRITE_MULTI.
//!
//! Invariant: a function gets only accesses to bytes that its region has, in a direction that it allows.

use super::message::{Refusal, Reply, split};
use super::version::Negotiated;
use crate::function::{Function, Mappable, Region, RegionAccess};
use luge_spec::vfio_user::{
    CapabilityHeader, IoFdsInfo, RegionAccess as Access, RegionFlags, RegionIndex, RegionInfo, SPARSE_MMAP,
    SPARSE_MMAP_VERSION, SparseArea, SparseMmap, WriteMulti, WriteOne,
};
use rustix::io::Errno;
use zerocopy::IntoBytes;

/// Regions of a function, by their indices.
pub(super) struct Regions(Vec<Region>);

/// Direction of an access.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

impl Regions {
    pub(super) fn of(function: &dyn Function) -> Self {
        Self((0..RegionIndex::COUNT).map(|index| function.region(RegionIndex(index.into()))).collect())
    }

    fn region(&self, index: RegionIndex) -> Result<&Region, Refusal> {
        let at = usize::try_from(index.0.get()).ok();
        at.and_then(|at| self.0.get(at)).ok_or(Refusal(Errno::INVAL))
    }

    /// Answers GET_REGION_INFO. Capabilities, and with them the file, are in the reply if the client has room for them.
    pub(super) fn info(&self, payload: &[u8], negotiated: Negotiated) -> Result<Reply, Refusal> {
        let (request, _) = split::<RegionInfo>(payload)?;
        let region = self.region(request.index)?;
        let mappable = region.mappable.as_ref().filter(|_| negotiated.takes_files);
        let capabilities = mappable.map(capabilities).unwrap_or_default();
        let whole =
            u32::try_from(size_of::<RegionInfo>().saturating_add(capabilities.len())).unwrap_or(u32::MAX);
        let has_room = request.argsz.get() >= whole;
        let mut info = RegionInfo {
            argsz: whole.into(),
            flags: RegionFlags(flags(region, mappable).into()),
            index: request.index,
            cap_offset: 0.into(),
            size: region.len.into(),
            offset: mappable.map_or(0, |mappable| mappable.file_offset).into(),
        };
        let Some(mappable) = mappable.filter(|_| has_room) else { return Ok(Reply::of(&info)) };
        info.flags = RegionFlags((info.flags.0.get() | RegionFlags::CAPABILITIES).into());
        info.cap_offset = u32::try_from(size_of::<RegionInfo>()).unwrap_or(0).into();
        let payload = [info.as_bytes(), &capabilities].concat();
        Ok(Reply { payload, file: Some(mappable.file.clone()) })
    }

    /// Answers GET_REGION_IO_FDS: no eventfds replace writes.
    pub(super) fn io_fds(&self, payload: &[u8]) -> Result<Reply, Refusal> {
        let (request, _) = split::<IoFdsInfo>(payload)?;
        self.region(request.index)?;
        if request.flags.get() != 0 || request.count.get() != 0 {
            return Err(Refusal(Errno::INVAL));
        }
        let argsz = u32::try_from(size_of::<IoFdsInfo>()).unwrap_or(0).into();
        Ok(Reply::of(&IoFdsInfo { argsz, ..request }))
    }

    /// Reads from a region.
    pub(super) fn read(
        &self,
        payload: &[u8],
        negotiated: Negotiated,
        function: &mut dyn Function,
    ) -> Result<Reply, Refusal> {
        let (access, _) = split::<Access>(payload)?;
        self.check(&access, Direction::Read)?;
        if access.count.get() > negotiated.data_bytes_max {
            return Err(Refusal(Errno::INVAL));
        }
        let count = usize::try_from(access.count.get()).map_err(|_| Refusal(Errno::INVAL))?;
        let mut payload = access.as_bytes().to_vec();
        let head = payload.len();
        payload.resize(head.saturating_add(count), 0);
        if let Some(data) = payload.get_mut(head..).filter(|data| !data.is_empty()) {
            function.read(access.region, access.offset.get(), data);
        }
        Ok(Reply { payload, file: None })
    }

    /// Writes to a region.
    pub(super) fn write(&self, payload: &[u8], function: &mut dyn Function) -> Result<Reply, Refusal> {
        let (access, data) = split::<Access>(payload)?;
        self.check(&access, Direction::Write)?;
        if usize::try_from(access.count.get()) != Ok(data.len()) {
            return Err(Refusal(Errno::INVAL));
        }
        if !data.is_empty() {
            function.write(access.region, access.offset.get(), data);
        }
        Ok(Reply::of(&access))
    }

    /// Does several writes, in their order, up to the first that is not possible.
    pub(super) fn write_multi(&self, payload: &[u8], function: &mut dyn Function) -> Result<Reply, Refusal> {
        let (WriteMulti { writes }, mut rest) = split(payload)?;
        let len = writes.get().checked_mul(size_of::<WriteOne>() as u64);
        if len != Some(rest.len() as u64) {
            return Err(Refusal(Errno::INVAL));
        }
        while !rest.is_empty() {
            let (WriteOne { offset, region, count, data }, others) = split(rest)?;
            self.check(&Access { offset, region, count }, Direction::Write)?;
            let count = usize::try_from(count.get()).map_err(|_| Refusal(Errno::INVAL))?;
            let data = data.get(..count).ok_or(Refusal(Errno::INVAL))?;
            if !data.is_empty() {
                function.write(region, offset.get(), data);
            }
            rest = others;
        }
        Ok(Reply::of(&WriteMulti { writes }))
    }

    /// Fails unless the bytes of an access are all in its region, which allows it.
    fn check(&self, access: &Access, direction: Direction) -> Result<(), Refusal> {
        let region = self.region(access.region)?;
        let is_allowed = match region.access {
            RegionAccess::None => false,
            RegionAccess::Read => direction == Direction::Read,
            RegionAccess::ReadWrite => true,
        };
        let end = access.offset.get().checked_add(access.count.get().into());
        let is_inside = end.is_some_and(|end| end <= region.len);
        if is_allowed && is_inside { Ok(()) } else { Err(Refusal(Errno::INVAL)) }
    }
}

/// Flags of a region, but for that of capabilities.
fn flags(region: &Region, mappable: Option<&Mappable>) -> u32 {
    let access = match region.access {
        RegionAccess::None => 0,
        RegionAccess::Read => RegionFlags::READ,
        RegionAccess::ReadWrite => RegionFlags::READ | RegionFlags::WRITE,
    };
    access | mappable.map_or(0, |_| RegionFlags::MMAP)
}

/// Capabilities of a region with areas that can be mapped.
fn capabilities(mappable: &Mappable) -> Vec<u8> {
    let areas = mappable.areas.get(..Mappable::AREAS_MAX).unwrap_or(&mappable.areas);
    let header =
        CapabilityHeader { id: SPARSE_MMAP.into(), version: SPARSE_MMAP_VERSION.into(), next: 0.into() };
    let sparse = SparseMmap { areas: u32::try_from(areas.len()).unwrap_or(0).into(), reserved: 0.into() };
    let mut bytes = [header.as_bytes(), sparse.as_bytes()].concat();
    for area in areas {
        let area = SparseArea { offset: area.offset.into(), size: area.len.into() };
        bytes.extend_from_slice(area.as_bytes());
    }
    bytes
}
