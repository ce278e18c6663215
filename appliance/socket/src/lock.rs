//! Lock files: decide which process may listen at a path, or make sockets in a folder.
//!
//! In a folder where every user may make files, such as /var/tmp, the kernel refuses O_CREAT for a file
//! of another user, even for root (`fs.protected_regular`). So a file that exists is opened without
//! O_CREAT. A symbolic link, which a stranger may have made, is not followed.

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, lstat, open};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Maximum number of attempts to lock a file that other processes remove and make again.
const ATTEMPTS_MAX: u32 = 100;

/// Error of locking a file.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds the lock.
    Held,
    /// The file at the path cannot be a lock file; with the reason.
    Unfit(String),
    /// The file cannot be made or locked.
    System(Errno),
}

/// A locked file. Dropping it removes the file, then unlocks it.
pub struct LockFile {
    path: PathBuf,
    _file: OwnedFd,
}

impl LockFile {
    /// Opens the file, or makes it if it does not exist, and locks it.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(path: &Path) -> Result<Self, LockError> {
        for _ in 0..ATTEMPTS_MAX {
            let file = open_or_make(path).map_err(|errno| explain(path, errno))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Err(LockError::Held),
                locked => locked.map_err(LockError::System)?,
            }
            // The previous holder may have removed the file before it unlocked it.
            if is_at(path, &file) {
                return Ok(Self { path: path.into(), _file: file });
            }
        }
        Err(LockError::Held)
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open_or_make(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => match open(path, flags | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR)
        {
            // Another process has just made it.
            Err(Errno::EXIST) => open(path, flags, Mode::empty()),
            made => made,
        },
        opened => opened,
    }
}

fn is_at(path: &Path, file: &OwnedFd) -> bool {
    let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
    lstat(path).map(identity) == fstat(file).map(identity)
}

/// Reason why a file cannot be opened.
fn explain(path: &Path, errno: Errno) -> LockError {
    let Ok(stat) = lstat(path) else { return LockError::System(errno) };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_uid != rustix::process::geteuid().as_raw() => {
            LockError::Unfit(format!("belongs to user {} ({errno})", stat.st_uid))
        }
        FileType::RegularFile => LockError::Unfit(format!("cannot be opened ({errno})")),
        FileType::Symlink => LockError::Unfit("is a symbolic link".into()),
        _ => LockError::Unfit("is not a file".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.lock");
        (folder, path)
    }

    fn refusal(path: &Path) -> String {
        match LockFile::take(path).map(|_| ()) {
            Err(LockError::Unfit(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lock_is_held_by_one_and_gone_afterwards() {
        let (_folder, path) = folder();
        let lock = LockFile::take(&path).map_err(drop).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(LockFile::take(&path), Err(LockError::Held)));
        drop(lock);
        assert!(!path.exists());
        assert!(LockFile::take(&path).is_ok());
    }

    #[test]
    fn a_lock_left_behind_in_a_folder_for_everybody_is_taken_over() {
        let (folder, path) = folder();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o1777)).unwrap();
        File::create(&path).unwrap();
        // Owners as if another user had made both.
        std::os::unix::fs::chown(&path, Some(54321), Some(54321)).unwrap();
        std::os::unix::fs::chown(folder.path(), Some(12345), None).unwrap();
        assert!(LockFile::take(&path).is_ok());
        assert!(!path.exists());
    }

    #[test]
    fn a_planted_link_is_not_followed_wherever_it_leads() {
        let (folder, path) = folder();
        let (file, nowhere) = (folder.path().join("precious"), folder.path().join("none"));
        std::fs::write(&file, "precious").unwrap();
        for target in [&file, &nowhere] {
            symlink(target, &path).unwrap();
            assert_eq!(refusal(&path), "is a symbolic link");
            assert!(path.is_symlink());
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        assert!(!nowhere.exists());
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let (_folder, path) = folder();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(refusal(&path), "is not a file");
    }

    #[test]
    fn a_lock_whose_file_was_replaced_is_taken_again() {
        let (_folder, path) = folder();
        let old = open_or_make(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _new = open_or_make(&path).unwrap();
        assert!(!is_at(&path, &old));
        assert!(LockFile::take(&path).is_ok());
    }
}
