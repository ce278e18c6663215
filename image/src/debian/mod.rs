//! The Debian package of the daemon: `luge serve` as a service of systemd.
//!
//! The program is the image's, linked statically, so that one package serves Debian 12 and 13. Its manual pages and
//! completions come from the program itself. The fixed files are in `image/debian`.
//!
//! Invariants
//! - The same program, version and sources make the same package, byte by byte.
//!
//! Not here: the bootable image.

mod files;
mod sbom;

use crate::cache::Cache;
use crate::error::{Doing, ImageError};
use crate::journal::Journal;
use crate::progress::Progress;
use crate::tool::tool;
use files::{FILES, SCRIPTS, Tree, files_of};
use std::fs;
use std::path::PathBuf;

/// Time of all files, in seconds since 1970.
const FILE_TIME: &str = "315532800";
/// Configuration files, which an upgrade keeps if they were changed.
const CONFFILES: &str = "/etc/luge/luge.conf\n/etc/luge/luge.json\n";

/// A package to be built.
#[derive(Debug, Clone)]
pub struct DebianPackage {
    /// The program, linked statically.
    pub luge: PathBuf,
    /// Version of the package.
    pub version: String,
    /// Folder of the package file.
    pub folder: PathBuf,
}

impl DebianPackage {
    /// Builds the package; returns its path.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn build(&self, cache: &Cache, progress: &Progress) -> Result<PathBuf, ImageError> {
        let step = progress.step("building the Debian package");
        let name = format!("luge_{}_amd64.deb", self.version);
        fs::create_dir_all(&self.folder).doing(|| format!("making {}", self.folder.display()))?;
        let site = self.folder.join(format!("{name}.build"));
        let journal = Journal::create(cache.log(&name), &step)?;
        let built = self.assemble(&Tree::make(&site)?, &journal);
        fs::remove_dir_all(&site).doing(|| format!("removing {}", site.display()))?;
        built?;
        Ok(self.folder.join(name))
    }

    fn assemble(&self, tree: &Tree, journal: &Journal<'_>) -> Result<(), ImageError> {
        tree.copy(&self.luge, "usr/bin/luge")?;
        for file in FILES {
            tree.write(file.path, file.text)?;
        }
        self.generate(tree, journal)?;
        tree.write("usr/share/doc/luge/sbom.cdx.json", &sbom::of(&self.version, journal)?)?;
        tree.set_modes(&["usr/bin/luge"])?;
        self.write_control(tree)?;
        let mut deb = tool("dpkg-deb");
        deb.env("SOURCE_DATE_EPOCH", FILE_TIME).args(["--root-owner-group", "-Zzstd", "--build"]);
        journal.run(deb.arg(tree.root()).arg(&self.folder))
    }

    /// Adds manual pages, the changelog and completions.
    fn generate(&self, tree: &Tree, journal: &Journal<'_>) -> Result<(), ImageError> {
        let generated = tree.root().join("generated");
        journal.run(tool(&self.luge.to_string_lossy()).arg("generate").arg(&generated))?;
        for (from, to) in [
            ("completions/luge.bash", "usr/share/bash-completion/completions/luge"),
            ("completions/_luge", "usr/share/zsh/vendor-completions/_luge"),
            ("completions/luge.fish", "usr/share/fish/vendor_completions.d/luge.fish"),
        ] {
            tree.copy(&generated.join(from), to)?;
        }
        for page in files_of(&generated.join("man1"))? {
            let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
            tree.copy(&page, &format!("usr/share/man/man1/{name}"))?;
        }
        let pages = files_of(&tree.root().join("usr/share/man/man1"))?;
        let changelog = tree.root().join("usr/share/doc/luge/changelog");
        journal.run(tool("gzip").arg("-9n").args(pages).arg(changelog))?;
        fs::remove_dir_all(&generated).doing(|| format!("removing {}", generated.display()))
    }

    fn write_control(&self, tree: &Tree) -> Result<(), ImageError> {
        let size_kib = tree.size()?.div_ceil(1024).to_string();
        let control = include_str!("../../debian/control");
        let control = control.replace("@VERSION@", &self.version).replace("@SIZE@", &size_kib);
        tree.write("DEBIAN/control", &control)?;
        tree.write("DEBIAN/conffiles", CONFFILES)?;
        SCRIPTS.iter().try_for_each(|script| tree.write(script.path, script.text))?;
        tree.set_modes(&SCRIPTS.each_ref().map(|script| script.path))
    }
}
