//! Log of requests that failed, and of stalls (`stall_log`), written by a thread of its own instead of the cores.
//!
//! Path: none. The thread reads the devices' reports once a second, and writes at most one line
//! per device, however fast its requests fail.
//!
//! Not here: the counts (`bdev_get_iostat`), resets of the SSD (`nvme` logs them).

use crate::control::{Control, Sled, Source};
use crate::stall_log::StallLog;
use luge_block::IoErrors;
use luge_volume::Volume;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two readings.
const PAUSE: Duration = Duration::from_secs(1);

/// The thread. When dropped, it reads once more and ends.
pub struct ErrorLog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ErrorLog {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(control: Arc<Control>) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let look = move || {
            let mut stalls = StallLog::default();
            loop {
                let end = stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout);
                log_failures(&control);
                stalls.look(&control.platform().cores);
                if end {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("error log".into()).spawn(look)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for ErrorLog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported; there is nothing left to log.
            let _ = thread.join();
        }
    }
}

fn log_failures(control: &Control) {
    // Where Luge is stopping, there are no devices any more.
    for (name, errors) in control.look(|sled| Ok(reports(sled))).unwrap_or_default() {
        match errors.take() {
            Some((error, 1)) => tracing::error!("bdev {name}: {error}"),
            Some((error, count)) => {
                tracing::error!("bdev {name}: {error}; {} more requests failed", count - 1);
            }
            None => {}
        }
    }
}

/// Reports of the devices whose requests may fail. Reports keep no device open; a part of a device
/// has the report of the whole.
fn reports(sled: &mut Sled) -> Vec<(String, Arc<IoErrors>)> {
    let whole = sled.bdevs.iter().filter(|(_, bdev)| !matches!(bdev.source, Source::Part { .. }));
    let errors = |volume: &Volume| match volume.source() {
        luge_volume::Source::Device(device) => device.errors().cloned(),
        luge_volume::Source::Composite(_) => None,
    };
    whole.filter_map(|(name, bdev)| Some((name.to_owned(), errors(&bdev.volume)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Bdev, Budget, platform};
    use luge_block::{Access, Device, FileDevice};
    use luge_memory::PageSize;

    #[test]
    fn what_is_taken_for_the_log_keeps_no_device_open() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let mut sled = Sled::new(Arc::new(platform(PageSize::Base)), Budget::new(0));
        let device: Arc<dyn Device> =
            Arc::new(FileDevice::open(file.path(), None, Access::ReadWrite).unwrap());
        let weak = Arc::downgrade(&device);
        let source = Source::Aio { filename: file.path().into(), block_size_override: false };
        let (name, uuid) = sled.bdevs.reserve(Some("a".into()), "", None).unwrap();
        sled.bdevs.put(&name, Bdev::new(uuid, source, Volume::whole(device)));
        let reports = reports(&mut sled);
        assert_eq!(reports.len(), 1);
        drop(sled.bdevs.take("a").unwrap());
        assert!(weak.upgrade().is_none());
    }
}
