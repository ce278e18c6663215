//! BAR 0 of a function behind a socket.
//!
//! Path: NVMe queue pair -> **doorbell** -> controller; this file chooses between mapped doorbells and relayed ones.
//!
//! Invariant: registers of a server that is lost read as all ones.

use super::connection::Connection;
use super::relay::Relay;
use super::windows::Windows;
use crate::reply::Region;
use luge_memory::{SharedArray, Span};
use luge_spec::vfio_user::RegionIndex;
use rustix::fd::OwnedFd;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// BAR 0 of a function.
pub struct Bar {
    connection: Arc<Connection>,
    len: u64,
    windows: Windows,
    relay: Relay,
}

impl Bar {
    /// BAR of which `file` can be mapped.
    pub fn new(connection: Arc<Connection>, region: &Region, file: Option<OwnedFd>) -> Self {
        let windows = file.map(|file| Windows::map(region, &file)).transpose();
        let windows = windows.unwrap_or_else(|error| {
            let controller = connection.name();
            tracing::warn!(controller, "its doorbells are not mapped, which is slow: {error}");
            None
        });
        let (windows, relay) = (windows.unwrap_or_default(), Relay::new(connection.clone()));
        Self { len: region.len, connection, windows, relay }
    }

    /// Loads the register at `offset`; all ones if there is no such register, or the server is lost.
    pub fn read32(&self, offset: u32) -> u32 {
        self.check_windows();
        if !self.has(offset) || !self.connection.is_open() {
            return u32::MAX;
        }
        match self.mapped(offset) {
            // Acquire: later loads from memory are not older than the register.
            Some(word) => word.load(0, Ordering::Acquire),
            None => {
                let mut bytes = [0; 4];
                let read = self.connection.read(RegionIndex::BAR0, offset.into(), &mut bytes);
                read.map_or(u32::MAX, |()| u32::from_le_bytes(bytes))
            }
        }
    }

    /// Stores to the register at `offset`, if there is one, after all doorbells before.
    pub fn write32(&self, offset: u32, value: u32) {
        if !self.has(offset) {
            return;
        }
        self.relay.flush();
        match self.mapped(offset) {
            // Release: earlier stores to memory are visible when the register changes.
            Some(word) => word.store(0, value, Ordering::Release),
            // A server that is lost ignores stores; the next load shows that.
            None => drop(self.connection.write(RegionIndex::BAR0, offset.into(), &value.to_le_bytes())),
        }
    }

    /// Memory for `len` bytes of registers from `offset`: mapped, or relayed.
    ///
    /// # Errors
    /// `InvalidInput` outside of the BAR, else the kernel's.
    pub fn registers(&self, offset: u32, len: u32) -> io::Result<Span> {
        if u64::from(offset).saturating_add(len.into()) > self.len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match self.windows.registers(offset, len) {
            Some(span) => Ok(span),
            None => self.relay.registers(offset, len),
        }
    }

    /// Gives a server up that has taken memory of its doorbells away.
    fn check_windows(&self) {
        if !self.windows.is_intact() && self.connection.is_open() {
            self.connection.give_up("it took the memory of its doorbells away");
        }
    }

    fn mapped(&self, offset: u32) -> Option<SharedArray<u32>> {
        self.windows.registers(offset, 4).and_then(SharedArray::new)
    }

    fn has(&self, offset: u32) -> bool {
        offset.is_multiple_of(4) && u64::from(offset).saturating_add(4) <= self.len
    }
}
