//! The kernel's VFIO and iommufd requests, one function each.
//!
//! Structures and constants are those of `vfio-bindings` and `iommufd-bindings`. The crate `vfio-ioctls`
//! is not used: it hides whether a reset worked and which I/O virtual addresses are valid, maps no BAR,
//! and depends on KVM's structures.
//!
//! Invariants
//! - The size field of an argument is its real size, so that the kernel does not write behind it. Sizes
//!   are therefore set in this file only.
//! - Memory for devices is given as a [`Mapping`], never as an address.
//!
//! Not here: the meaning of replies (`reply`), the use of requests (`domain`, `function`).

#![expect(unsafe_code, reason = "ioctl is a raw system call")]

use iommufd_bindings::iommufd::{
    IOMMUFD_CMD_IOAS_ALLOC, IOMMUFD_CMD_IOAS_IOVA_RANGES, IOMMUFD_CMD_IOAS_MAP, IOMMUFD_CMD_IOAS_UNMAP,
    iommu_ioas_alloc, iommu_ioas_iova_ranges, iommu_ioas_map, iommu_ioas_unmap, iommu_iova_range,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA as FIXED_IOVA,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE as READABLE,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE as WRITEABLE,
};
use luge_memory::{Iova, IovaRange, Mapping};
use std::ffi::{CStr, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::slice;
use vfio_bindings::bindings::vfio::{
    VFIO_BASE, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX,
    VFIO_TYPE, VFIO_TYPE1v2_IOMMU, vfio_device_attach_iommufd_pt, vfio_device_bind_iommufd, vfio_device_info,
    vfio_group_status, vfio_iommu_type1_dma_map, vfio_iommu_type1_dma_unmap, vfio_irq_info,
};

/// Code of a request. All are `_IO(';', number)`, without direction and size.
#[derive(Clone, Copy)]
struct Request(u16);

impl Request {
    const fn new(number: u32) -> Self {
        let [number, 0, 0, 0] = number.to_le_bytes() else { panic!("a request's number is a byte") };
        Self(u16::from_be_bytes([VFIO_TYPE, number]))
    }
}

const SET_IOMMU: Request = Request::new(VFIO_BASE + 2);
const GROUP_SET_CONTAINER: Request = Request::new(VFIO_BASE + 4);
const GROUP_GET_DEVICE_FD: Request = Request::new(VFIO_BASE + 6);
const GET_REGION_INFO: Request = Request::new(VFIO_BASE + 8);
const SET_IRQS: Request = Request::new(VFIO_BASE + 10);
const RESET: Request = Request::new(VFIO_BASE + 11);
const IOMMU_GET_INFO: Request = Request::new(VFIO_BASE + 12);

/// Size limit of a reply in 32-bit words, far above any reply of the kernel.
const MOST_WORDS: usize = 1 << 18;

/// Sends a request to the kernel; returns its result, zero or more.
///
/// # Safety
/// `argument` is that of the request, and all memory that it lets the kernel read or write is ours and
/// live.
unsafe fn ask(file: &File, request: Request, argument: *mut c_void) -> io::Result<i32> {
    // SAFETY: promised by the caller.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), request.0.into(), argument) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// A structure with its own size in its first word, and its request.
///
/// # Safety
/// The kernel reads and writes that many bytes of the structure, memory that the structure points to,
/// and no other.
unsafe trait Argument {
    const REQUEST: Request;

    fn state_size(&mut self);
}

macro_rules! arguments {
    ($($structure:ty, $size:ident, $number:expr;)*) => {$(
        // SAFETY: by the kernel's definition of the request.
        unsafe impl Argument for $structure {
            const REQUEST: Request = Request::new($number);

            #[expect(clippy::cast_possible_truncation, reason = "the kernel's structures are small")]
            fn state_size(&mut self) {
                self.$size = size_of::<Self>() as u32;
            }
        }
    )*};
}

arguments! {
    vfio_group_status, argsz, VFIO_BASE + 3;
    vfio_device_info, argsz, VFIO_BASE + 7;
    vfio_irq_info, argsz, VFIO_BASE + 9;
    vfio_iommu_type1_dma_map, argsz, VFIO_BASE + 13;
    vfio_iommu_type1_dma_unmap, argsz, VFIO_BASE + 14;
    vfio_device_bind_iommufd, argsz, VFIO_BASE + 18;
    vfio_device_attach_iommufd_pt, argsz, VFIO_BASE + 19;
    iommu_ioas_alloc, size, IOMMUFD_CMD_IOAS_ALLOC;
    iommu_ioas_iova_ranges, size, IOMMUFD_CMD_IOAS_IOVA_RANGES;
    iommu_ioas_map, size, IOMMUFD_CMD_IOAS_MAP;
    iommu_ioas_unmap, size, IOMMUFD_CMD_IOAS_UNMAP;
}

/// Sends a request with a structure, into which the kernel may write its reply.
fn exchange<A: Argument>(file: &File, argument: &mut A) -> io::Result<i32> {
    argument.state_size();
    // SAFETY: promised by `Argument`; each caller below sets pointers to live memory.
    unsafe { ask(file, A::REQUEST, ptr::from_mut(argument).cast()) }
}

/// Sends a request whose reply has an unknown length; `start` are its first words.
fn enquire(file: &File, request: Request, start: &[u32]) -> io::Result<Vec<u8>> {
    let mut words = vec![0u32; 1024];
    loop {
        words.iter_mut().zip(start).for_each(|(word, &value)| *word = value);
        let have = u32::try_from(words.len() * 4).map_err(io::Error::other)?;
        words[0] = have;
        // SAFETY: the kernel writes at most `have` bytes from the first word on.
        unsafe { ask(file, request, words.as_mut_ptr().cast()) }?;
        let need = (words[0] as usize).div_ceil(4);
        if need <= words.len() || need > MOST_WORDS {
            return Ok(words.iter().flat_map(|word| word.to_ne_bytes()).collect());
        }
        words.resize(need, 0);
    }
}

// A container: `/dev/vfio/vfio`.

/// Makes the container's groups share one IOMMU domain. The container needs a group.
pub fn set_type1v2(container: &File) -> io::Result<()> {
    let kind = ptr::without_provenance_mut(VFIO_TYPE1v2_IOMMU as usize);
    // SAFETY: the argument is a number, not a pointer.
    unsafe { ask(container, SET_IOMMU, kind) }.map(drop)
}

/// Reads the capabilities of the container's IOMMU, which `reply::iova_ranges` parses.
pub fn iommu_info(container: &File) -> io::Result<Vec<u8>> {
    enquire(container, IOMMU_GET_INFO, &[])
}

/// Maps `memory` for the container's devices, readable and writable.
pub fn map_dma(container: &File, iova: Iova, memory: &Mapping) -> io::Result<()> {
    let mut map = vfio_iommu_type1_dma_map {
        flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        vaddr: memory.host().addr().get() as u64,
        iova: iova.0,
        size: memory.len(),
        ..Default::default()
    };
    exchange(container, &mut map).map(drop)
}

/// Removes mappings; returns the number of unmapped bytes.
pub fn unmap_dma(container: &File, iova: Iova, len: u64) -> io::Result<u64> {
    let mut unmap = vfio_iommu_type1_dma_unmap { iova: iova.0, size: len, ..Default::default() };
    exchange(container, &mut unmap)?;
    Ok(unmap.size)
}

// A group: `/dev/vfio/N`.

/// Flags of a group.
pub fn group_flags(group: &File) -> io::Result<u32> {
    let mut status = vfio_group_status::default();
    exchange(group, &mut status)?;
    Ok(status.flags)
}

/// Puts a group into a container.
pub fn set_container(group: &File, container: &File) -> io::Result<()> {
    let mut descriptor = container.as_raw_fd();
    // SAFETY: the kernel reads the file descriptor.
    unsafe { ask(group, GROUP_SET_CONTAINER, ptr::from_mut(&mut descriptor).cast()) }.map(drop)
}

/// Opens the device `name` of a group that is in a container with an IOMMU.
pub fn device(group: &File, name: &CStr) -> io::Result<File> {
    // SAFETY: the kernel reads the name up to its end.
    let descriptor = unsafe { ask(group, GROUP_GET_DEVICE_FD, name.as_ptr().cast_mut().cast()) }?;
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }.into())
}

