//! Servers that lie: every reply is checked, and waited for no longer than a reply may take.

use super::refusal;
use super::server::{Lie, Script};
use luge_memory::{DmaSpace, MemoryAccess};
use luge_spec::vfio_user::Command;
use luge_vfio::{VfioUser, VfioUserError};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

/// Commands of an attach.
const COMMANDS: [Command; 7] = [
    Command::VERSION,
    Command::GET_INFO,
    Command::GET_REGION_INFO,
    Command::GET_IRQ_INFO,
    Command::REGION_READ,
    Command::REGION_WRITE,
    Command::DEVICE_RESET,
];

fn lie(command: Command, lie: Lie) -> Script {
    Script { lie: Some((command, lie)), ..Script::default() }
}

#[test]
fn a_server_that_lies_in_any_reply_is_refused_in_bounded_time() {
    let lies = [
        Lie::Silence,
        Lie::HangUp,
        Lie::WrongId,
        Lie::WrongCommand,
        Lie::Size(0),
        Lie::Size(15),
        Lie::Size(4096 + 17),
        Lie::Size(u32::MAX),
        Lie::HalfAReply,
        Lie::Commands(17),
        Lie::Descriptors(9),
        Lie::Refusal(22),
        Lie::Refusal(u32::MAX),
    ];
    for command in COMMANDS {
        for told in lies {
            let start = Instant::now();
            let error = refusal(lie(command, told)).to_string();
            assert!(start.elapsed() < Duration::from_secs(2), "{command} {told:?}: {:?}", start.elapsed());
            assert!(error.contains("cntrl"), "{error}");
        }
    }
}

#[test]
fn a_reply_that_is_too_short_is_refused() {
    for command in [Command::VERSION, Command::GET_INFO, Command::GET_REGION_INFO, Command::GET_IRQ_INFO] {
        let error = refusal(lie(command, Lie::Short(1)));
        assert!(matches!(error, VfioUserError::Server { .. }), "{command}: {error}");
    }
    assert!(refusal(lie(Command::REGION_READ, Lie::Short(1))).to_string().contains("another length"));
}

#[test]
fn commands_of_a_server_are_refused_and_do_no_harm() {
    let rig = super::Rig::new(lie(Command::GET_INFO, Lie::Commands(16 - 1)));
    rig.function.set_bus_master(MemoryAccess::Allowed).unwrap();
    assert_eq!(rig.server.state().refusals, 15);
}

#[test]
fn descriptors_that_nobody_asked_for_do_no_harm() {
    let rig = super::Rig::new(lie(Command::DEVICE_RESET, Lie::Descriptors(8)));
    assert_eq!(rig.function.read32(0), 0);
}

#[test]
fn a_server_that_is_no_nvme_controller_is_refused_by_its_class() {
    let error = refusal(Script { class: Some([0, 0, 2]), ..Script::default() }).to_string();
    assert!(error.contains("its PCI class is 020000, not 010802"), "{error}");
}

#[test]
fn a_missing_server_and_a_path_that_is_too_long_are_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let client = VfioUser::new(DmaSpace::new());
    for path in [folder.path().join("nothing"), folder.path().to_owned(), folder.path().join("x".repeat(120))]
    {
        let error = client.open_function(&path).err().unwrap().to_string();
        assert!(error.contains("start the server first"), "{error}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_server_with_another_client_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cntrl");
    let _listener = UnixListener::bind(&path).unwrap();
    assert!(is_busy(&path));
    // Connections fill the queue of those that wait to be accepted: the kernel lets nobody connect then.
    let waiting = std::iter::repeat_with(|| {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let address = rustix::net::SocketAddrUnix::new(&path).unwrap();
        rustix::net::connect(&socket, &address).ok().map(|()| socket)
    });
    let waiting: Vec<_> = waiting.map_while(|socket| socket).take(10_000).collect();
    assert!(waiting.len() < 10_000);
    assert!(is_busy(&path));
}

fn is_busy(path: &Path) -> bool {
    let client = VfioUser::new(DmaSpace::new()).with_reply_time(Duration::from_millis(40));
    matches!(client.open_function(path).err(), Some(VfioUserError::Busy { .. }))
}

#[test]
fn noise_in_any_reply_does_no_harm() {
    luge_seeded::fuzz(|random| {
        let noise = Lie::Noise(random.below(u64::MAX));
        let script = lie(random.pick(&COMMANDS), noise);
        let server = super::server::Server::start(script);
        let client = VfioUser::new(DmaSpace::new()).with_reply_time(Duration::from_millis(10));
        if let Ok(function) = client.open_function(&server.folder()) {
            let _ = function.registers(0x1000, 8);
            function.write32(0x14, 1);
            let _ = function.read32(0x1c);
            let _ = function.enable_interrupts(1);
            let _ = function.reset();
        }
    });
}
