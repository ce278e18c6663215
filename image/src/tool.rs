//! Commands for programs of this machine.
//!
//! A program gets SIGTERM when the thread that started it ends: a build that is killed leaves no
//! compiler behind that writes where the next build works.

use std::process::Command;

/// Folders of programs that an ordinary user's PATH lacks.
pub(crate) const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Words in front of a program that make it get SIGTERM when the thread that started it ends.
pub(crate) const WATCHED: [&str; 2] = ["setpriv", "--pdeathsig=TERM"];

/// Command for a program, which is looked for in root's folders as well.
pub(crate) fn tool(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let wider = std::env::join_paths(std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(Into::into)));
    let mut command = Command::new(WATCHED[0]);
    command.args(&WATCHED[1..]).arg(name);
    command.env("PATH", wider.unwrap_or(path)).env("LC_ALL", "C");
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_tool_gets_a_signal_when_the_thread_that_started_it_has_ended() {
        let script = "trap 'echo told > ended; exit' TERM; echo ready > began; while :; do read -t 0.05 x <> fifo; done";
        let folder = tempfile::tempdir().unwrap();
        assert!(Command::new("mkfifo").arg(folder.path().join("fifo")).status().unwrap().success());
        let begun = folder.path().join("began");
        let here = folder.path().to_owned();
        std::thread::spawn(move || {
            let mut child = tool("bash").args(["-c", script]).current_dir(&here).spawn().unwrap();
            wait_for(&begun);
            // Another thread reaps the child, so that this one ends while the child lives.
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
}
