//! Attempts of a QEMU that its guest has taken over. Each line of the report has the name of an attempt
//! and its result.

use super::descriptor;
use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Uid, chroot, test_kill_process};
use rustix::thread::{UnshareFlags, set_thread_uid, unshare_unsafe};
use std::fmt::{Debug, Display};
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

/// Reports on all attempts. The words of the kernel's command line are paths outside to be opened, and
/// processes outside to be signalled.
pub(crate) fn report(mut serial: &UnixStream, words: &[String]) {
    let mut lines = identity();
    lines.extend(surroundings());
    lines.extend(powers());
    lines.extend(writes());
    lines.extend(memory(words));
    let outside = words.iter().skip_while(|word| *word != "-append").nth(1);
    for word in outside.iter().flat_map(|text| text.split(' ')) {
        lines.push(match word.parse().ok().and_then(Pid::from_raw) {
            Some(pid) => line(&format!("signal {word}"), test_kill_process(pid)),
            None => line(&format!("open {word}"), open(word)),
        });
    }
    lines.push(line("connect /vm/disk0", UnixStream::connect("/vm/disk0").map(drop)));
    lines.push("end: of the report".into());
    let _ = serial.write_all(format!("{}\n", lines.join("\n")).as_bytes());
}

fn line<E: Display>(attempt: &str, result: Result<impl Debug, E>) -> String {
    match result {
        Ok(_) => format!("{attempt}: ok"),
        Err(error) => format!("{attempt}: {error}"),
    }
}

/// Opens a file or folder, or connects to a socket.
fn open(path: &str) -> io::Result<()> {
    UnixStream::connect(path).map(drop).or_else(|_| fs::File::open(path).map(drop))
}

fn identity() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let wanted =
        ["Uid", "Gid", "Groups", "NSpid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"];
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    let wanted = lines.filter(|(key, _)| wanted.contains(key));
    wanted
        .map(|(key, value)| format!("{key}: {}", value.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

fn surroundings() -> Vec<String> {
    let names = |folder: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().display().to_string()).collect();
        names.sort();
        names.join(" ")
    };
    let interfaces = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let interfaces: Vec<&str> =
        interfaces.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    let environment: Vec<String> = std::env::vars().map(|(key, _)| key).collect();
    vec![
        format!("/: {}", names("/")),
        format!("/dev: {}", names("/dev")),
        format!("/vm: {}", names("/vm")),
        format!("/proc: {}", names("/proc")),
        format!("descriptors: {}", names("/proc/self/fd").split(' ').count()),
        format!("interfaces: {}", interfaces.join(" ")),
        format!("environment: {}", environment.join(" ")),
    ]
}

fn powers() -> Vec<String> {
    // SAFETY: the table of file descriptors stays shared between all threads.
    let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWUSER) };
    vec![
        line("make a user namespace", unshared),
        line("become root", set_thread_uid(Uid::ROOT)),
        line("change the root folder", chroot("/usr")),
        line("mount", mount("tmpfs", "/dev", "tmpfs", MountFlags::empty(), None)),
        line("remount", rustix::mount::mount_remount("/", MountFlags::BIND, "")),
        line("run a set-uid program", run_set_uid_program()),
    ]
}

/// Runs a program that makes its caller root, and fails unless it does.
fn run_set_uid_program() -> io::Result<()> {
    let mut command = Command::new("/bin/su");
    let output = command.args(["-c", "id -u"]).stdin(std::process::Stdio::null()).output()?;
    if output.stdout == b"0\n" { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

fn writes() -> Vec<String> {
    let write = |path: &&str| line(&format!("write {path}"), fs::write(path, "x"));
    [
        "/x",
        "/vm/x",
        "/vm/disk0",
        "/dev/x",
        "/usr/x",
        "/tmp/x",
        "/proc/self/oom_score_adj",
        "/proc/sys/vm/nr_hugepages",
    ]
    .iter()
    .map(write)
    .collect()
}

fn memory(words: &[String]) -> Vec<String> {
    let Some(file) = descriptor(words, "mem-path=/proc/self/fd/") else {
        return vec!["memory: none".into()];
    };
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    vec![
        line("shorten memory", ftruncate(&file, 0)),
        line("lengthen memory", ftruncate(&file, 1 << 40)),
        line("punch a hole", fallocate(&file, hole, 0, 4096)),
    ]
}

/// Takes memory until that is refused, or the process is killed.
pub(crate) fn take_memory() -> ! {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(vec![1; 64 << 20]);
    }
}
