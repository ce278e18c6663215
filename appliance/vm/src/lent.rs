//! Sockets of disks that are lent to a VM: while it runs, they belong to its user, who may connect then.

use crate::sandbox::User;
use crate::spec::VmDisk;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, chownat, fstat, open};
use rustix::io::Errno;
use rustix::process::{Uid, geteuid};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Sockets that are lent. Dropping it takes them back.
#[derive(Debug, Default)]
pub(crate) struct LentSockets {
    sockets: Vec<OwnedFd>,
}

impl LentSockets {
    /// Lends the sockets of disks to a user of a VM's own. A VM with our user needs nothing.
    pub(crate) fn lend(disks: &[VmDisk], user: User) -> Result<Self, String> {
        let mut lent = Self::default();
        if let User::Own(id) = user {
            for disk in disks {
                let path = &disk.socket;
                let failed = |error: io::Error| format!("its disk {}: {error}", path.display());
                lent.lend_one(path, Uid::from_raw(id)).map_err(|errno| failed(errno.into()))?;
            }
        }
        Ok(lent)
    }

    fn lend_one(&mut self, path: &Path, user: Uid) -> Result<(), Errno> {
        let socket = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&socket)?.st_mode) != FileType::Socket {
            return Err(Errno::NOTSOCK);
        }
        give(&socket, user)?;
        self.sockets.push(socket);
        Ok(())
    }
}

/// Gives a file to a user, with its group unchanged.
fn give(file: &OwnedFd, user: Uid) -> Result<(), Errno> {
    chownat(file, c"", Some(user), None, AtFlags::EMPTY_PATH)
}

impl Drop for LentSockets {
    fn drop(&mut self) {
        for socket in &self.sockets {
            // The only reason would be a file system that has become read-only.
            let _ = give(socket, geteuid());
        }
    }
}
