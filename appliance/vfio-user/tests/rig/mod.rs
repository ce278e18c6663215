//! A small function that notes what its connection tells it, an endpoint that has it, and a client of raw messages.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod client;
pub mod function;

use client::DEADLINE;
use function::{Echo, Record};
use luge_core::Descriptors;
use luge_memory::DmaSpace;
use luge_socket::Permissions;
use luge_vfio_user::{BackoffLimits, Endpoint, EndpointConfig, EndpointError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// No pause after clients that were cut off.
pub const NO_PAUSE: BackoffLimits =
    BackoffLimits { first: Duration::ZERO, longest: Duration::ZERO, quiet: Duration::ZERO };

/// File descriptors that are enough for all tests.
const DESCRIPTORS: u64 = 100_000;

/// An endpoint in a folder of its own.
pub struct House {
    pub record: Arc<Record>,
    pub endpoint: Endpoint,
    folder: tempfile::TempDir,
}

impl House {
    pub fn new() -> Self {
        Self::with_descriptors(DESCRIPTORS)
    }

    /// An endpoint in a process that may have so many file descriptors.
    pub fn with_descriptors(limit: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let record = Arc::new(Record::new());
        let endpoint = endpoint_within(&folder.path().join("cntrl"), &record, limit).unwrap();
        Self { record, endpoint, folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("cntrl")
    }

    /// A client that has sent its VERSION.
    pub fn client(&self) -> client::Client {
        let client = client::Client::connect(&self.path());
        client.negotiate();
        client
    }

    pub fn protocol_errors(&self) -> u64 {
        self.endpoint.clients().counts.protocol_errors
    }
}

/// An endpoint at a path.
pub fn endpoint(path: &Path, record: &Arc<Record>) -> Result<Endpoint, EndpointError> {
    endpoint_within(path, record, DESCRIPTORS)
}

fn endpoint_within(path: &Path, record: &Arc<Record>, descriptors: u64) -> Result<Endpoint, EndpointError> {
    Endpoint::start(EndpointConfig {
        name: "echo".into(),
        socket: path.to_owned(),
        permissions: Permissions::GROUP,
        owner: None,
        source: Arc::new(Echo(record.clone())),
        space: Some(DmaSpace::new()),
        descriptors: Descriptors::with_limit(descriptors),
        backoff: NO_PAUSE,
    })
}

/// Waits until something holds.
#[track_caller]
pub fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < DEADLINE, "it does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}
