//! The tools a build needs from this machine, and the Debian packages they are in.
//!
//! A tool is looked for by what is used of it, a program or a header, so a
//! machine that has it in another way needs no package. What is missing is
//! installed when we are root, and named when we are not.

use crate::cache::Cache;
use crate::error::ImageError;
use crate::journal::Journal;
use crate::progress::Progress;
use std::path::Path;
use std::process::Command;

/// Something a build uses, and the package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    package: &'static str,
    sign: Sign,
}

/// How one sees that a need is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Program(&'static str),
    File(&'static str),
    /// A module of Python.
    Module(&'static str),
}

const fn program(package: &'static str, program: &'static str) -> Need {
    Need { package, sign: Sign::Program(program) }
}

const fn file(package: &'static str, file: &'static str) -> Need {
    Need { package, sign: Sign::File(file) }
}

/// Needed to fetch and unpack Debian packages.
pub(crate) const FETCHING: &[Need] = &[
    program("apt", "apt-get"),
    program("dpkg", "dpkg-deb"),
    program("xz-utils", "xz"),
    file("ca-certificates", "/etc/ssl/certs"),
    file("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
];

/// Needed to build the kernel.
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

/// Needed to put the image together.
pub(crate) const IMAGE: &[Need] = &[
    program("zstd", "zstd"),
    program("xz-utils", "xz"),
    program("dosfstools", "mkfs.fat"),
    program("mtools", "mcopy"),
    program("gdisk", "sgdisk"),
];

/// Needed by tests: a client written in Python is installed in an environment of its own, and
/// instructions are counted by callgrind.
pub(crate) const TESTS: &[Need] = &[
    program("python3", "python3"),
    Need { package: "python3-venv", sign: Sign::Module("ensurepip") },
    program("valgrind", "valgrind"),
];

/// Makes sure that the needs of `step` are met; installs packages when root.
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

/// Folders of programs that an ordinary user's PATH lacks.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// In front of a program: it gets SIGTERM when the thread that started it is gone.
pub(crate) const WATCHED: [&str; 2] = ["setpriv", "--pdeathsig=TERM"];

/// A program of this machine, found also where only root's PATH looks. It ends when we do: a
/// build that is killed leaves no compiler behind that writes where the next one builds.
pub(crate) fn tool(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let wider = std::env::join_paths(std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(Into::into)));
    let mut command = Command::new(WATCHED[0]);
    command.args(&WATCHED[1..]).arg(name);
    command.env("PATH", wider.unwrap_or(path)).env("LC_ALL", "C");
    command
}

fn install(packages: &[&str], cache: &Cache, progress: &Progress) -> Result<(), ImageError> {
    let step = progress.step(&format!("installing Debian packages: {}", packages.join(" ")));
    let journal = Journal::begin(cache.log("packages"), &step)?;
    let apt_get = || {
        let mut command = tool("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=600"]);
        command
    };
    if let Err(error) = journal.run(apt_get().arg("update")) {
        // One vendor's archive that is down must not stop what Debian's has.
        progress.say(&format!("going on although {error}"));
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
    fn a_tool_gets_a_signal_when_who_started_it_is_gone() {
        let script = "trap 'echo told > ended; exit' TERM; echo ready > began; while :; do read -t 0.05 x <> fifo; done";
        let folder = tempfile::tempdir().unwrap();
        assert!(Command::new("mkfifo").arg(folder.path().join("fifo")).status().unwrap().success());
        let begun = folder.path().join("began");
        let here = folder.path().to_owned();
        std::thread::spawn(move || {
            let mut child = tool("bash").args(["-c", script]).current_dir(&here).spawn().unwrap();
            wait_for(&begun);
            // Reaped by another thread: this one ends while the child lives.
            std::thread::spawn(move || child.wait());
        })
        .join()
        .unwrap();
        wait_for(&folder.path().join("ended"));
    }

    fn wait_for(path: &Path) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !path.exists() {
            assert!(std::time::Instant::now() < deadline, "{} did not appear", path.display());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn the_message_about_missing_packages_says_how_to_install_them() {
        let error =
            ImageError::MissingPackages { step: "the kernel".to_owned(), packages: "bison flex".to_owned() };
        assert!(error.to_string().contains("apt-get install -y bison flex"), "{error}");
    }
}
