//! Test rig: a `luge serve` in a folder of its own, ended with the test.

use luge_rpc::{CallError, Client, RpcError};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Time limit of all waits.
pub const TIMEOUT: Duration = Duration::from_secs(30);

pub const LUGE: &str = env!("CARGO_BIN_EXE_luge");

/// Makes a command that is killed if the test's process is.
pub fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

/// Runs `luge` with these arguments to its end.
pub fn luge(args: &[&str]) -> Output {
    command(LUGE).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs `luge`, which must fail, and returns its error output.
pub fn failure(args: &[&str]) -> String {
    let output = luge(args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    assert!(said.lines().last().unwrap_or_default().starts_with("luge: "), "{said}");
    said
}

/// Waits until `done`, polling.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {TIMEOUT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub struct Daemon {
    pub folder: tempfile::TempDir,
    pub child: Child,
    /// Line that reported readiness.
    pub greeting: String,
}

impl Daemon {
    /// Starts a daemon with 64 MiB for disks and one core.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a daemon with more arguments.
    pub fn with(args: &[&str]) -> Self {
        Self::within(tempfile::tempdir().unwrap(), args)
    }

    /// Starts a daemon that logs to `log`.
    pub fn with_log(log: impl Into<Stdio>) -> Self {
        Self::spawn(tempfile::tempdir().unwrap(), &[], log.into())
    }

    /// Starts a daemon in a folder with prepared files.
    pub fn within(folder: tempfile::TempDir, args: &[&str]) -> Self {
        Self::spawn(folder, args, Stdio::inherit())
    }

    /// Starts a daemon as the first process of a container.
    pub fn as_process_1() -> Self {
        let mut container = command("unshare");
        container.args([
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            LUGE,
        ]);
        Self::run(container, tempfile::tempdir().unwrap(), &[], Stdio::inherit())
    }

    /// Starts a daemon with a limit of file descriptors, with the log in its folder.
    pub fn with_descriptors(limit: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut program = command("prlimit");
        program.args([&format!("--nofile={limit}:{limit}"), "--", LUGE]);
        Self::logging(program, folder, log)
    }

    /// Starts a daemon by `program` in a folder, with its log there.
    pub fn logging(program: Command, folder: tempfile::TempDir, log: impl Into<Stdio>) -> Self {
        Self::run(program, folder, &[], log.into())
    }

    fn spawn(folder: tempfile::TempDir, args: &[&str], log: Stdio) -> Self {
        Self::run(command(LUGE), folder, args, log)
    }

    pub fn run(mut command: Command, folder: tempfile::TempDir, args: &[&str], log: Stdio) -> Self {
        let budget: &[&str] = if args.contains(&"-s") { &[] } else { &["-s", "64"] };
        command.args(["serve", "--no-huge"]).args(budget).arg("-S").arg(folder.path());
        command.arg("-r").arg(folder.path().join("rpc.sock")).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
        assert!(!greeting.is_empty(), "luge did not start");
        Self { folder, child, greeting }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("rpc.sock")
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub fn client(&self) -> Client {
        connect(&self.socket())
    }

    /// Calls a method that must work.
    pub fn call(&self, method: &str, params: Value) -> Value {
        let shown = format!("{method} {params}");
        self.client().call(method, params).unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// Calls a method that must fail.
    pub fn refusal(&self, method: &str, params: Value) -> RpcError {
        let shown = format!("{method} {params}");
        match self.client().call(method, params) {
            Err(CallError::Rpc(error)) => error,
            other => panic!("{shown}: {other:?}"),
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of the process; returns its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the end of luge", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn connect(socket: &Path) -> Client {
    let mut client = Client::connect(socket).unwrap();
    client.set_timeout(TIMEOUT).unwrap();
    client
}
