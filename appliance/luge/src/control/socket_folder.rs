//! The folder of vhost-user sockets, and Luge's other files in it.

use luge_rpc::RpcError;
use luge_socket::Permissions;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A folder for vhost-user sockets. A socket has the name of its controller.
pub struct SocketFolder {
    path: PathBuf,
    /// Permissions of the sockets.
    pub permissions: Permissions,
    /// Entries that are no controller's, each with its meaning.
    reserved: Vec<(OsString, &'static str)>,
}

impl SocketFolder {
    /// The folder at `path`. The paths in `others` may be in it, or anywhere else.
    #[must_use]
    pub fn new(path: &Path, permissions: Permissions, others: &[(&Path, &'static str)]) -> Self {
        let path = real(path);
        let reserve = |(other, what): &(&Path, &'static str)| {
            let entry = real(other).strip_prefix(&path).ok()?.iter().next()?.to_owned();
            Some((entry, *what))
        };
        let reserved = others.iter().filter_map(reserve).collect();
        Self { path, permissions, reserved }
    }

    /// Path of a controller's socket.
    ///
    /// # Errors
    /// -17 if something else of Luge's has that name, whether it is there now or comes later.
    pub fn socket(&self, controller: &str) -> Result<PathBuf, RpcError> {
        let path = self.path.join(controller);
        match self.reserved.iter().find(|(entry, _)| entry == controller) {
            Some((_, what)) => Err(RpcError::exists(format_args!(
                "{} is in use by Luge itself, as {what}: take another name",
                path.display()
            ))),
            None => Ok(path),
        }
    }
}

/// Resolves the links and dots of a path, as far as it exists.
pub fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(real), _, _) => real,
        (Err(_), Some(parent), Some(name)) => real(parent).join(name),
        (Err(_), _, _) => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &Path, others: &[&Path]) -> SocketFolder {
        let others: Vec<_> = others.iter().map(|other| (*other, "something else")).collect();
        SocketFolder::new(path, Permissions::GROUP, &others)
    }

    #[test]
    fn entries_of_the_folder_are_reserved_before_they_are_there() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path();
        let folder = folder(path, &[&path.join("vm"), &path.join("r.sock.lock"), Path::new("/run/other")]);
        for name in ["vm", "r.sock.lock"] {
            let error = folder.socket(name).unwrap_err();
            assert_eq!(error.code.0, -17, "{name}");
            assert!(error.message.contains(name), "{error}");
            assert!(error.message.contains("something else"), "{error}");
        }
        for name in ["VM", "vm.sock", "vm2", "r.sock", "other", "run"] {
            assert!(folder.socket(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_entry_is_found_by_whatever_path_it_is_named() {
        let place = tempfile::tempdir().unwrap();
        let link = place.path().join("link");
        let path = place.path().join("sockets");
        std::fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for other in [link.join("a"), path.join("../sockets/a"), path.join("a/deep/in/it")] {
            assert!(folder(&path, &[&other]).socket("a").is_err(), "{other:?}");
            assert!(folder(&link, &[&other]).socket("a").is_err(), "{other:?}");
        }
    }
}
