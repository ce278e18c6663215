//! NVMe subsystems with their namespaces and listeners, and the transport of the listeners.
//!
//! Invariants
//! - A directory has one listener.
//! - What waits for an SSD (a namespace that goes) is done by the thread that asked; a subsystem is not deleted
//!   meanwhile.

use super::{Names, PrOwner, Table};
use luge_nvme_target::{ControllerConfig, NamespaceId, Nqn, Subsystem};
use luge_rpc::RpcError;
use luge_vfio_user::Endpoint;
use luge_vm::VmRunner;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of the transport: vfio-user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Queues and interrupt vectors of a controller where its listener does not say otherwise.
    pub controller: ControllerConfig,
}

/// The NVMe target.
pub struct Nvmf {
    /// The transport, if it was created.
    pub transport: Option<Transport>,
    /// Subsystems by NQN.
    pub subsystems: Table<NvmfSubsystem>,
    /// Directories that have a listener or get one, with the NQN of its subsystem.
    directories: BTreeMap<PathBuf, String>,
}

impl Default for Nvmf {
    fn default() -> Self {
        let subsystems = Table::new("subsystem", "nvmf_get_subsystems", Names::Qualified);
        Self { transport: None, subsystems, directories: BTreeMap::new() }
    }
}

impl Nvmf {
    /// Reserves a directory for a listener.
    ///
    /// # Errors
    /// -32602 with the subsystem that listens there.
    pub fn reserve(&mut self, directory: PathBuf, nqn: &str) -> Result<(), RpcError> {
        if let Some(other) = self.directories.get(&directory) {
            return Err(RpcError::invalid_params(format_args!(
                "parameter `listen_address`: a listener of subsystem {other} already exists in {}: remove it first \
                 (nvmf_subsystem_remove_listener), or choose another directory",
                directory.display()
            )));
        }
        self.directories.insert(directory, nqn.into());
        Ok(())
    }

    /// Subsystem of that name, which a call changes on a thread of its own until [`Self::end_change`].
    ///
    /// # Errors
    /// -32602 if there is none.
    pub fn begin_change(&mut self, nqn: &str) -> Result<&mut NvmfSubsystem, RpcError> {
        let subsystem = self.subsystems.get_mut(nqn).map_err(|_| unknown_subsystem(nqn))?;
        subsystem.changes += 1;
        Ok(subsystem)
    }

    /// Ends a change of a subsystem.
    pub fn end_change(&mut self, nqn: &str) {
        if let Ok(subsystem) = self.subsystems.get_mut(nqn) {
            subsystem.changes = subsystem.changes.saturating_sub(1);
        }
    }

    /// Subsystem of that name.
    ///
    /// # Errors
    /// -32602, as of SPDK, if there is none.
    pub fn find(&self, nqn: &str) -> Result<&NvmfSubsystem, RpcError> {
        self.subsystems.get(nqn).map_err(|_| unknown_subsystem(nqn))
    }

    /// Frees a directory.
    pub fn release(&mut self, directory: &Path) {
        self.directories.remove(directory);
    }

    /// Checks that no VM of Luge's own has one of these listeners as a disk.
    ///
    /// # Errors
    /// -16 with the VM.
    pub fn check_no_vm<'a>(
        vms: &VmRunner,
        mut directories: impl Iterator<Item = &'a String>,
    ) -> Result<(), RpcError> {
        let user = directories.find_map(|directory| Some((directory, vms.user_of(directory)?)));
        match user {
            Some((directory, vm)) => Err(RpcError::busy(format_args!(
                "the listener in {directory} is a disk of VM {vm}: vm_stop it first"
            ))),
            None => Ok(()),
        }
    }

    /// Listener in a directory, as that was given when it was added.
    ///
    /// # Errors
    /// -19 if there is none.
    pub fn listener_in(&self, directory: &str) -> Result<&Listener, RpcError> {
        let mut listeners =
            self.subsystems.iter().filter_map(|(_, subsystem)| subsystem.listeners.get(directory));
        listeners.next().ok_or_else(|| {
            RpcError::no_device(format_args!(
                "there is no listener of a subsystem in {directory}: nvmf_subsystem_add_listener adds it"
            ))
        })
    }

    /// Namespaces of a block device, each with the NQN of its subsystem and the subsystem.
    pub fn namespaces_of<'a>(
        &'a self,
        bdev: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Subsystem>, NamespaceId)> + 'a {
        self.subsystems.iter().flat_map(move |(nqn, subsystem)| {
            let namespaces = subsystem.namespaces.iter().filter(move |(_, name)| *name == bdev);
            namespaces.map(move |(id, _)| (nqn, &subsystem.target, NamespaceId(*id)))
        })
    }

    /// Directory that has a listener, with the NQN of its subsystem, if there is one.
    #[must_use]
    pub fn listening(&self) -> Option<(&PathBuf, &String)> {
        self.directories.first_key_value()
    }

    /// Frees all directories.
    pub fn clear(&mut self) {
        self.transport = None;
        self.directories.clear();
    }

    /// Whether no other thread is making, changing or deleting a subsystem.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.subsystems.is_settled() && self.subsystems.iter().all(|(_, subsystem)| subsystem.changes == 0)
    }
}

