//! Interrupts of a function: GET_IRQ_INFO and SET_IRQS.
//!
//! Only MSI-X has interrupts. They cannot be masked by message: a driver masks them in the table of MSI-X, which its
//! VMM keeps.

use super::message::{Files, Refusal, Reply, split};
use crate::function::Function;
use luge_spec::vfio_user::{
    InterruptFlags, InterruptIndex, InterruptInfo, SetInterrupts, SetInterruptsFlags as Flags,
};
use rustix::io::Errno;
use std::ops::Range;

/// Answers GET_IRQ_INFO.
pub(super) fn info(payload: &[u8], function: &dyn Function) -> Result<Reply, Refusal> {
    let (request, _) = split::<InterruptInfo>(payload)?;
    if request.index.0.get() >= InterruptIndex::COUNT {
        return Err(Refusal(Errno::INVAL));
    }
    let count = if request.index == InterruptIndex::MSIX { function.vectors() } else { 0 };
    let flags = if count > 0 { InterruptFlags::EVENTFD } else { 0 };
    Ok(Reply::of(&InterruptInfo {
        argsz: u32::try_from(size_of::<InterruptInfo>()).unwrap_or(0).into(),
        flags: InterruptFlags(flags.into()),
        index: request.index,
        count: u32::from(count).into(),
    }))
}

/// Obeys SET_IRQS.
///
/// # Errors
/// `EINVAL` for interrupts, data or an action that there are not.
pub(super) fn set(payload: &[u8], files: Files, function: &mut dyn Function) -> Result<Reply, Refusal> {
    let (request, data) = split::<SetInterrupts>(payload)?;
    let files = files.take()?;
    let flags = request.flags.0.get();
    if flags & Flags::ACTION_MASK_BITS != Flags::ACTION_TRIGGER {
        return Err(Refusal(Errno::INVAL));
    }
    if flags & Flags::DATA_MASK == Flags::DATA_NONE && request.count.get() == 0 {
        return switch_off(&request, function);
    }
    let vectors = vectors(&request, function)?;
    let count = vectors.len();
    match flags & Flags::DATA_MASK {
        Flags::DATA_NONE => vectors.for_each(|vector| function.trigger(vector)),
        Flags::DATA_BOOL if data.len() >= count => {
            let chosen = vectors.zip(data).filter(|&(_, &is_chosen)| is_chosen != 0);
            chosen.for_each(|(vector, _)| function.trigger(vector));
        }
        Flags::DATA_EVENTFD if files.is_empty() => {
            function.set_vectors(vectors.start, vectors.map(|_| None).collect());
        }
        Flags::DATA_EVENTFD if files.len() == count => {
            function.set_vectors(vectors.start, files.into_iter().map(Some).collect());
        }
        _ => return Err(Refusal(Errno::INVAL)),
    }
    Ok(Reply::empty())
}

/// Takes the eventfds of all interrupts of a kind away.
fn switch_off(request: &SetInterrupts, function: &mut dyn Function) -> Result<Reply, Refusal> {
    if request.index.0.get() >= InterruptIndex::COUNT || request.start.get() != 0 {
        return Err(Refusal(Errno::INVAL));
    }
    if request.index == InterruptIndex::MSIX {
        let none = (0..function.vectors()).map(|_| None).collect();
        function.set_vectors(0, none);
    }
    Ok(Reply::empty())
}

/// Vectors of a request: there is at least one, and the function has all of them.
fn vectors(request: &SetInterrupts, function: &dyn Function) -> Result<Range<u16>, Refusal> {
    let end = request.start.get().checked_add(request.count.get());
    let end = end.and_then(|end| u16::try_from(end).ok()).filter(|&end| end <= function.vectors());
    let start = u16::try_from(request.start.get()).ok();
    match (start, end) {
        (Some(start), Some(end)) if request.index == InterruptIndex::MSIX && start < end => Ok(start..end),
        _ => Err(Refusal(Errno::INVAL)),
    }
}
