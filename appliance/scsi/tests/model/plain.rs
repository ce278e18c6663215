//! A plain decoder: byte by byte from the tables of SBC-3 and SPC-4, without regard to speed or to the order of checks.

use luge_block::{Durability, Operation, Stepped, WriteSame};
use luge_scsi::UnitView;

const INVALID_OPCODE: u16 = 0x2000;
const OUT_OF_RANGE: u16 = 0x2100;
const INVALID_FIELD: u16 = 0x2400;
const WRITE_PROTECTED: u16 = 0x2700;
const LIST_LENGTH: u16 = 0x1a00;

/// Work that a command is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    Blocks { operation: Operation, lba: u64, blocks: u32, data_bytes: u64 },
    Flush,
    Unmap(u16),
    Nothing,
    DeviceServer,
}

/// Reading of a CDB: work, or all the faults that it has, of which one may be told.
#[derive(Debug)]
pub enum Verdict {
    Work(Work),
    Faults(Vec<u16>),
}

/// Second byte, with a name for each bit.
struct Second(u8);

impl Second {
    fn bit(&self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }
}

/// Fields of a block command.
struct Block {
    second: Second,
    lba: u64,
    length: u64,
    group: u8,
    control: u8,
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Figures 2, 3, 4 and 5 of SPC-4.
fn block(cdb: &[u8]) -> Block {
    match cdb[0] >> 5 {
        0 => Block {
            second: Second(cdb[1] & 0xe0),
            lba: number(&cdb[1..4]) & 0x1f_ffff,
            length: if cdb[4] == 0 { 256 } else { cdb[4].into() },
            group: 0,
            control: cdb[5],
        },
        1 | 2 => Block {
            second: Second(cdb[1]),
            lba: number(&cdb[2..6]),
            length: number(&cdb[7..9]),
            group: cdb[6],
            control: cdb[9],
        },
        4 => Block {
            second: Second(cdb[1]),
            lba: number(&cdb[2..10]),
            length: number(&cdb[10..14]),
            group: cdb[14],
            control: cdb[15],
        },
        _ => Block {
            second: Second(cdb[1]),
            lba: number(&cdb[2..6]),
            length: number(&cdb[6..10]),
            group: cdb[10],
            control: cdb[11],
        },
    }
}

/// Bytes of a CDB that the unit has a command for.
fn length_of(opcode: u8) -> usize {
    match opcode {
        0x00..=0x1f => 6,
        0x20..=0x5f => 10,
        0x80..=0x9f => 16,
        _ => 12,
    }
}

/// Operation codes of block commands.
const BLOCK_OPCODES: [u8; 20] = [
    0x08, 0x0a, 0x28, 0x2a, 0x2e, 0x2f, 0x35, 0x41, 0x42, 0x88, 0x89, 0x8a, 0x8e, 0x8f, 0x91, 0x93, 0xa8,
    0xaa, 0xae, 0xaf,
];

/// Operation codes of the device server.
const OTHERS: [u8; 21] = [
    0x00, 0x03, 0x12, 0x15, 0x16, 0x17, 0x1a, 0x1b, 0x1d, 0x1e, 0x25, 0x4d, 0x55, 0x56, 0x57, 0x5a, 0x5e,
    0x5f, 0x9e, 0xa0, 0xa3,
];

pub fn judge(cdb: &[u8], unit: &UnitView) -> Verdict {
    let Some(&opcode) = cdb.first() else { return Verdict::Faults(vec![INVALID_OPCODE]) };
    let is_block = BLOCK_OPCODES.contains(&opcode);
    if !is_block && !OTHERS.contains(&opcode) || opcode == 0x42 && unit.unmap_blocks_max == 0 {
        return Verdict::Faults(vec![INVALID_OPCODE]);
    }
    if cdb.len() < length_of(opcode) {
        return Verdict::Faults(vec![INVALID_FIELD]);
    }
    let (faults, work) = if is_block { of_block(cdb, unit) } else { of_other(cdb) };
    if faults.is_empty() { Verdict::Work(work) } else { Verdict::Faults(faults) }
}

/// A block command that is being judged.
struct Case<'a> {
    opcode: u8,
    block: Block,
    cdb: &'a [u8],
    unit: &'a UnitView,
    faults: Vec<u16>,
}

fn of_block(cdb: &[u8], unit: &UnitView) -> (Vec<u16>, Work) {
    let mut case = Case { opcode: cdb[0], block: block(cdb), cdb, unit, faults: Vec::new() };
    case.check_common();
    let work = match case.opcode {
        0x08 | 0x28 | 0x88 | 0xa8 => case.transfer(Operation::Read),
        0x0a | 0x2a | 0x8a | 0xaa => case.transfer(Operation::Write(case.durability())),
        0x2e | 0x8e | 0xae => case.write_and_verify(),
        0x2f | 0x8f | 0xaf => case.verify(),
        0x35 => case.synchronize_cache(0b1_1000),
        0x91 => case.synchronize_cache(0b1_1001),
        0x41 => case.write_same(0b1_0111),
        0x93 => case.write_same(0b1_0110),
        0x89 => case.compare_and_write(),
        _ => case.unmap(),
    };
    (case.faults, work)
}