// An I/O address space of `/dev/iommu`.

/// Makes an empty I/O address space and returns its number.
pub fn allocate_ioas(iommufd: &File) -> io::Result<u32> {
    let mut ioas = iommu_ioas_alloc::default();
    exchange(iommufd, &mut ioas)?;
    Ok(ioas.out_ioas_id)
}

/// Address ranges that all devices of the space accept.
pub fn ioas_ranges(iommufd: &File, ioas: u32) -> io::Result<Vec<IovaRange>> {
    let mut found = vec![iommu_iova_range::default(); 64];
    loop {
        let mut ranges = iommu_ioas_iova_ranges {
            ioas_id: ioas,
            num_iovas: u32::try_from(found.len()).map_err(io::Error::other)?,
            allowed_iovas: found.as_mut_ptr().expose_provenance() as u64,
            ..Default::default()
        };
        let outcome = exchange(iommufd, &mut ranges);
        let count = ranges.num_iovas as usize;
        match outcome {
            Err(e)
                if e.raw_os_error() == Some(libc::EMSGSIZE) && (found.len()..MOST_WORDS).contains(&count) =>
            {
                found.resize(count + 1, iommu_iova_range::default());
            }
            Err(error) => return Err(error),
            Ok(_) => {
                let range = |r: &iommu_iova_range| IovaRange { first: r.start, last: r.last };
                return Ok(found.iter().take(count).map(range).collect());
            }
        }
    }
}

