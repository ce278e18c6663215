//! Settings of the kernel that PID 1 makes: host name, log level, standard streams.

use rustix::fs::{Mode, OFlags, chmod, open};
use rustix::io::Errno;
use std::fs;
use std::io;

/// Sets the machine's host name.
///
/// # Errors
/// Errors of sethostname(2).
pub fn set_hostname(name: &str) -> io::Result<()> {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

/// Sends kernel messages below `level` (0 to 8) to the console.
///
/// # Errors
/// Errors of writing to /proc.
pub fn set_kernel_log_level(level: u8) -> io::Result<()> {
    fs::write("/proc/sys/kernel/printk", level.to_string())
}

/// Allows all users to open KVM. Those of VMs are the only ones beside root.
///
/// # Errors
/// Errors of chmod(2).
pub fn open_kvm_to_vms() -> io::Result<()> {
    match chmod("/dev/kvm", Mode::from_raw_mode(0o666)) {
        // A machine without virtualization.
        Err(Errno::NOENT) => Ok(()),
        done => Ok(done?),
    }
}

/// Makes `/dev/console` standard input, output and error. The kernel opens none of them if it found no
/// console at its start.
///
/// # Errors
/// Errors of open(2) and dup2(2).
pub fn use_console_as_stdio() -> io::Result<()> {
    let console = open("/dev/console", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&console)?;
    rustix::stdio::dup2_stdout(&console)?;
    rustix::stdio::dup2_stderr(&console)?;
    Ok(())
}
