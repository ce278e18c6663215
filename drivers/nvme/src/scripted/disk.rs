//! Media and I/O commands of the scripted SSD. It reads PRPs by the specification, and so checks those of the driver.

use super::memory::Reach;
use super::script::ScriptedNamespace;
use luge_memory::Span;
use luge_spec::nvme::{IoOpcode, StatusCode, SubmissionEntry};
use std::collections::BTreeSet;

/// Media of a namespace.
pub(super) struct Disk {
    bytes: Vec<u8>,
    shift: u8,
    /// Places of blocks that were written uncorrectable.
    uncorrectable: BTreeSet<usize>,
}

impl Disk {
    pub(super) fn new(namespace: &ScriptedNamespace) -> Self {
        let len = namespace.blocks.checked_shl(namespace.block_shift.into()).filter(|&len| len <= 64 << 20);
        Self {
            bytes: vec![0; usize::try_from(len.unwrap_or(0)).expect("64 MiB")],
            shift: namespace.block_shift,
            uncorrectable: BTreeSet::new(),
        }
    }

    pub(super) fn bytes(&self, lba: u64, blocks: u32) -> &[u8] {
        let first = usize::try_from(lba << self.shift).expect("a small disk");
        &self.bytes[first..first + ((blocks as usize) << self.shift)]
    }

    pub(super) fn execute(&mut self, reach: &Reach, entry: &SubmissionEntry) -> StatusCode {
        let [_, _, flags, ..] = entry.cdw10;
        let (lba, blocks) = (entry.lba(), (flags & 0xffff) + 1);
        match IoOpcode(entry.opcode) {
            IoOpcode::FLUSH => StatusCode::SUCCESS,
            IoOpcode::DATASET_MANAGEMENT => self.deallocate(reach, entry),
            opcode => {
                let Some(range) = self.range(lba, blocks) else { return StatusCode::LBA_OUT_OF_RANGE };
                self.execute_on(reach, entry, opcode, range)
            }
        }
    }

    fn execute_on(
        &mut self,
        reach: &Reach,
        entry: &SubmissionEntry,
        opcode: IoOpcode,
        range: std::ops::Range<usize>,
    ) -> StatusCode {
        if matches!(opcode, IoOpcode::READ | IoOpcode::VERIFY)
            && self.uncorrectable.range(range.clone()).next().is_some()
        {
            return StatusCode::UNRECOVERED_READ;
        }
        if matches!(opcode, IoOpcode::WRITE | IoOpcode::WRITE_ZEROES) {
            self.uncorrectable.retain(|at| !range.contains(at));
        }
        match opcode {
            IoOpcode::WRITE_ZEROES => self.bytes[range.clone()].fill(0),
            IoOpcode::WRITE_UNCORRECTABLE => {
                self.uncorrectable.extend(range.clone().step_by(1 << self.shift))
            }
            _ => {}
        }
        if matches!(opcode, IoOpcode::WRITE_ZEROES | IoOpcode::WRITE_UNCORRECTABLE | IoOpcode::VERIFY) {
            return StatusCode::SUCCESS;
        }
        let media = &mut self.bytes[range];
        let Some(memory) = prps(reach, entry, media.len()) else { return StatusCode::PRP_OFFSET_INVALID };
        let mut at = 0;
        for span in memory {
            let piece = &mut media[at..at + span.len() as usize];
            at += match opcode {
                IoOpcode::READ => span.write(piece),
                IoOpcode::WRITE => span.read(piece),
                _ => return StatusCode::INVALID_OPCODE,
            };
        }
        StatusCode::SUCCESS
    }

    fn deallocate(&mut self, reach: &Reach, entry: &SubmissionEntry) -> StatusCode {
        let [ranges_z, attributes, ..] = entry.cdw10;
        let Some(span) = reach.span(entry.prp1, 16).filter(|_| ranges_z == 0 && attributes == 4) else {
            return StatusCode::INVALID_FIELD;
        };
        let mut range = [0; 16];
        span.read(&mut range);
        let blocks = u32::from_le_bytes(range[4..8].try_into().expect("four"));
        let lba = u64::from_le_bytes(range[8..16].try_into().expect("eight"));
        let Some(range) = self.range(lba, blocks) else { return StatusCode::LBA_OUT_OF_RANGE };
        self.bytes[range].fill(0);
        StatusCode::SUCCESS
    }

    fn range(&self, lba: u64, blocks: u32) -> Option<std::ops::Range<usize>> {
        let first = usize::try_from(lba).ok()?.checked_mul(1 << self.shift)?;
        let end = first.checked_add((blocks as usize) << self.shift)?;
        (end <= self.bytes.len()).then_some(first..end)
    }
}

/// Memory of a command by its PRPs, as in Base 2.0, clause 4.1.1; none where they break its rules.
fn prps(reach: &Reach, entry: &SubmissionEntry, mut left: usize) -> Option<Vec<Span>> {
    const PAGE: usize = 4096;
    let mut spans = Vec::new();
    let mut take = |at: u64, left: &mut usize| -> Option<()> {
        let len = (*left).min(PAGE - usize::try_from(at % PAGE as u64).ok()?);
        spans.push(reach.span(at, u32::try_from(len).ok()?)?);
        *left -= len;
        Some(())
    };
    if !entry.prp1.is_multiple_of(4) {
        return None;
    }
    take(entry.prp1, &mut left)?;
    if left == 0 {
        // PRP2 is reserved where PRP1 suffices.
        return (entry.prp2 == 0).then_some(spans);
    }
    if left <= PAGE {
        take(entry.prp2, &mut left).filter(|()| entry.prp2.is_multiple_of(PAGE as u64))?;
        return Some(spans);
    }
    let mut at = entry.prp2;
    while left > 0 {
        let mut word = [0; 8];
        reach.span(at, 8)?.read(&mut word);
        let page = u64::from_le_bytes(word);
        let last_of_list = at % PAGE as u64 == PAGE as u64 - 8;
        if !page.is_multiple_of(PAGE as u64) {
            return None;
        }
        if last_of_list && left > PAGE {
            at = page;
            continue;
        }
        take(page, &mut left)?;
        at += 8;
    }
    Some(spans)
}
