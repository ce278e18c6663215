//! Random commands to a disk, whose content is that of a model after each of them.

use crate::decoding::cdb;
use crate::disk::{BLOCK, Disk};
use crate::plain::{Verdict, Work, judge};
use luge_block::{Operation, Stepped};
use luge_scsi::{CATALOG, Ending};
use luge_seeded::{Random, fuzz};
use luge_spec::scsi::{ScsiStatus, SenseKey};
use std::ops::Range;

const BLOCKS: usize = 300;

/// Effect that a command is to have.
struct Effect {
    /// Whether it is to find no difference.
    equal: bool,
    /// Content of its blocks afterwards, where it succeeds and changes them.
    after: Option<Vec<u8>>,
}

/// Effect of an operation on blocks with this content, with this data.
fn effect(operation: Operation, content: &[u8], data: &[u8]) -> Effect {
    let unchanged = |equal| Effect { equal, after: None };
    let written = |after: Vec<u8>| Effect { equal: true, after: Some(after) };
    let blocks = content.len() / BLOCK;
    match operation {
        Operation::Read | Operation::Verify => unchanged(true),
        Operation::Write(_) => written(data[..content.len()].to_vec()),
        Operation::Compare => unchanged(data[..content.len()] == *content),
        Operation::CompareAndWrite(_) => {
            let (compared, new) = data[..2 * content.len()].split_at(content.len());
            if compared == content { written(new.to_vec()) } else { unchanged(false) }
        }
        Operation::Stepped(stepped) => match stepped {
            Stepped::CompareSame => unchanged(content.chunks(BLOCK).all(|one| one == &data[..BLOCK])),
            Stepped::WriteSame(_) if data.is_empty() => written(vec![0; content.len()]),
            Stepped::WriteSame(_) => written(data[..BLOCK].repeat(blocks)),
            Stepped::WriteAndVerify | Stepped::WriteAndCompare => written(data[..content.len()].to_vec()),
        },
        other => panic!("no command is a {other}"),
    }
}

struct Run<'a> {
    random: &'a mut Random,
    disk: Disk,
    content: Vec<u8>,
}

impl Run<'_> {
    fn step(&mut self) {
        let cdb = self.cdb();
        match judge(&cdb, &self.disk.view) {
            Verdict::Faults(faults) => {
                let sense = self.disk.send(&cdb, &[]).ending.sense.unwrap();
                assert!(faults.contains(&sense.code.0), "{cdb:02x?}: {sense:?}, not {faults:04x?}");
            }
            Verdict::Work(Work::Blocks { operation, lba, blocks, data_bytes }) => {
                let first = usize::try_from(lba).unwrap() * BLOCK;
                let place = first..first + blocks as usize * BLOCK;
                self.blocks(&cdb, operation, place, usize::try_from(data_bytes).unwrap());
            }
            Verdict::Work(Work::Flush | Work::Nothing) => {
                assert_eq!(self.disk.send(&cdb, &[]).ending, Ending::GOOD);
            }
            Verdict::Work(Work::Unmap(_) | Work::DeviceServer) => {}
        }
    }

    /// A command with few blocks somewhere on the disk, mostly.
    fn cdb(&mut self) -> Vec<u8> {
        let mut cdb = cdb(self.random);
        if self.random.once_in(4) || cdb.len() < 16 {
            return cdb;
        }
        let entry = &CATALOG[self.random.below(CATALOG.len())];
        cdb = entry.usage.iter().map(|&used| used & self.random.below(u8::MAX)).collect();
        cdb[0] = entry.opcode().0;
        let (first, count) = (self.random.below(300_u32), self.random.below(80_u8));
        let [.., high, low] = first.to_be_bytes();
        match cdb.len() {
            6 => cdb[1..5].copy_from_slice(&[0, high, low, count]),
            10 => {
                cdb[2..6].copy_from_slice(&first.to_be_bytes());
                cdb[7..9].copy_from_slice(&[0, count]);
            }
            12 => {
                cdb[2..6].copy_from_slice(&first.to_be_bytes());
                cdb[6..10].copy_from_slice(&[0, 0, 0, count]);
            }
            _ => {
                cdb[2..10].copy_from_slice(&u64::from(first).to_be_bytes());
                cdb[10..14].copy_from_slice(&[0, 0, 0, count]);
            }
        }
        cdb
    }

    /// Sends a block command with data that is equal to the content, or not, and checks its end and its effect.
    fn blocks(&mut self, cdb: &[u8], operation: Operation, place: Range<usize>, data_bytes: usize) {
        let here = self.content[place.clone()].to_vec();
        let mut data = self.random.bytes(data_bytes);
        if self.random.once_in(2) && !operation.is_read() {
            let length = here.len().min(data_bytes);
            data[..length].copy_from_slice(&here[..length]);
        }
        if !operation.is_read() && data_bytes > 0 {
            assert!(self.disk.try_send(cdb, &data[..data_bytes - 1]).is_none(), "data is missing");
        }
        let expected = effect(operation, &here, &data);
        let answer = self.disk.send(cdb, &data);
        let (ending, context) = (answer.ending, format!("{cdb:02x?}"));
        if expected.equal {
            assert_eq!(ending, Ending::GOOD, "{context}");
        } else {
            assert_eq!(ending.status, ScsiStatus::CHECK_CONDITION, "{context}");
            let sense = ending.sense.unwrap();
            assert_eq!(sense.key, SenseKey::MISCOMPARE, "{context}");
            let at = usize::try_from(sense.information.unwrap()).unwrap();
            let same = operation == Operation::Stepped(Stepped::CompareSame);
            let first = if same { 0 } else { here.iter().zip(&data).take_while(|(a, b)| a == b).count() };
            assert!(same || at == first, "{context}: {at} instead of {first}");
            assert!(
                here.chunks(data.len().min(here.len())).any(|blocks| blocks[at] != data[at]),
                "{context}"
            );
        }
        if let Some(after) = expected.after {
            self.content[place].copy_from_slice(&after);
        } else if operation.is_read() {
            assert!(answer.data_in == here, "{context}");
        }
    }
}

#[test]
fn the_content_of_a_disk_is_what_its_commands_say() {
    fuzz(|random| {
        let disk = Disk::new(BLOCKS as u64);
        let mut run = Run { random, disk, content: vec![0; BLOCKS * BLOCK] };
        for _ in 0..60 {
            run.step();
        }
        assert!(run.disk.content() == run.content);
    });
}
