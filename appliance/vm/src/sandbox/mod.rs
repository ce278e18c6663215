//! Sandbox of a VM's process: all that a guest has which has taken over its QEMU.
//!
//! | Of what | The process has |
//! |---|---|
//! | user and group | one of its own (`user`), mapped alone into a user namespace |
//! | capabilities | none, and none to gain: `no_new_privs`, an empty bounding set, no further user namespaces |
//! | files | a small tmpfs, read-only, with the entries of `contents` |
//! | processes | itself: it is the first process of a PID namespace |
//! | networks | a loopback interface that is down |
//! | IPC, host name, cgroups | namespaces of its own |
//! | file descriptors | no input, its output, and those that it is given ([`Program::descriptors`]) |
//! | environment | `PATH` |
//! | CPU time, memory, threads | the bounds of its cgroup, if it has one (`cgroup`) |
//! | system calls | those that QEMU's own filter leaves (`qemu::FILTER`) |
//!
//! Invariants
//! - The process can write through the file descriptors that it is given, and nowhere else.
//! - The process dies with the thread that has started it.
//! - Between clone and exec the child makes system calls only (`inside`).
//!
//! A daemon that is not root's gives its VMs its own user, because it may choose no other. All else is
//! the same.

mod cgroup;
mod contents;
mod inside;
mod report;
mod start;
mod user;

pub(crate) use cgroup::{Bounds, Cgroup, Cgroups};
pub(crate) use contents::{OWN_FILES, Sandbox};
pub(crate) use start::{Program, SandboxError, start};
pub(crate) use user::User;