/// Maps `memory` for the space's devices, readable and writable.
pub fn map_ioas(iommufd: &File, ioas: u32, iova: Iova, memory: &Mapping) -> io::Result<()> {
    let mut map = iommu_ioas_map {
        flags: FIXED_IOVA | READABLE | WRITEABLE,
        ioas_id: ioas,
        user_va: memory.host().addr().get() as u64,
        length: memory.len(),
        iova: iova.0,
        ..Default::default()
    };
    exchange(iommufd, &mut map).map(drop)
}

/// Removes mappings; returns the number of unmapped bytes.
pub fn unmap_ioas(iommufd: &File, ioas: u32, iova: Iova, len: u64) -> io::Result<u64> {
    let mut unmap = iommu_ioas_unmap { ioas_id: ioas, iova: iova.0, length: len, ..Default::default() };
    exchange(iommufd, &mut unmap)?;
    Ok(unmap.length)
}

// A device.

/// Binds a device of `/dev/vfio/devices` to an iommufd, which makes it exclusively ours.
pub fn bind_iommufd(device: &File, iommufd: &File) -> io::Result<()> {
    let mut bind = vfio_device_bind_iommufd { iommufd: iommufd.as_raw_fd(), ..Default::default() };
    exchange(device, &mut bind).map(drop)
}

/// Puts a device that is bound to an iommufd into one of its I/O address spaces.
pub fn attach_ioas(device: &File, ioas: u32) -> io::Result<()> {
    let mut attach = vfio_device_attach_iommufd_pt { pt_id: ioas, ..Default::default() };
    exchange(device, &mut attach).map(drop)
}

/// Flags of a device, `VFIO_DEVICE_FLAGS_*`.
pub fn device_flags(device: &File) -> io::Result<u32> {
    let mut info = vfio_device_info::default();
    exchange(device, &mut info)?;
    Ok(info.flags)
}

/// Reads the location of a region in the device's file, which `reply::Region` parses.
pub fn region_info(device: &File, index: u32) -> io::Result<Vec<u8>> {
    enquire(device, GET_REGION_INFO, &[0, 0, index])
}

/// Number of MSI-X vectors of a device.
pub fn msix_vectors(device: &File) -> io::Result<u32> {
    let mut info = vfio_irq_info { index: VFIO_PCI_MSIX_IRQ_INDEX, ..Default::default() };
    exchange(device, &mut info)?;
    Ok(info.count)
}

