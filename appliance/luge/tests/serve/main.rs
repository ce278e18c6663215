//! Tests of the built binary as a child process, by its sockets and signals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod bad_input;
mod bench;
mod command_line;
mod configuration;
mod crashes;
mod crowd;
mod daemon;
mod descriptors;
mod exporter;
mod failures;
mod identities;
mod latency;
mod methods;
mod nvmf;
mod orchestrators;
mod resize;
mod scsi;
mod sockets;
mod spdk_client;
mod stock;
mod storms;
mod top;
mod trace;
mod vfio_user;
mod vhost;
mod vm;
