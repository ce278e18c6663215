//! Many LUNs.

use crate::rig::house::House;
use crate::scene::{Command, Scene, at, unit_of};
use luge_block::{Blocks, Lba};
use luge_spec::virtio::scsi::EventKind;
use luge_vhost::LunAddress;
use luge_volume::Volume;

/// Places of LUNs at all targets.
fn places(count: u32) -> impl Iterator<Item = LunAddress> {
    (0..count).map(|n| at(u8::try_from(n % 256).unwrap(), u8::try_from(n / 256 * 85).unwrap()))
}

#[test]
fn a_thousand_luns_come_serve_and_go() {
    let mut scene = Scene::new();
    let disk = Volume::whole(House::disk());
    for (place, n) in places(1000).zip(0..) {
        scene.hba().add_lun(place, &unit_of(disk.part(Lba(2 * n), Blocks(2)).unwrap())).unwrap();
    }
    assert_eq!(scene.hba().luns().len(), 1000);
    for place in places(1000).step_by(97) {
        scene.settle(place);
        let data = vec![place.target; 1024];
        assert_eq!(scene.command(&Command::write(place, 0, &data)).status, 0, "{place}");
        assert_eq!(scene.command(&Command::read(place, 0, 2)).data, data, "{place}");
    }
    assert_eq!(scene.past_attentions(&Command::report_luns(0)).data[..4], (4_u32 * 8).to_be_bytes());
    assert_eq!(scene.next_event().kind, EventKind::TRANSPORT_RESET.with_missed());
    places(1000).step_by(97).for_each(|place| scene.hba().remove_lun(place).unwrap());
    assert_eq!(scene.hba().luns().len(), 1000 - 11);
}