/// Routes the first MSI-X vectors to `eventfds`, in one request because some kernels cannot add vectors
/// later; without eventfds, turns MSI-X off. Returns zero, or the number of vectors that the machine has
/// left if they are too few.
pub fn set_msix(device: &File, eventfds: &[OwnedFd]) -> io::Result<i32> {
    set_irqs(device, VFIO_PCI_MSIX_IRQ_INDEX, eventfds)
}

/// Makes the kernel signal `eventfd` every few seconds while it wants the device back.
pub fn set_recall(device: &File, eventfd: &OwnedFd) -> io::Result<()> {
    set_irqs(device, VFIO_PCI_REQ_IRQ_INDEX, slice::from_ref(eventfd)).map(drop)
}

fn set_irqs(device: &File, index: u32, eventfds: &[OwnedFd]) -> io::Result<i32> {
    let mut words = irq_set(index, eventfds);
    // SAFETY: the kernel reads the number of bytes in the first word, which is all of them.
    unsafe { ask(device, SET_IRQS, words.as_mut_ptr().cast()) }
}

/// Words of a `struct vfio_irq_set`: size, flags, index, start, count, then a descriptor per vector.
fn irq_set(index: u32, eventfds: &[OwnedFd]) -> Vec<u32> {
    let data = if eventfds.is_empty() { VFIO_IRQ_SET_DATA_NONE } else { VFIO_IRQ_SET_DATA_EVENTFD };
    let count = u32::try_from(eventfds.len()).unwrap_or(u32::MAX);
    let flags = data | VFIO_IRQ_SET_ACTION_TRIGGER;
    let mut words = vec![0, flags, index, 0, count];
    words.extend(eventfds.iter().map(|eventfd| eventfd.as_raw_fd().cast_unsigned()));
    words[0] = u32::try_from(words.len() * 4).unwrap_or(0);
    words
}

/// Resets a device.
pub fn reset(device: &File) -> io::Result<()> {
    // SAFETY: there is no argument.
    unsafe { ask(device, RESET, ptr::null_mut()) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};
    use std::mem::offset_of;
    use vfio_bindings::bindings::vfio::vfio_irq_set;

    #[test]
    fn eventfds_stand_behind_the_header_as_the_kernel_defines_it() {
        assert_eq!(offset_of!(vfio_irq_set, index), 8);
        assert_eq!(offset_of!(vfio_irq_set, count), 16);
        assert_eq!(offset_of!(vfio_irq_set, data), 20);
        let eventfds: Vec<OwnedFd> = (0..3).map(|_| eventfd(0, EventfdFlags::CLOEXEC).unwrap()).collect();
        let words = irq_set(VFIO_PCI_MSIX_IRQ_INDEX, &eventfds);
        assert_eq!(words[..5], [32, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, 2, 0, 3]);
        let descriptors: Vec<u32> = eventfds.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
        assert_eq!(words[5..], descriptors);
    }

    #[test]
    fn no_eventfds_turn_interrupts_off() {
        let off = [20, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 2, 0, 0];
        assert_eq!(irq_set(VFIO_PCI_MSIX_IRQ_INDEX, &[]), off);
    }

    #[test]
    fn a_file_that_is_not_of_vfio_is_an_error() {
        let file = File::open("/dev/null").unwrap();
        assert_eq!(device_flags(&file).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(region_info(&file, 0).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(reset(&file).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        assert_eq!(set_recall(&file, &eventfd).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }

    #[test]
    fn request_numbers_are_those_of_the_kernel_headers() {
        assert_eq!(SET_IOMMU.0, 0x3b66);
        assert_eq!(vfio_iommu_type1_dma_unmap::REQUEST.0, 0x3b72);
        assert_eq!(vfio_device_attach_iommufd_pt::REQUEST.0, 0x3b77);
        assert_eq!(iommu_ioas_unmap::REQUEST.0, 0x3b86);
    }
}
