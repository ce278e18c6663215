//! QEMU program: its path and features, found out by running it with a time limit.

use crate::child::{Child, Finished};
use crate::config::VmConfig;
use crate::error::VmError;
use crate::sandbox::{OWN_FILES, Program, Sandbox, User};
use crate::spec::Accelerator;
use luge_init::Reaper;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PROGRAM: &str = "qemu-system-x86_64";
/// Folders that are searched for QEMU before those of `PATH`.
const FOLDERS: [&str; 5] = ["/usr/bin", "/bin", "/usr/local/bin", "/opt/qemu/bin", "/usr/libexec"];

/// Time limit for QEMU to print its version.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit of the trial of KVM, which takes a second where KVM works.
const KVM_TIMEOUT: Duration = Duration::from_secs(10);

/// Strictest option of QEMU's seccomp filter: a QEMU that its guest has taken over can neither start
/// programs nor raise its privileges.
pub(crate) const FILTER: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// Executor of a VM's instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Executor {
    Kvm,
    Tcg,
}

/// An executor, and the reason for its choice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Choice {
    pub(crate) executor: Executor,
    /// `kvm` or `tcg`, with the reason in parentheses.
    pub(crate) reason: String,
}

/// Unit of the option by which QEMU reconnects to a vhost-user socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reconnect {
    /// `reconnect`, before QEMU 9.2.
    Seconds,
    /// `reconnect-ms`, from QEMU 9.2 on.
    Milliseconds,
}

/// A working QEMU program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Qemu {
    pub(crate) path: PathBuf,
    /// Whether the seccomp filter is available.
    pub(crate) filter: bool,
    pub(crate) reconnect: Reconnect,
    /// Whether it has NVMe disks over vfio-user: from QEMU 10.1 on.
    pub(crate) has_vfio_user: bool,
    /// Folder of the firmware, if it is not the built-in one.
    pub(crate) data_folder: Option<PathBuf>,
    /// Folders that it needs, besides those of the system and its own.
    pub(crate) files: Vec<PathBuf>,
    /// User as whom QEMU is tried out.
    pub(crate) trial_user: User,
}

impl Qemu {
    /// Finds out the features of the QEMU that is configured, or of the first that is found.
    pub(crate) fn probe(config: &VmConfig, reaper: &Reaper) -> Result<Self, VmError> {
        let path = config.qemu.clone().map_or_else(find, Ok)?;
        let bad = |reason: String| VmError::BadQemu { path: path.clone(), reason };
        let mut qemu = Self {
            path: path.canonicalize().map_err(|error| bad(error.to_string()))?,
            filter: true,
            reconnect: Reconnect::Milliseconds,
            has_vfio_user: true,
            data_folder: config.firmware_folder.clone(),
            files: config.sandbox.files.clone(),
            trial_user: User::number(config.sandbox.first_user, 0),
        };
        let filtered = qemu.ask(&["-sandbox", FILTER, "-version"], reaper)?;
        qemu.filter = filtered.status.success();
        let answer = if qemu.filter { filtered } else { qemu.ask(&["-version"], reaper)? };
        let text = answer.lines.join(" ");
        let version = version(&text).filter(|_| answer.status.success());
        let version = version
            .ok_or_else(|| bad(format!("-version ended with {} and printed '{text:.200}'", answer.status)))?;
        if version < (9, 2) {
            qemu.reconnect = Reconnect::Seconds;
        }
        qemu.has_vfio_user = version >= (10, 1);
        Ok(qemu)
    }

    /// Sandbox in which QEMU runs as `user`.
    pub(crate) fn sandbox(&self, user: User) -> io::Result<Sandbox> {
        let mut sandbox = Sandbox::new(user)?;
        sandbox.add_program(&self.path)?;
        self.data_folder.iter().chain(&self.files).try_for_each(|folder| sandbox.add_folder(folder))?;
        Ok(sandbox)
    }

    /// Runs QEMU with arguments, at most for [`ANSWER_TIMEOUT`].
    fn ask(&self, arguments: &[&str], reaper: &Reaper) -> Result<Finished, VmError> {
        let bad = |reason: String| VmError::BadQemu { path: self.path.clone(), reason };
        let sandbox = self.sandbox(self.trial_user).map_err(|error| bad(error.to_string()))?;
        let program = self.program(arguments.iter().map(OsString::from).collect());
        let answer = Child::run(&program, &sandbox, reaper, ANSWER_TIMEOUT);
        let answer = answer.map_err(|error| bad(error.to_string()))?;
        answer.ok_or_else(|| bad(format!("it did not answer within {} s", ANSWER_TIMEOUT.as_secs())))
    }

