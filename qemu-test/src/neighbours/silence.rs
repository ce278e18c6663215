//! Clients that connect to the RPC socket and say nothing.

use super::target::{Activity, Neighbour, Target};
use crate::error::{Doing, TestError};
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

const CLIENTS: usize = 256;
const PAUSE: Duration = Duration::from_millis(1);

/// Many silent clients, of which one is replaced all the time.
pub(super) struct Silence;

impl Neighbour for Silence {
    fn name(&self) -> String {
        format!("{CLIENTS} silent RPC clients")
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        Ok(Box::new(Silent { rpc: target.rpc.clone(), clients: VecDeque::new() }))
    }
}

struct Silent {
    rpc: PathBuf,
    clients: VecDeque<UnixStream>,
}

impl Activity for Silent {
    fn act(&mut self) -> Result<(), TestError> {
        if self.clients.len() == CLIENTS {
            self.clients.pop_front();
            std::thread::sleep(PAUSE);
        }
        self.clients.push_back(UnixStream::connect(&self.rpc).doing(|| "connecting".to_owned())?);
        Ok(())
    }
}
