//! A virtio driver's side of a split ring.

#![expect(unsafe_code, reason = "rings are mapped shared memory")]

use crate::layout::Rings;
use crate::{Head, Notifications, RingLayout};
use luge_memory::{GuestAddress, GuestMemory};
use luge_spec::virtio::split::{
    AVAILABLE_NO_INTERRUPT, Descriptor, DescriptorFlags, USED_NO_NOTIFY, passed_event,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;
use zerocopy::IntoBytes;

/// A buffer, as a descriptor names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Guest address.
    pub at: GuestAddress,
    /// Length in bytes.
    pub len: u32,
    /// Whether the device writes it.
    pub writable: bool,
}

impl Piece {
    /// A buffer the device reads.
    #[must_use]
    pub fn readable(at: u64, len: u32) -> Self {
        Self { at: GuestAddress(at), len, writable: false }
    }

    /// A buffer the device writes.
    #[must_use]
    pub fn writable(at: u64, len: u32) -> Self {
        Self { at: GuestAddress(at), len, writable: true }
    }
}

/// Layout of a chain's descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In the ring's own table.
    Direct,
    /// One descriptor, and a table at this address.
    Indirect(GuestAddress),
    /// As many pieces as the number says in the ring's table, the others in a table at this address.
    Mixed(usize, GuestAddress),
}

/// A driver and its ring.
pub struct Driver {
    rings: Rings,
    layout: RingLayout,
    notifications: Notifications,
    memory: Arc<GuestMemory>,
    free: Vec<u16>,
    /// Descriptors of each chain that the device has, by its head.
    lent: HashMap<u16, Vec<u16>>,
    available: u16,
    /// Available index at the last decision whether to kick.
    kicked: u16,
    used: u16,
}

impl Driver {
    /// A driver of an empty ring whose indices start at `base`.
    ///
    /// # Panics
    /// If the ring is not in the memory.
    #[must_use]
    pub fn new(
        layout: RingLayout,
        notifications: Notifications,
        base: u16,
        memory: &Arc<GuestMemory>,
    ) -> Self {
        // SAFETY: the driver keeps the memory.
        let rings = unsafe { Rings::map(&layout, memory) }.expect("the ring is in the memory");
        let driver = Self {
            rings,
            layout,
            notifications,
            memory: memory.clone(),
            free: (0..layout.size.get()).rev().collect(),
            lent: HashMap::new(),
            available: base,
            kicked: base,
            used: base,
        };
        driver.rings.available.store(1, base, Relaxed);
        driver.rings.used.store(1, base, Relaxed);
        driver.want_interrupt_after(0);
        driver
    }

    /// Makes a chain available; none if there are not enough descriptors.
    pub fn add(&mut self, pieces: &[Piece], form: Form) -> Option<Head> {
        let (direct, table) = match form {
            Form::Direct => (pieces.len(), None),
            Form::Indirect(at) => (0, Some(at)),
            Form::Mixed(direct, at) => (direct.min(pieces.len()), Some(at)),
        };
        let (direct, indirect) = pieces.split_at(direct);
        let mut wire: Vec<Descriptor> = direct.iter().map(|piece| descriptor(*piece, 0)).collect();
        if let Some(at) = table.filter(|_| !indirect.is_empty()) {
            wire.push(self.write_table(at, indirect));
        }
        let indices: Vec<u16> = (0..wire.len()).map_while(|_| self.free.pop()).collect();
        if indices.len() < wire.len() || wire.is_empty() {
            self.free.extend(indices.iter().rev());
            return None;
        }
        link(&mut wire, &indices);
        indices.iter().zip(&wire).for_each(|(&index, wire)| self.write_descriptor(index, *wire));
        let head = indices[0];
        self.lent.insert(head, indices);
        self.push_head(head);
        Some(Head(head))
    }

    /// Writes an indirect table, and returns the descriptor that refers to it.
    pub fn write_table(&self, at: GuestAddress, pieces: &[Piece]) -> Descriptor {
        let mut wire: Vec<Descriptor> = pieces.iter().map(|piece| descriptor(*piece, 0)).collect();
        let indices: Vec<u16> = (0..).take(wire.len()).collect();
        link(&mut wire, &indices);
        wire.iter().zip(0..).for_each(|(wire, index)| self.write_at(GuestAddress(at.0 + index * 16), *wire));
        let len = u32::try_from(wire.len() * 16).expect("a table of less than 4 GiB");
        descriptor(Piece { at, len, writable: false }, DescriptorFlags::INDIRECT)
    }