    fn program(&self, arguments: Vec<OsString>) -> Program<'_> {
        Program { path: &self.path, arguments, descriptors: Vec::new() }
    }

    /// Chooses the executor of a VM. KVM is tried with `kernel`.
    pub(crate) fn choose_executor(
        &self,
        wish: Accelerator,
        kernel: Option<&Path>,
        reaper: &Reaper,
    ) -> Choice {
        let (executor, reason) = match wish {
            Accelerator::Kvm => (Executor::Kvm, "kvm (as configured)".into()),
            Accelerator::Tcg => (Executor::Tcg, "tcg (as configured)".into()),
            Accelerator::Auto => match self.try_kvm(kernel, reaper) {
                Ok(()) => (Executor::Kvm, "kvm (a probe has shown that it works)".into()),
                Err(reason) => (Executor::Tcg, format!("tcg ({reason})")),
            },
        };
        Choice { executor, reason }
    }

    /// Boots a kernel without a root file system under KVM: it panics and reboots, which ends QEMU. A
    /// device node that can be opened, or firmware that runs, would not show that Linux runs.
    fn try_kvm(&self, kernel: Option<&Path>, reaper: &Reaper) -> Result<(), String> {
        std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .map_err(|e| format!("/dev/kvm: {e}"))?;
        let kernel = kernel.ok_or("there is no kernel to try KVM with")?;
        let inside = Path::new(OWN_FILES).join("kernel");
        let failed = |error: &dyn ToString| format!("a trial under KVM did not start: {}", error.to_string());
        let sandbox = self.trial_sandbox(kernel, &inside).map_err(|error| failed(&error))?;
        let program = self.program(self.trial_arguments(&inside));
        match Child::run(&program, &sandbox, reaper, KVM_TIMEOUT) {
            Ok(Some(Finished { status, .. })) if status.success() => Ok(()),
            Ok(Some(done)) => Err(format!("a trial under KVM failed: {}", done.lines.join(" "))),
            Ok(None) => Err(format!("a trial under KVM hung for {} s", KVM_TIMEOUT.as_secs())),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Sandbox of a trial, with a kernel of the host as `inside`.
    fn trial_sandbox(&self, kernel: &Path, inside: &Path) -> io::Result<Sandbox> {
        let mut sandbox = self.sandbox(self.trial_user)?;
        sandbox.add_kvm()?;
        sandbox.add_file(kernel, inside)?;
        Ok(sandbox)
    }

    fn trial_arguments(&self, kernel: &Path) -> Vec<OsString> {
        let words = "-nodefaults -no-user-config -display none -no-reboot -machine q35 -accel kvm -cpu host \
                     -m 256M -append panic=-1";
        let mut words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        words.extend(["-kernel".into(), kernel.into()]);
        if let Some(folder) = &self.data_folder {
            words.extend(["-L".into(), folder.into()]);
        }
        if self.filter {
            words.extend(["-sandbox".into(), FILTER.into()]);
        }
        words
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

/// Major and minor number in the output of `-version`, which contains `version 7.2.22`.
fn version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().skip_while(|word| *word != "version").nth(1)?;
    let mut parts = number.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SandboxConfig, Timeouts};

    #[test]
    fn versions_are_read_in_the_forms_of_distributions() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18) Copyright (c) 2003";
        assert_eq!(version(debian), Some((7, 2)));
        assert_eq!(version("QEMU emulator version 11.1.3"), Some((11, 1)));
        assert_eq!(version("QEMU emulator version 9.2-rc1"), Some((9, 2)));
        for text in ["", "version", "version x.y", "version 7", "hello world"] {
            assert_eq!(version(text), None, "{text}");
        }
    }

    #[test]
    fn a_configured_executor_is_used_and_tcg_if_kvm_cannot_be_tried() {
        let qemu = Qemu {
            path: "/nowhere".into(),
            filter: false,
            reconnect: Reconnect::Milliseconds,
            has_vfio_user: true,
            data_folder: None,
            files: Vec::new(),
            trial_user: User::Ours,
        };
        let choose = |wish, kernel| qemu.choose_executor(wish, kernel, &Reaper::of_own_children());
        assert_eq!(choose(Accelerator::Kvm, None).executor, Executor::Kvm);
        assert_eq!(choose(Accelerator::Tcg, None).executor, Executor::Tcg);
        for kernel in [None, Some(Path::new("/nowhere"))] {
            let choice = choose(Accelerator::Auto, kernel);
            assert_eq!(choice.executor, Executor::Tcg);
            assert!(choice.reason.starts_with("tcg ("), "{}", choice.reason);
        }
    }

    fn probe(path: &str) -> VmError {
        let config = VmConfig {
            folder: "/nowhere".into(),
            qemu: Some(path.into()),
            firmware_folder: None,
            trial_kernel: None,
            sandbox: SandboxConfig::default(),
            timeouts: Timeouts::default(),
        };
        Qemu::probe(&config, &Reaper::of_own_children()).unwrap_err()
    }

    #[test]
    fn a_program_that_is_not_qemu_is_refused_with_its_output() {
        let error = probe("/bin/echo").to_string();
        assert!(error.contains("/bin/echo"), "{error}");
        assert!(error.contains("-version") || error.contains("namespaces are refused"), "{error}");
        assert!(matches!(probe("/nowhere"), VmError::BadQemu { .. }));
    }
}
