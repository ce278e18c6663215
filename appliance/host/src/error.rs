//! Errors of setting up a host; each message names the thing and the remedy.

use crate::pool::Pool;
use luge_vfio::{BindError, PciAddress};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Failure of a change. The host is as before.
#[derive(Debug, Error)]
pub enum HostError {
    /// An SSD could not change its driver.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The SSD is not bound to vfio-pci.
    #[error("{address} is not bound to vfio-pci but to {driver}: there is nothing to release")]
    NotBound {
        /// The SSD.
        address: PciAddress,
        /// Name of its driver, or `no driver`.
        driver: String,
    },
    /// There are no pages of that size, or there is no such node.
    #[error("this host has no {0}: `luge host` lists those that there are")]
    NoPool(Pool),
    /// The kernel found fewer free pages than wanted.
    #[error(
        "the kernel made only {got} of {wanted} {pool}: memory is in use or in pieces; stop programs, reserve fewer, \
         or reserve them on the kernel's command line and reboot"
    )]
    TooFewPages {
        /// The pages.
        pool: Pool,
        /// Wanted number.
        wanted: u64,
        /// Number that the kernel made.
        got: u64,
    },
    /// Pages in use cannot be given back.
    #[error("{used} {pool} are in use: end the programs that use them, or keep {used} at least")]
    PagesInUse {
        /// The pages.
        pool: Pool,
        /// Number in use.
        used: u64,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}{}", remedy(source))]
    File {
        /// The file.
        path: PathBuf,
        /// Reason of the kernel.
        source: io::Error,
    },
    /// The journal is not one that this program has written.
    #[error("{path} is no journal of `luge host`: {reason}; correct or remove it")]
    Journal {
        /// The journal.
        path: PathBuf,
        /// Reason.
        reason: String,
    },
    /// Another process is changing the host.
    #[error("another `luge host` is changing this host: try again when it is done")]
    Busy,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ": run it as root",
        _ => "",
    }
}