    fn write_at(&self, at: GuestAddress, wire: Descriptor) {
        let bytes = wire.as_bytes();
        let mut done = 0;
        while done < bytes.len() {
            let left = u32::try_from(bytes.len() - done).unwrap_or(0);
            // SAFETY: used at once, while the memory is kept.
            let span = unsafe { self.memory.span(GuestAddress(at.0 + done as u64), left) };
            done += span.expect("tables are in the memory").write(&bytes[done..]);
        }
    }

    /// Writes any descriptor anywhere in the ring's table.
    pub fn write_descriptor(&self, index: u16, wire: Descriptor) {
        let rest = u64::from(wire.len.get())
            | u64::from(wire.flags.0.get()) << 32
            | u64::from(wire.next.get()) << 48;
        self.rings.descriptors.store(index.into(), [wire.address.get(), rest], Relaxed);
    }

    /// Makes the chain at `head` available, also if no chain is there.
    pub fn push_head(&mut self, head: u16) {
        self.rings.heads.store(self.available.into(), head, Relaxed);
        self.available = self.available.wrapping_add(1);
        self.rings.available.store(1, self.available, Release);
    }

    /// Stores any available index.
    pub fn set_available_index(&mut self, index: u16) {
        self.available = index;
        self.rings.available.store(1, index, Release);
    }

    /// Takes the next used element: the chain, and the number of bytes written to it.
    pub fn take_used(&mut self) -> Option<(Head, u32)> {
        if self.rings.used.load(1, Acquire) == self.used {
            return None;
        }
        let [head, written] = self.rings.elements.load(self.used.into(), Relaxed);
        let head = u16::try_from(head).expect("a head fits 16 bits");
        self.used = self.used.wrapping_add(1);
        if let Some(indices) = self.lent.remove(&head) {
            self.free.extend(indices.iter().rev());
        }
        Some((Head(head), written))
    }

    /// Used index up to which chains were taken back.
    #[must_use]
    pub fn used_index(&self) -> u16 {
        self.used
    }

    /// Publishes a chain as used, in the device's place.
    pub fn use_as_device(&self, head: Head, written: u32) {
        let index = self.rings.used.load(1, Relaxed);
        self.rings.elements.store(index.into(), [head.0.into(), written], Relaxed);
        self.rings.set_used_index(index.wrapping_add(1));
    }

    /// Whether the device asks for a kick for the chains that were added since the last call.
    pub fn must_kick(&mut self) -> bool {
        fence(SeqCst);
        let old = std::mem::replace(&mut self.kicked, self.available);
        match self.notifications {
            Notifications::Flags => self.rings.used.load(0, Relaxed) & USED_NO_NOTIFY == 0,
            Notifications::EventIndex => {
                let avail_event = u32::from(self.layout.size.get()) * 4 + 2;
                passed_event(self.rings.used.load(avail_event, Relaxed), old, self.available)
            }
        }
    }

    /// Asks for an interrupt once `more` elements beyond the next one are used.
    pub fn want_interrupt_after(&self, more: u16) {
        match self.notifications {
            Notifications::Flags => self.rings.available.store(0, 0, Relaxed),
            Notifications::EventIndex => {
                let used_event = u32::from(self.layout.size.get()) + 2;
                self.rings.available.store(used_event, self.used.wrapping_add(more), Relaxed);
            }
        }
        fence(SeqCst);
    }

    /// Asks for no interrupt; with an event index, for none as long as possible.
    pub fn want_no_interrupt(&self) {
        match self.notifications {
            Notifications::Flags => self.rings.available.store(0, AVAILABLE_NO_INTERRUPT, Relaxed),
            Notifications::EventIndex => self.want_interrupt_after(u16::MAX),
        }
    }

    /// Number of chains that the device has.
    #[must_use]
    pub fn lent(&self) -> usize {
        self.lent.len()
    }
}

fn descriptor(piece: Piece, more: u16) -> Descriptor {
    let write = if piece.writable { DescriptorFlags::WRITE } else { 0 };
    Descriptor {
        address: piece.at.0.into(),
        len: piece.len.into(),
        flags: DescriptorFlags((write | more).into()),
        next: 0.into(),
    }
}

/// Chains descriptors that will be at `indices`.
fn link(wire: &mut [Descriptor], indices: &[u16]) {
    for (wire, next) in wire.iter_mut().zip(indices.iter().skip(1)) {
        wire.flags = DescriptorFlags((wire.flags.0.get() | DescriptorFlags::NEXT).into());
        wire.next = (*next).into();
    }
}
