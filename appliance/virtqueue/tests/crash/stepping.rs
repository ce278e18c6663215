//! A child process that runs an instruction at a time, so that its memory can be looked at after each:
//! what a kill at that moment would leave. Or one that is killed.

#![expect(unsafe_code, reason = "fork and ptrace")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

/// A child process.
pub struct Child {
    pid: libc::pid_t,
}

impl Child {
    /// A child that runs `prepare` at once, `body` step by step, and ends. It shares the memory that is
    /// mapped as shared.
    pub fn start<T>(prepare: impl FnOnce() -> T, body: impl FnOnce(T)) -> Self {
        // SAFETY: the child only computes and allocates: the C library's allocator works after a fork, also of
        // a process with threads.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "no child process");
        if pid == 0 {
            Self::run(prepare, body);
        }
        let stepped = Self { pid };
        assert_eq!(stepped.wait(), Some(libc::SIGSTOP), "the child did not stop at its start");
        stepped
    }

    fn run<T>(prepare: impl FnOnce() -> T, body: impl FnOnce(T)) -> ! {
        let prepared = prepare();
        // SAFETY: no memory is touched.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, null_mut::<()>(), null_mut::<()>()) };
        // SAFETY: it stops until the parent lets it go on.
        unsafe { libc::raise(libc::SIGSTOP) };
        let ended = catch_unwind(AssertUnwindSafe(|| body(prepared)));
        // SAFETY: nothing of the parent's is to be cleaned up.
        unsafe { libc::_exit(i32::from(ended.is_err())) }
    }

    /// Runs one instruction; false if the child has ended.
    ///
    /// # Panics
    /// If it ended otherwise than well.
    pub fn step(&self) -> bool {
        // SAFETY: the child is stopped.
        unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, self.pid, null_mut::<()>(), null_mut::<()>()) };
        self.wait().is_some()
    }

    /// Lets the child run.
    pub fn go_on(&self) {
        // SAFETY: the child is stopped.
        unsafe { libc::ptrace(libc::PTRACE_CONT, self.pid, null_mut::<()>(), null_mut::<()>()) };
    }

    /// Kills the child, wherever it is.
    ///
    /// # Panics
    /// If it had ended before.
    pub fn kill(self) {
        // SAFETY: the child was not waited for, so it is ours.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        let mut status = 0;
        // SAFETY: the status is ours.
        unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        assert!(libc::WIFSIGNALED(status), "the server has failed: {status:#x}");
    }

    /// The signal that the child has stopped with; none if it has ended.
    fn wait(&self) -> Option<i32> {
        let mut status = 0;
        // SAFETY: the status is ours.
        let waited = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        assert_eq!(waited, self.pid, "the child is lost");
        if libc::WIFSTOPPED(status) {
            return Some(libc::WSTOPSIG(status));
        }
        assert!(libc::WIFEXITED(status), "the child was killed: {status:#x}");
        assert_eq!(libc::WEXITSTATUS(status), 0, "the server has failed");
        None
    }
}
