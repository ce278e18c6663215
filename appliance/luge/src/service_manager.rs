//! Messages to the service manager that started `luge serve`, by the protocol of sd_notify(3).
//!
//! Path: none. The main thread tells readiness and the stop; a thread of its own, the watchdog, tells that Luge works.
//!
//! Invariants
//! - The watchdog sends a message only after every core and the control thread have answered. One that hangs ends the
//!   messages, and the service manager restarts the service.
//! - Without a service manager nothing is sent, and there is no watchdog.
//!
//! Not here: the service's settings (`image/debian`).

use crate::control::Control;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// Messages within the time after which the service manager gives the service up.
const MESSAGES_PER_LIMIT: u32 = 4;

/// The service manager, if there is one.
pub struct ServiceManager {
    socket: Option<SocketAddr>,
    /// Time without a message after which the service manager gives the service up.
    limit: Option<Duration>,
}

impl ServiceManager {
    /// The service manager that the environment names.
    #[must_use]
    pub fn of_environment() -> Self {
        let text = |name| std::env::var(name).ok();
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| address(&name));
        let is_ours = text("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let limit = text("WATCHDOG_USEC").and_then(|limit| limit.parse().ok());
        Self { socket, limit: limit.filter(|&limit| is_ours && limit > 0).map(Duration::from_micros) }
    }

    /// Tells that disks are served, and the RPC socket is there.
    pub fn ready(&self) {
        self.say("READY=1\nSTATUS=Serving disks");
    }

    /// Tells that a stop has begun, which waits for requests in flight.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=Waiting for requests in flight");
    }

    /// Starts the watchdog.
    ///
    /// # Errors
    /// The kernel's, if a thread cannot be made.
    pub fn watch(&self, control: Arc<Control>) -> io::Result<()> {
        let (Some(socket), Some(limit)) = (self.socket.clone(), self.limit) else { return Ok(()) };
        let manager = Self { socket: Some(socket), limit: None };
        let watch = move || {
            while works(&control) {
                manager.say("WATCHDOG=1");
                std::thread::sleep(limit / MESSAGES_PER_LIMIT);
            }
        };
        std::thread::Builder::new().name("watchdog".into()).spawn(watch).map(drop)
    }

    fn say(&self, message: &str) {
        let Some(address) = &self.socket else { return };
        let sent = UnixDatagram::unbound()
            .and_then(|socket| socket.send_to_addr(message.as_bytes(), address).map(drop));
        if let Err(error) = sent {
            tracing::warn!("the service manager cannot be told {message:?}: {error}");
        }
    }
}

/// Address of a socket that is named by its path, or, after an `@`, in the abstract namespace.
fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(name).ok(),
        _ => None,
    }
}

/// Asks each core and the control thread, and waits for their answers; no more once Luge stops.
fn works(control: &Control) -> bool {
    control.platform().cores.iter().for_each(|core| core.call(|_| ()));
    control.look(|_| Ok(())).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Budget, Sled, platform};
    use luge_block::CoreId;
    use luge_core::CoreHandle;
    use luge_memory::PageSize;
    use std::sync::mpsc::channel;

    struct Rig {
        _folder: tempfile::TempDir,
        socket: UnixDatagram,
        manager: ServiceManager,
    }

    fn rig(limit: Duration) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let manager = ServiceManager { socket: address(path.as_os_str()), limit: Some(limit) };
        Rig { _folder: folder, socket, manager }
    }

    impl Rig {
        fn next(&self) -> io::Result<String> {
            let mut text = [0; 100];
            let length = self.socket.recv(&mut text)?;
            Ok(String::from_utf8_lossy(&text[..length]).into_owned())
        }
    }

    #[test]
    fn readiness_and_the_stop_are_told() {
        let rig = rig(Duration::from_secs(1));
        rig.manager.ready();
        assert_eq!(rig.next().unwrap(), "READY=1\nSTATUS=Serving disks");
        rig.manager.stopping();
        assert!(rig.next().unwrap().starts_with("STOPPING=1\n"));
    }

    #[test]
    fn a_core_that_hangs_ends_the_watchdogs_messages() {
        let rig = rig(Duration::from_millis(40));
        let core = CoreHandle::spawn(CoreId(0)).unwrap();
        let platform = crate::control::Platform { cores: vec![core.clone()], ..platform(PageSize::Base) };
        let control = Control::start(Sled::new(Arc::new(platform), Budget::new(0))).unwrap();
        let (release, released) = channel::<()>();
        let (held, holds) = channel::<()>();
        let hung = std::thread::spawn(move || {
            core.call(move |_| {
                held.send(()).unwrap();
                let _ = released.recv();
            });
        });
        holds.recv().unwrap();
        rig.manager.watch(control.clone()).unwrap();
        rig.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(rig.next().is_err(), "no message while the core hangs");
        rig.socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        release.send(()).unwrap();
        assert_eq!(rig.next().unwrap(), "WATCHDOG=1");
        assert_eq!(rig.next().unwrap(), "WATCHDOG=1");
        hung.join().unwrap();
    }

    #[test]
    fn a_socket_has_a_path_or_an_abstract_name() {
        assert!(address(OsStr::new("/run/x")).is_some_and(|address| address.as_pathname().is_some()));
        assert!(address(OsStr::new("@x")).is_some_and(|address| address.as_abstract_name() == Some(b"x")));
        assert!(address(OsStr::new("x")).is_none());
    }
}
