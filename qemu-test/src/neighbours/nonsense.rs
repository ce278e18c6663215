//! Batches of nonsense on the RPC socket: millions of calls that are none.

use super::target::{Activity, Neighbour, Target};
use crate::deadline::Deadline;
use crate::error::{Doing, TestError};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Length of a batch.
const BATCH_BYTES: usize = 4 << 20;
/// Time limit of an answer.
const ANSWER_SECONDS: u32 = 10;

/// Clients that send nonsense.
pub(super) struct Nonsense;

impl Neighbour for Nonsense {
    fn name(&self) -> String {
        "RPC batches of nonsense".to_owned()
    }

    fn settle(&self, target: &Target) -> Result<Box<dyn Activity>, TestError> {
        let batch = format!("[{}1]", "1,".repeat(BATCH_BYTES / 2 - 2));
        Ok(Box::new(Sending { rpc: target.rpc.clone(), batch }))
    }
}

struct Sending {
    rpc: PathBuf,
    batch: String,
}

impl Activity for Sending {
    fn act(&mut self) -> Result<(), TestError> {
        let mut stream = UnixStream::connect(&self.rpc).doing(|| "connecting".to_owned())?;
        let limit = Some(Deadline::within(ANSWER_SECONDS).left());
        stream.set_read_timeout(limit).doing(|| "connecting".to_owned())?;
        stream.set_write_timeout(limit).doing(|| "connecting".to_owned())?;
        // A server that has read enough hangs up: that is no failure.
        let _ = stream.write_all(self.batch.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = [0; 65536];
        while matches!(stream.read(&mut answer), Ok(1..)) {}
        Ok(())
    }
}
