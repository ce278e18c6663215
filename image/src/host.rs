//! Tools that a build needs from this machine, and the Debian packages that contain them.
//!
//! A tool is detected by the program or header that the build uses, so that a machine which has it
//! from elsewhere needs no package. Missing packages are installed when we are root; otherwise the
//! error names them.

use crate::cache::Cache;
use crate::error::ImageError;
use crate::journal::Journal;
use crate::progress::Progress;
use crate::tool::{SYSTEM_FOLDERS, tool};
use std::path::Path;

/// A tool and the package that contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    package: &'static str,
    sign: Sign,
}

/// Evidence that a tool is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Program(&'static str),
    File(&'static str),
    /// Module of Python.
    Module(&'static str),
}

const fn program(package: &'static str, program: &'static str) -> Need {
    Need { package, sign: Sign::Program(program) }
}

const fn file(package: &'static str, file: &'static str) -> Need {
    Need { package, sign: Sign::File(file) }
}

/// Tools that fetch and unpack Debian packages.
pub(crate) const FETCHING: &[Need] = &[
    program("apt", "apt-get"),
    program("dpkg", "dpkg-deb"),
    program("xz-utils", "xz"),
    file("ca-certificates", "/etc/ssl/certs"),
    file("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
];

/// Tools that build the kernel.
pub(crate) const KERNEL: &[Need] = &[
    program("gcc", "gcc"),
    file("libc6-dev", "/usr/include/stdio.h"),
    program("make", "make"),
    program("flex", "flex"),
    program("bison", "bison"),
    program("bc", "bc"),
    program("perl", "perl"),
    program("binutils", "ld"),
    file("libelf-dev", "/usr/include/gelf.h"),
    program("xz-utils", "xz"),
    program("zstd", "zstd"),
];

/// Tools that assemble the image.
pub(crate) const IMAGE: &[Need] = &[
    program("zstd", "zstd"),
    program("xz-utils", "xz"),
    program("dosfstools", "mkfs.fat"),
    program("mtools", "mcopy"),
    program("gdisk", "sgdisk"),
];

/// Tools of tests: Python with virtual environments for a client written in Python, valgrind, which
/// counts instructions, and those that check a file system after a power cut.
pub(crate) const TESTS: &[Need] = &[
    program("python3", "python3"),
    Need { package: "python3-venv", sign: Sign::Module("ensurepip") },
    program("valgrind", "valgrind"),
    program("e2fsprogs", "e2fsck"),
];

/// Browser of tests of web pages.
pub(crate) const BROWSER: &[Need] = &[program("chromium", "chromium")];

/// Checks that the needs of `step` are met; installs missing packages when root.
pub(crate) fn ensure(
    step: &str,
    needs: &[&[Need]],
    cache: &Cache,
    progress: &Progress,
) -> Result<(), ImageError> {
    let missing = || missing_packages(needs.iter().copied().flatten(), is_met);
    if missing().is_empty() {
        return Ok(());
    }
    let _lock = cache.lock("packages", progress)?;
    let packages = missing();
    if !packages.is_empty() && rustix::process::geteuid().is_root() {
        install(&packages, cache, progress)?;
    }
    match missing() {
        still if still.is_empty() => Ok(()),
        still => Err(ImageError::MissingPackages { step: step.to_owned(), packages: still.join(" ") }),
    }
}

fn missing_packages<'a>(
    needs: impl Iterator<Item = &'a Need>,
    is_met: impl Fn(Sign) -> bool,
) -> Vec<&'static str> {
    let mut packages: Vec<_> = needs.filter(|need| !is_met(need.sign)).map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn is_met(sign: Sign) -> bool {
    match sign {
        Sign::File(path) => Path::new(path).exists(),
        Sign::Module(name) => {
            let import = tool("python3").args(["-c", &format!("import {name}")]).output();
            import.is_ok_and(|import| import.status.success())
        }
        Sign::Program(name) => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path)
                .chain(SYSTEM_FOLDERS.map(Into::into))
                .any(|folder| folder.join(name).is_file())
        }
    }
}

fn install(packages: &[&str], cache: &Cache, progress: &Progress) -> Result<(), ImageError> {
    let step = progress.step(&format!("installing Debian packages: {}", packages.join(" ")));
    let journal = Journal::create(cache.log("packages"), &step)?;
    let apt_get = || {
        let mut command = tool("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=600"]);
        command
    };
    if let Err(error) = journal.run(apt_get().arg("update")) {
        // Another vendor's archive may be down while Debian's works.
        progress.say(&format!("continuing although {error}"));
    }
    journal.run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_whose_sign_is_missing_are_named_and_each_once() {
        let needs = [program("b", "one"), program("a", "two"), program("b", "three"), file("c", "/four")];
        let missing = missing_packages(needs.iter(), |sign| sign == Sign::File("/four"));
        assert_eq!(missing, ["a", "b"]);
    }

    #[test]
    fn a_program_that_every_machine_has_is_found_and_an_invented_one_is_not() {
        assert!(is_met(Sign::Program("sh")));
        assert!(!is_met(Sign::Program("no-such-program-anywhere")));
        assert!(is_met(Sign::File("/etc")));
        assert!(!is_met(Sign::File("/no/such/file")));
        assert!(is_met(Sign::Module("sys")));
        assert!(!is_met(Sign::Module("no_such_module_anywhere")));
    }

    #[test]
    fn the_message_about_missing_packages_says_how_to_install_them() {
        let error =
            ImageError::MissingPackages { step: "the kernel".to_owned(), packages: "bison flex".to_owned() };
        assert!(error.to_string().contains("apt-get install -y bison flex"), "{error}");
    }
}