impl Case<'_> {
    fn invalid_if(&mut self, wrong: bool) {
        if wrong {
            self.faults.push(INVALID_FIELD);
        }
    }

    /// Bits of the second byte that are reserved, or that the unit does not support. Obsolete ones do not count.
    fn reserved(&mut self, bits: u8) {
        self.invalid_if(self.block.second.0 & bits != 0);
    }

    /// Protection information, groups and NACA: the unit has none of them.
    fn check_common(&mut self) {
        let Block { second, group, control, .. } = &self.block;
        self.invalid_if(second.0 & 0xe0 != 0 || *group != 0 || *control != 0);
        let changes = !matches!(self.opcode, 0x08 | 0x28 | 0x88 | 0xa8 | 0x2f | 0x8f | 0xaf | 0x35 | 0x91);
        if changes && self.unit.read_only {
            self.faults.push(WRITE_PROTECTED);
        }
        if !matches!(self.opcode, 0x42 | 0x89) {
            self.check_range(self.block.length);
        }
    }

    fn check_range(&mut self, blocks: u64) {
        if u128::from(self.block.lba) + u128::from(blocks) > u128::from(self.unit.blocks.0) {
            self.faults.push(OUT_OF_RANGE);
        }
    }

    /// FUA.
    fn durability(&self) -> Durability {
        if self.block.second.bit(3) { Durability::Media } else { self.unit.least_durability }
    }

    /// The operation with so many blocks of data; nothing without blocks.
    fn blocks(&self, operation: Operation, data: u64) -> Work {
        let data_bytes = data * u64::from(self.unit.block_bytes);
        match u32::try_from(self.block.length).unwrap() {
            0 => Work::Nothing,
            blocks => Work::Blocks { operation, lba: self.block.lba, blocks, data_bytes },
        }
    }

    fn transfer(&mut self, operation: Operation) -> Work {
        self.reserved(0b100);
        self.blocks(operation, self.block.length)
    }

    fn write_and_verify(&mut self) -> Work {
        self.reserved(if self.opcode == 0x8e { 0b1001 } else { 0b1000 });
        let check = self.block.second.0 >> 1 & 3;
        self.invalid_if(check > 1 || self.block.length > self.unit.verify_data_blocks_max.into());
        let stepped = if check == 1 { Stepped::WriteAndCompare } else { Stepped::WriteAndVerify };
        self.blocks(Operation::Stepped(stepped), self.block.length)
    }

    fn verify(&mut self) -> Work {
        self.reserved(if self.opcode == 0x8f { 0b1001 } else { 0b1000 });
        let check = self.block.second.0 >> 1 & 3;
        self.invalid_if(check != 1 && self.block.length > self.unit.verify_blocks_max.into());
        match check {
            0 => self.blocks(Operation::Verify, 0),
            1 => {
                self.invalid_if(self.block.length > self.unit.verify_data_blocks_max.into());
                self.blocks(Operation::Compare, self.block.length)
            }
            2 => {
                self.invalid_if(true);
                Work::Nothing
            }
            _ => self.blocks(Operation::Stepped(Stepped::CompareSame), 1),
        }
    }

    fn synchronize_cache(&mut self, reserved: u8) -> Work {
        self.reserved(reserved);
        Work::Flush
    }

    fn write_same(&mut self, reserved: u8) -> Work {
        self.reserved(reserved);
        let unmaps = self.block.second.bit(3);
        self.invalid_if(self.block.length == 0 || unmaps && self.unit.unmap_blocks_max == 0);
        self.invalid_if(self.block.length > self.unit.write_same_blocks_max.into());
        let without_data = self.opcode == 0x93 && self.block.second.bit(0);
        let least = self.unit.least_durability;
        let same = match least {
            Durability::Cache if unmaps => WriteSame::UnmapCache,
            Durability::Media if unmaps => WriteSame::UnmapMedia,
            Durability::Cache => WriteSame::Cache,
            Durability::Media => WriteSame::Media,
        };
        self.blocks(Operation::Stepped(Stepped::WriteSame(same)), u64::from(!without_data))
    }

    /// Table 30 of SBC-3: the number of blocks is byte 13.
    fn compare_and_write(&mut self) -> Work {
        self.reserved(0b100);
        self.block.length = self.cdb[13].into();
        let most = u64::from(self.unit.compare_and_write_blocks_max);
        self.invalid_if(self.cdb[10..13] != [0; 3] || self.block.length > most);
        self.check_range(self.block.length);
        self.blocks(Operation::CompareAndWrite(self.durability()), 2 * self.block.length)
    }

    fn unmap(&mut self) -> Work {
        self.reserved(0x1f);
        self.invalid_if(self.cdb[2..6] != [0; 4]);
        match u16::try_from(self.block.length).unwrap() {
            0 => Work::Nothing,
            bytes @ 1..8 => {
                self.faults.push(LIST_LENGTH);
                Work::Unmap(bytes)
            }
            bytes => Work::Unmap(bytes),
        }
    }
}