/// Error for a name that no subsystem has.
fn unknown_subsystem(nqn: &str) -> RpcError {
    let nqn: String = nqn.chars().take(Nqn::BYTES_MAX).collect();
    RpcError::invalid_params(format_args!(
        "parameter `nqn`: Unable to find subsystem with NQN {nqn}: nvmf_get_subsystems lists those there are"
    ))
}

/// A subsystem.
pub struct NvmfSubsystem {
    /// The subsystem itself.
    pub target: Arc<Subsystem>,
    /// Owner of the reservations of its namespaces; none where they are those of all users of a volume.
    pub pr_owner: Option<PrOwner>,
    /// Names of the block devices of its namespaces, by namespace identifier.
    pub namespaces: BTreeMap<u32, String>,
    /// Listeners, by directory as it was given.
    pub listeners: BTreeMap<String, Listener>,
    /// Number of calls that change it at present on threads of their own.
    pub changes: usize,
}

impl NvmfSubsystem {
    /// A subsystem without namespaces and listeners.
    #[must_use]
    pub fn new(target: Arc<Subsystem>, pr_owner: Option<PrOwner>) -> Self {
        Self { target, pr_owner, namespaces: BTreeMap::new(), listeners: BTreeMap::new(), changes: 0 }
    }

    /// Splits it into its listeners, which end first, and its namespaces.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Listener>, Vec<ServedNamespace>) {
        let Self { target, namespaces, listeners, pr_owner: _, changes: _ } = self;
        let namespace = |(id, bdev)| ServedNamespace { target: target.clone(), id: NamespaceId(id), bdev };
        (listeners.into_values().collect(), namespaces.into_iter().map(namespace).collect())
    }
}

/// A namespace that is to end.
pub struct ServedNamespace {
    target: Arc<Subsystem>,
    id: NamespaceId,
    /// Name of its block device.
    pub bdev: String,
}

impl ServedNamespace {
    /// Removes the namespace. Waits until nothing is in flight on it: as long as the slowest SSD takes.
    pub fn end(self) {
        // It fails if the namespace is gone already.
        let _ = self.target.remove_namespace(self.id);
    }
}

/// A listener.
pub struct Listener {
    /// Socket. Stops when dropped.
    pub endpoint: Endpoint,
    /// Directory of the socket, without links.
    pub directory: PathBuf,
    /// Service identifier, as it was given.
    pub trsvcid: String,
    /// Directories that were made for it.
    pub made: MadeDirectories,
}

impl Listener {
    /// Cuts its clients off, and removes the socket and the directories that were made for it.
    pub fn end(self) {
        let Self { endpoint, made, .. } = self;
        endpoint.stop();
        drop(made);
    }
}

/// Directories that Luge has made for a socket, each after the one that it is in. Removed when dropped, as far as
/// nothing is in them.
#[derive(Default)]
pub struct MadeDirectories(Vec<PathBuf>);

impl MadeDirectories {
    /// Makes a directory, and those above it, as far as they are not there.
    ///
    /// # Errors
    /// The kernel's; nothing is left then.
    pub fn make(directory: &Path) -> io::Result<Self> {
        let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
        let mut made = Self::default();
        for path in missing.into_iter().rev() {
            match std::fs::create_dir(path) {
                Ok(()) => made.0.push(path.into()),
                // Another listener's thread was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        if directory.is_dir() { Ok(made) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }
}

impl Drop for MadeDirectories {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // It fails where somebody else uses the directory by now.
            let _ = std::fs::remove_dir(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_were_made_go_unless_somebody_uses_them() {
        let place = tempfile::tempdir().unwrap();
        let (deep, beside) = (place.path().join("a/b/c"), place.path().join("a/mine"));
        drop(MadeDirectories::make(&deep).unwrap());
        assert!(!place.path().join("a").exists());
        let made = MadeDirectories::make(&deep).unwrap();
        std::fs::write(&beside, "").unwrap();
        drop(made);
        assert!(beside.exists());
        assert!(!place.path().join("a/b").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_made_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("file"), "").unwrap();
        for path in ["file", "file/x", &format!("new/{}", "x".repeat(300))] {
            assert!(MadeDirectories::make(&place.path().join(path)).is_err(), "{path}");
        }
        assert!(!place.path().join("new").exists());
        assert!(place.path().join("file").is_file());
    }
}
