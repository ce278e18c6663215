//! Small things a first process does for its machine.

use rustix::fs::{Mode, OFlags, open};
use std::fs;
use std::io;

/// Tells the kernel the machine's name.
///
/// # Errors
/// The kernel's.
pub fn set_hostname(name: &str) -> io::Result<()> {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

/// Lets kernel messages below `level` through to the console; 0 to 8.
///
/// # Errors
/// The kernel's.
pub fn set_kernel_log_level(level: u8) -> io::Result<()> {
    fs::write("/proc/sys/kernel/printk", level.to_string())
}

/// Makes `/dev/console` standard input, output and error. A kernel that found no console
/// at the start has given none of them.
///
/// # Errors
/// The kernel's.
pub fn use_console_as_stdio() -> io::Result<()> {
    let console = open("/dev/console", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&console)?;
    rustix::stdio::dup2_stdout(&console)?;
    rustix::stdio::dup2_stderr(&console)?;
    Ok(())
}
