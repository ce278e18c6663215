//! Which QEMU there is, and what it can do. Asked of the program itself, with a time limit.

use crate::VmError;
use crate::arguments::{Executor, SANDBOX};
use crate::child::{Child, Finished};
use crate::spec::Accelerator;
use luge_init::Reaper;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PROGRAM: &str = "qemu-system-x86_64";
/// Where QEMU is looked for before the folders of `PATH`.
const FOLDERS: [&str; 5] = ["/usr/bin", "/bin", "/usr/local/bin", "/opt/qemu/bin", "/usr/libexec"];

/// A program that answers a question about itself needs no longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// A kernel without a root file system has given up by then where KVM works: it takes a second.
const KVM_LIMIT: Duration = Duration::from_secs(10);

/// How a lost vhost-user socket is tried again, in this QEMU's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reconnect {
    /// Before 9.2.
    Seconds,
    /// From 9.2 on.
    Milliseconds,
}

/// A QEMU that works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Qemu {
    pub(crate) path: PathBuf,
    /// Major and minor.
    pub(crate) version: (u32, u32),
    /// Whether it can confine itself with seccomp.
    pub(crate) sandbox: bool,
    pub(crate) reconnect: Reconnect,
    /// Where its firmware is, if not where it was built to look.
    pub(crate) data_folder: Option<PathBuf>,
}

impl Qemu {
    /// Asks the QEMU at `path`, or the first that is found.
    pub(crate) fn probe(path: Option<&Path>, data: Option<&Path>, reaper: &Reaper) -> Result<Self, VmError> {
        let path = path.map_or_else(find, |path| Ok(path.to_owned()))?;
        let confined = ask(&path, &["-sandbox", SANDBOX, "-version"], reaper)?;
        let sandbox = confined.status.success();
        let answer = if sandbox { confined } else { ask(&path, &["-version"], reaper)? };
        let text = answer.lines.join(" ");
        let version = version(&text).filter(|_| answer.status.success());
        let version = version.ok_or_else(|| VmError::BadQemu {
            path: path.clone(),
            reason: format!("-version ended with {} and printed '{text:.200}'", answer.status),
        })?;
        let reconnect = if version >= (9, 2) { Reconnect::Milliseconds } else { Reconnect::Seconds };
        Ok(Self { path, version, sandbox, reconnect, data_folder: data.map(Path::to_owned) })
    }

    /// Decides what executes a VM, and says why. `kernel` is one to try KVM with.
    pub(crate) fn executor(
        &self,
        wish: Accelerator,
        kernel: Option<&Path>,
        reaper: &Reaper,
    ) -> (Executor, String) {
        match wish {
            Accelerator::Kvm => (Executor::Kvm, "kvm (as configured)".into()),
            Accelerator::Tcg => (Executor::Tcg, "tcg (as configured)".into()),
            Accelerator::Auto => match self.try_kvm(kernel, reaper) {
                Ok(()) => (Executor::Kvm, "kvm (a probe has shown that it works)".into()),
                Err(reason) => (Executor::Tcg, format!("tcg ({reason})")),
            },
        }
    }

    /// Boots a kernel without a root file system: it is to panic, reboot and so end QEMU. That
    /// a device node can be opened, or that firmware runs, does not show that Linux would.
    fn try_kvm(&self, kernel: Option<&Path>, reaper: &Reaper) -> Result<(), String> {
        std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .map_err(|e| format!("/dev/kvm: {e}"))?;
        let kernel = kernel.ok_or("there is no kernel to try KVM with")?;
        let mut command = Command::new(&self.path);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command
            .args(["-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "256M", "-append", "panic=-1"]);
        if let Some(folder) = &self.data_folder {
            command.arg("-L").arg(folder);
        }
        command.arg("-kernel").arg(kernel);
        match Child::run(command, reaper, KVM_LIMIT) {
            Ok(Some(Finished { status, .. })) if status.success() => Ok(()),
            Ok(Some(done)) => Err(format!("a trial under KVM failed: {}", done.lines.join(" "))),
            Ok(None) => Err(format!("a trial under KVM hung for {} s", KVM_LIMIT.as_secs())),
            Err(error) => Err(format!("a trial under KVM did not start: {error}")),
        }
    }
}

fn find() -> Result<PathBuf, VmError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        FOLDERS.iter().map(PathBuf::from).chain(std::env::split_paths(&path)).collect();
    let found = folders.iter().map(|folder| folder.join(PROGRAM)).find(|file| file.is_file());
    found.ok_or_else(|| {
        let names: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        VmError::NoQemu { searched: names.join(", ") }
    })
}

fn ask(path: &Path, arguments: &[&str], reaper: &Reaper) -> Result<Finished, VmError> {
    let bad = |reason: String| VmError::BadQemu { path: path.to_owned(), reason };
    let mut command = Command::new(path);
    command.args(arguments);
    let answer = Child::run(command, reaper, ANSWER_LIMIT).map_err(|error| bad(error.to_string()))?;
    answer.ok_or_else(|| bad(format!("it did not answer within {} s", ANSWER_LIMIT.as_secs())))
}

/// Finds `version 7.2.22` in what QEMU says of itself.
fn version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().skip_while(|word| *word != "version").nth(1)?;
    let mut parts = number.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_distributions_print() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18) Copyright (c) 2003";
        assert_eq!(version(debian), Some((7, 2)));
        assert_eq!(version("QEMU emulator version 11.1.3"), Some((11, 1)));
        assert_eq!(version("QEMU emulator version 9.2-rc1"), Some((9, 2)));
        for text in ["", "version", "version x.y", "version 7", "hello world"] {
            assert_eq!(version(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_configured_is_obeyed_and_what_cannot_be_tried_is_translated() {
        let qemu = Qemu {
            path: "/nowhere".into(),
            version: (11, 1),
            sandbox: false,
            reconnect: Reconnect::Milliseconds,
            data_folder: None,
        };
        let decide = |wish, kernel| qemu.executor(wish, kernel, &Reaper::of_own_children());
        assert_eq!(decide(Accelerator::Kvm, None).0, Executor::Kvm);
        assert_eq!(decide(Accelerator::Tcg, None).0, Executor::Tcg);
        for kernel in [None, Some(Path::new("/nowhere"))] {
            let (executor, why) = decide(Accelerator::Auto, kernel);
            assert!(executor == Executor::Tcg && why.starts_with("tcg ("), "{why}");
        }
    }

    #[test]
    fn a_program_that_is_not_qemu_is_refused_with_what_it_said() {
        let error = Qemu::probe(Some(Path::new("/bin/echo")), None, &Reaper::of_own_children()).unwrap_err();
        assert!(error.to_string().contains("/bin/echo") && error.to_string().contains("-version"), "{error}");
        let error = Qemu::probe(Some(Path::new("/nowhere")), None, &Reaper::of_own_children()).unwrap_err();
        assert!(matches!(error, VmError::BadQemu { .. }), "{error}");
    }
}
