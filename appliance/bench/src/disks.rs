//! The disks of a load, with all their queues in one list.

use crate::error::BenchError;
use crate::queue::{Connected, Disk, Notices, Queue};

/// Disks that are connected. The queues are dropped before their disks.
pub(crate) struct Disks<D: Disk> {
    /// Queues of all disks, those of a disk one behind the other.
    pub(crate) queues: Vec<D::Queue>,
    disks: Vec<D>,
}

impl<D: Disk> Disks<D> {
    /// # Errors
    /// That of the first disk that cannot be connected.
    pub(crate) fn connect(
        connect: impl Iterator<Item = Result<Connected<D>, BenchError>>,
    ) -> Result<Self, BenchError> {
        let mut all = Self { queues: Vec::new(), disks: Vec::new() };
        for connected in connect {
            let Connected { disk, queues } = connected?;
            all.disks.push(disk);
            all.queues.extend(queues);
        }
        Ok(all)
    }

    /// Sectors of the smallest disk: requests go to as many of each.
    pub(crate) fn sectors(&self) -> u64 {
        self.disks.iter().map(Disk::sectors).min().unwrap_or(0)
    }

    /// The process that serves the first disk.
    pub(crate) fn peer(&self) -> Option<i32> {
        self.disks.first().and_then(Disk::peer)
    }

    /// Times that servers have gone and come back.
    pub(crate) fn reconnects(&self) -> u64 {
        self.disks.iter().map(Disk::reconnects).sum()
    }

    /// Requests not yet answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.queues.iter().map(Queue::in_flight).sum()
    }

    /// Kicks and interrupts so far.
    pub(crate) fn notices(&mut self) -> Notices {
        let each = self.queues.iter_mut().map(Queue::notices);
        each.fold(Notices::default(), |all, one| Notices {
            kicks: all.kicks + one.kicks,
            interrupts: all.interrupts + one.interrupts,
        })
    }

    /// Checks each disk; returns whether a server was gone and has come back.
    ///
    /// # Errors
    /// A server is gone for good.
    pub(crate) fn check(&mut self) -> Result<bool, BenchError> {
        let each = self.queues.len() / self.disks.len().max(1);
        let mut was_gone = false;
        for (disk, queues) in self.disks.iter_mut().zip(self.queues.chunks(each.max(1))) {
            was_gone |= disk.check(queues)?;
        }
        Ok(was_gone)
    }
}
