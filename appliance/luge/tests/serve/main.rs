//! `luge serve`, from outside: the built binary as a child, its socket, its signals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod bad_input;
mod bench;
mod command_line;
mod configuration;
mod daemon;
mod failures;
mod identities;
mod methods;
mod sockets;
mod spdk_client;
mod vhost;
mod vm;
