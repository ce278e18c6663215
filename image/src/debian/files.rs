//! Files of the Debian package: those with fixed content, and the folder in which a package is put together.

use crate::error::{Doing, ImageError};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A file with fixed content.
pub(super) struct FixedFile {
    /// Path, without a leading slash.
    pub(super) path: &'static str,
    /// Content.
    pub(super) text: &'static str,
}

/// Fixed files of the package.
pub(super) const FILES: [FixedFile; 7] = [
    FixedFile {
        path: "usr/lib/systemd/system/luge.service",
        text: include_str!("../../debian/luge.service"),
    },
    FixedFile {
        path: "usr/lib/systemd/system/luge-exporter.service",
        text: include_str!("../../debian/luge-exporter.service"),
    },
    FixedFile { path: "etc/luge/luge.conf", text: include_str!("../../debian/luge.conf") },
    FixedFile { path: "etc/luge/luge.json", text: include_str!("../../debian/luge.json") },
    FixedFile {
        path: "usr/share/doc/luge/copyright",
        text: concat!(include_str!("../../debian/copyright"), "\n", include_str!("../../../LICENSE")),
    },
    FixedFile { path: "usr/share/doc/luge/GUIDE.md", text: include_str!("../../../GUIDE.md") },
    FixedFile { path: "usr/share/doc/luge/changelog", text: include_str!("../../../CHANGELOG.md") },
];

/// Scripts that dpkg runs.
pub(super) const SCRIPTS: [FixedFile; 3] = [
    FixedFile { path: "DEBIAN/postinst", text: include_str!("../../debian/postinst") },
    FixedFile { path: "DEBIAN/prerm", text: include_str!("../../debian/prerm") },
    FixedFile { path: "DEBIAN/postrm", text: include_str!("../../debian/postrm") },
];

/// Folder with the content of a package.
pub(super) struct Tree(PathBuf);

impl Tree {
    /// An empty folder at `root`.
    pub(super) fn make(root: &Path) -> Result<Self, ImageError> {
        if root.exists() {
            fs::remove_dir_all(root).doing(|| format!("removing {}", root.display()))?;
        }
        fs::create_dir_all(root).doing(|| format!("making {}", root.display()))?;
        set_mode(root, 0o755)?;
        Ok(Self(root.to_owned()))
    }

    /// Path of the folder.
    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    /// Writes a file with mode 0644.
    pub(super) fn write(&self, path: &str, text: &str) -> Result<(), ImageError> {
        let to = self.place(path)?;
        fs::write(&to, text).doing(|| format!("writing {}", to.display()))?;
        set_mode(&to, 0o644)
    }

    /// Copies a file, with mode 0644.
    pub(super) fn copy(&self, from: &Path, path: &str) -> Result<(), ImageError> {
        let to = self.place(path)?;
        fs::copy(from, &to).doing(|| format!("copying {} to {}", from.display(), to.display()))?;
        set_mode(&to, 0o644)
    }

    /// Makes files executable.
    pub(super) fn set_modes(&self, executable: &[&str]) -> Result<(), ImageError> {
        executable.iter().try_for_each(|path| set_mode(&self.0.join(path), 0o755))
    }

    /// Sum of the files' sizes in bytes.
    pub(super) fn size(&self) -> Result<u64, ImageError> {
        size_of(&self.0)
    }

    fn place(&self, path: &str) -> Result<PathBuf, ImageError> {
        let to = self.0.join(path);
        let mut folders: Vec<&Path> = to.ancestors().skip(1).take_while(|folder| *folder != self.0).collect();
        folders.reverse();
        for folder in folders {
            fs::create_dir_all(folder).doing(|| format!("making {}", folder.display()))?;
            // Whatever the mask of the user who builds.
            set_mode(folder, 0o755)?;
        }
        Ok(to)
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), ImageError> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .doing(|| format!("setting the mode of {}", path.display()))
}

fn size_of(folder: &Path) -> Result<u64, ImageError> {
    files_of(folder)?.iter().try_fold(0, |sum, path| {
        let data = fs::symlink_metadata(path).doing(|| format!("reading {}", path.display()))?;
        Ok(sum + if data.is_dir() { size_of(path)? } else { data.len() })
    })
}

/// Files of a folder, by name.
pub(super) fn files_of(folder: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let entries = fs::read_dir(folder).doing(|| format!("reading {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}
