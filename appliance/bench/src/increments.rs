//! Increments of a number by compare-and-write, as of several clients that share a block.
//!
//! The number fills the first block of a disk. Each client reads it, and writes its successor if it is still there, and
//! the successor of that, and so on: several at the same time. So the number is in the end the sum of all clients'
//! increments, unless one was lost.

use crate::disks::Disks;
use crate::error::BenchError;
use crate::nvme::NvmeDisk;
use crate::options::{Options, Protocol};
use crate::queue::{BATCH, Disk, Done, Transfer};
use crate::swap::{BLOCK_BYTES, SWAPS, Swap};
use crate::vhost::{Scsi, VhostDisk};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Time limit of one request.
const LIMIT: Duration = Duration::from_secs(10);

/// Increments of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Increments {
    /// Increments made.
    pub made: u64,
    /// Attempts that came too late, because another client had changed the number.
    pub late: u64,
    /// The number after the last one.
    pub number: u64,
}

/// Makes `times` increments on the only disk of `options`, a LUN or an NVMe controller.
///
/// # Errors
/// [`BenchError`]; also where a number is torn.
pub fn increment(options: &Options, times: u64) -> Result<Increments, BenchError> {
    let never = AtomicBool::new(false);
    let path = options.disks.iter();
    match options.protocol()? {
        Protocol::VhostUserScsi => {
            let options = &sized::<<VhostDisk<'_, Scsi> as Disk>::Queue>(options);
            count(Disks::connect(path.map(|path| VhostDisk::<Scsi>::connect(options, path, &never)))?, times)
        }
        Protocol::Nvme => {
            let options = &sized::<<NvmeDisk as Disk>::Queue>(options);
            count(Disks::connect(path.map(|path| NvmeDisk::connect(options, path)))?, times)
        }
        Protocol::VhostUserBlk => Err(BenchError::Options(
            "virtio disks have no compare-and-write: name a LUN or a controller".into(),
        )),
    }
}

/// Options with the slots that a protocol needs.
fn sized<Q: Swap>(options: &Options) -> Options {
    Options { bs: Q::BLOCKS * BLOCK_BYTES, iodepth: Q::READER + 1, queues: 1, ..options.clone() }
}

fn count<D: Disk<Queue: Swap>>(mut disks: Disks<D>, times: u64) -> Result<Increments, BenchError> {
    let wrong = |reason| BenchError::Server { path: "the disk".into(), reason };
    let mut client = Client { queue: &mut disks.queues[0] };
    let mut all = Increments { made: 0, late: 0, number: client.read().map_err(wrong)? };
    while all.made < times {
        let swaps = u64::from(SWAPS).min(times - all.made);
        let made = client.replace(all.number, swaps).map_err(wrong)?;
        all.made += made;
        all.late += swaps - made;
        all.number = if made == swaps { all.number + made } else { client.read().map_err(wrong)? };
    }
    Ok(all)
}

/// One client of the block.
struct Client<'a, Q> {
    queue: &'a mut Q,
}

impl<Q: Swap> Client<'_, Q> {
    /// The number; an error if the block has several.
    fn read(&mut self) -> Result<u64, String> {
        self.queue.submit(Q::READER, Transfer { writes: false, sector: 0 }, 0);
        self.queue.publish();
        let mut done = [Done::default(); BATCH];
        self.wait(1, &mut done)?;
        if done[0].status != 0 {
            return Err(format!("a read has failed with status {}", Q::status(done[0].status)));
        }
        let mut block = [0; BLOCK_BYTES as usize];
        self.queue.data(Q::READER).split_at(BLOCK_BYTES).0.read(&mut block);
        let mut numbers = block.chunks_exact(8).map(|bytes| bytes.try_into().map_or(0, u64::from_le_bytes));
        let first = numbers.next().unwrap_or(0);
        if numbers.all(|number| number == first) { Ok(first) } else { Err(format!("{first} is torn")) }
    }

    /// Replaces a number and those after it by their successors, `count` of them; returns how many were there.
    fn replace(&mut self, number: u64, count: u64) -> Result<u64, String> {
        let swaps = || (0_u16..).zip(number..number + count);
        for (swap, number) in swaps() {
            for (span, number) in self.queue.operands(swap).into_iter().zip([number, number + 1]) {
                span.write(&number.to_le_bytes().repeat(BLOCK_BYTES as usize / 8));
            }
            self.queue.submit_swap(swap);
        }
        self.queue.publish();
        let mut done = [Done::default(); BATCH];
        let answered = self.wait(self.queue.in_flight(), &mut done)?;
        let made = swaps().map(|(swap, _)| self.queue.was_swapped(swap, &done[..answered]).map(u64::from));
        made.sum()
    }

    /// Waits for so many answers; returns their number.
    fn wait(&mut self, wanted: usize, done: &mut [Done; BATCH]) -> Result<usize, String> {
        let (start, mut count) = (Instant::now(), 0);
        while count < wanted {
            let mut next = [Done::default(); BATCH];
            let more = self.queue.reap(&mut next)?;
            done[count..count + more].copy_from_slice(&next[..more]);
            count += more;
            if more == 0 {
                // The server may need this CPU.
                std::thread::yield_now();
            }
            if start.elapsed() > LIMIT {
                return Err("it does not answer".to_owned());
            }
        }
        Ok(count)
    }
}