/// Commands of the device server: nothing but their bits that must be zero is looked at here.
fn of_other(cdb: &[u8]) -> (Vec<u16>, Work) {
    let action = cdb[1] & 0x1f;
    // Bytes that must be zero, by place and bits.
    let zero: &[(usize, u8)] = match (cdb[0], action) {
        (0x00, _) => &[(1, 0x1f), (2, 0xff), (3, 0xff), (4, 0xff), (5, 0xff)],
        (0x03, _) => &[(1, 0x1e), (2, 0xff), (3, 0xff), (5, 0xff)],
        (0x12, _) => &[(1, 0x1e), (5, 0xff)],
        (0x15, _) => &[(1, 0x0e), (2, 0xff), (3, 0xff), (5, 0xff)],
        (0x16 | 0x17, _) => &[(1, 0x1f), (2, 0xff), (3, 0xff), (4, 0xff), (5, 0xff)],
        (0x1a, _) => &[(1, 0x17), (5, 0xff)],
        (0x1b, _) => &[(1, 0x1e), (2, 0xff), (3, 0xf0), (4, 0x08), (5, 0xff)],
        (0x1d, _) => &[(1, 0x08), (2, 0xff), (5, 0xff)],
        (0x1e, _) => &[(1, 0x1f), (2, 0xff), (3, 0xff), (4, 0xfc), (5, 0xff)],
        (0x25, _) => &[(1, 0x1e), (6, 0xff), (7, 0xff), (8, 0xfe), (9, 0xff)],
        (0x4d, _) => &[(1, 0xfe), (4, 0xff), (9, 0xff)],
        (0x55, _) => &[(1, 0x0e), (2, 0xff), (3, 0xff), (4, 0xff), (5, 0xff), (6, 0xff), (9, 0xff)],
        (0x56 | 0x57, _) => &[
            (1, 0x1f),
            (2, 0xff),
            (3, 0xff),
            (4, 0xff),
            (5, 0xff),
            (6, 0xff),
            (7, 0xff),
            (8, 0xff),
            (9, 0xff),
        ],
        (0x5a, _) => &[(1, 0x07), (4, 0xff), (5, 0xff), (6, 0xff), (9, 0xff)],
        (0x5e, 0..=3) => &[(1, 0xe0), (2, 0xff), (3, 0xff), (4, 0xff), (5, 0xff), (6, 0xff), (9, 0xff)],
        (0x5f, 0..=6) => &[(1, 0xe0), (3, 0xff), (4, 0xff), (9, 0xff)],
        (0x9e, 0x10) => &[(1, 0xe0), (14, 0xfe), (15, 0xff)],
        (0x9e, 0x12) => &[(1, 0xe0), (14, 0xff), (15, 0xff)],
        (0xa0, _) => &[(1, 0xff), (3, 0xff), (4, 0xff), (5, 0xff), (10, 0xff), (11, 0xff)],
        (0xa3, 0x0a) => &[(2, 0xff), (3, 0xff), (4, 0xff), (5, 0xff), (10, 0xff), (11, 0xff)],
        (0xa3, 0x0c) => &[(1, 0xe0), (2, 0x78), (10, 0xff), (11, 0xff)],
        (0xa3, 0x0d) => &[(1, 0xe0), (2, 0x7f), (3, 0xff), (4, 0xff), (5, 0xff), (10, 0xff), (11, 0xff)],
        _ => return (vec![INVALID_FIELD], Work::DeviceServer),
    };
    let wrong = zero.iter().any(|&(place, bits)| cdb[place] & bits != 0);
    (if wrong { vec![INVALID_FIELD] } else { Vec::new() }, Work::DeviceServer)
}

/// Block descriptors of an UNMAP parameter list that have blocks: those that are there as a whole.
pub fn descriptors(list: &[u8]) -> Vec<(u64, u32)> {
    let whole = usize::try_from(number(&list[2..4])).unwrap() / 16;
    let descriptors = (0..whole).map(|index| &list[8 + index * 16..][..16]);
    let parts = descriptors.map(|one| (number(&one[..8]), u32::try_from(number(&one[8..12])).unwrap()));
    parts.filter(|&(_, blocks)| blocks > 0).collect()
}
