//! Endpoints start, refuse to start, and stop.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_vhost::{Access, BlkConfig, BlkDevice, BlkError, Endpoint, EndpointError, SocketError};
use rig::Ask;
use rig::client::{Client, Guest, Message, code, until};
use rig::house::{House, use_disk};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

#[test]
fn an_endpoint_that_cannot_be_says_why_and_leaves_nothing() {
    let house = House::new();
    let refused = |change: &dyn Fn(&mut BlkConfig)| {
        let mut config = house.disk_config(House::disk());
        change(&mut config);
        BlkDevice::open(config).err().unwrap()
    };
    assert!(matches!(refused(&|config| config.queues = 0), BlkError::Queues(0)));
    assert!(matches!(refused(&|config| config.queues = 257), BlkError::Queues(257)));
    assert!(matches!(refused(&|config| config.cores.clear()), BlkError::NoCores));
    let disk = Arc::new(BlkDevice::open(house.disk_config(House::disk())).unwrap());
    let alive = Endpoint::start(house.config(0, disk)).err().unwrap();
    assert!(matches!(alive, EndpointError::Socket(SocketError::Alive(_))));
    assert!(alive.to_string().contains(house.path(0).to_str().unwrap()), "{alive}");
    let mut guest = Guest::new(1);
    let _client = guest.connect(&house.path(0));
    use_disk(&mut guest);
}

#[test]
fn a_read_only_endpoint_says_so_and_refuses_writes() {
    let mut house = House::on(&[]);
    let config = BlkConfig { access: Access::ReadOnly, ..house.disk_config(House::disk()) };
    let disk = house.serve(0, config);
    let mut guest = Guest::new(1);
    let client = guest.connect(&house.path(0));
    let features = client.number(&Message::get(code::GET_FEATURES, vec![])).unwrap();
    assert_eq!(features & (1 << 5 | 1 << 13 | 1 << 14), 1 << 5);
    assert_eq!(guest.rings[0].ask(&Ask::write(0, &[0; 512])).status, 1);
    assert_eq!(guest.rings[0].ask(&Ask::read(0, 512)).status, 0);
    assert!(disk.is_read_only());
}

#[test]
fn a_stop_waits_for_every_request_that_was_taken() {
    let (mut house, delay) = House::slow(&[House::disk()]);
    let [mut guest, mut other] = [Guest::new(1), Guest::new(1)];
    let _clients = [guest.connect(&house.path(0)), other.connect(&house.path(1))];
    delay.hold();
    let sent: Vec<_> = (0..10).map(|n| guest.rings[0].send(&Ask::read(n, 512))).collect();
    until(|| house.endpoint(0).status().front_end.unwrap().queues[0].in_flight == 10);
    let endpoint = house.endpoints.remove(0);
    let (stopped, is_stopped) = channel();
    let stopping = std::thread::spawn(move || {
        endpoint.stop();
        stopped.send(()).unwrap();
    });
    // Others are served while it waits, and it waits for the last one.
    for _ in 0..9 {
        delay.let_pass(1);
        use_disk(&mut other);
        assert!(is_stopped.try_recv().is_err());
    }
    delay.release();
    stopping.join().unwrap();
    is_stopped.try_recv().unwrap();
    let mut answered = std::iter::from_fn(|| guest.rings[0].queue.driver.take_used()).count();
    assert_eq!(answered, sent.len());
    answered = guest.rings[0].queue.driver.lent();
    assert_eq!(answered, 0);
    assert!(!house.path(0).exists());
}

#[test]
fn what_is_in_flight_is_answered_when_a_front_end_dies() {
    let (house, delay) = House::slow(&[]);
    let mut guest = Guest::new(2);
    let client = guest.connect(&house.path(0));
    delay.hold();
    for ring in &mut guest.rings {
        (0..10).for_each(|n| _ = ring.send(&Ask::read(n, 512)));
    }
    let in_flight = || {
        let front_end = house.endpoint(0).status().front_end;
        front_end.map(|front_end| front_end.queues.iter().map(|queue| queue.in_flight).sum::<u32>())
    };
    until(|| in_flight() == Some(20));
    drop(client);
    delay.release();
    until(|| house.endpoint(0).status().front_end.is_none());
    for ring in &mut guest.rings {
        assert_eq!(std::iter::from_fn(|| ring.queue.driver.take_used()).count(), 10);
    }
}

#[test]
fn a_front_end_has_left_only_when_its_last_request_is_answered() {
    let (house, delay) = House::slow(&[]);
    let departure = house.endpoint(0).departure();
    assert!(departure.wait(Duration::ZERO));
    let mut guest = Guest::new(1);
    let client = guest.connect(&house.path(0));
    delay.hold();
    guest.rings[0].send(&Ask::read(0, 512));
    until(|| house.endpoint(0).status().front_end.unwrap().queues[0].in_flight == 1);
    drop(client);
    assert!(!departure.wait(Duration::ZERO));
    delay.release();
    assert!(departure.wait(Duration::from_secs(30)));
    assert!(house.endpoint(0).status().front_end.is_none());
}

#[test]
fn stopping_an_endpoint_that_nobody_uses_or_waits_at_removes_it() {
    let mut house = House::new();
    let _first = Client::connect(&house.path(0));
    let second = Client::connect(&house.path(0));
    house.endpoints.remove(0).stop();
    assert!(second.is_cut_off());
    assert!(!house.path(0).exists());
    assert!(UnixStream::connect(house.path(0)).is_err());
    house.serve(0, house.disk_config(House::disk()));
    let mut guest = Guest::new(1);
    let _client = guest.connect(&house.path(0));
    use_disk(&mut guest);
}
