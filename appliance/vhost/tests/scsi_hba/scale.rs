//! Many LUNs.

use crate::rig::house::House;
use crate::scene::{BLOCK, Command, Scene, at, unit_of};
use luge_block::{Blocks, Lba, NullDevice, Shape};
use luge_spec::virtio::scsi::EventKind;
use luge_vhost::LunAddress;
use luge_volume::Volume;
use std::sync::Arc;

/// Places of LUNs at all targets.
fn places(count: u32) -> impl Iterator<Item = LunAddress> {
    (0..count).map(|n| at(u8::try_from(n % 256).unwrap(), u8::try_from(n / 256 * 85).unwrap()))
}

/// Number of LUNs of an adapter that is full: as many as the numbers of volumes of a core.
const ALL: u32 = 256 * 256;

/// Operators that add LUNs at the same time.
const OPERATORS: u32 = 16;

/// Place of LUN `n`, one after the other at all targets.
fn place(n: u32) -> LunAddress {
    at(u8::try_from(n % 256).unwrap(), u8::try_from(n / 256).unwrap())
}

/// All LUNs that an adapter can have, in the long form.
#[test]
fn operators_add_luns_at_all_targets_at_the_same_time() {
    let count = if std::env::var_os("LUGE_FUZZ_SECONDS").is_some() { ALL } else { 1024 };
    let mut scene = Scene::new();
    let disk = Volume::whole(Arc::new(NullDevice::new(Shape::new(BLOCK, Blocks(ALL.into())).unwrap())));
    let (hba, disk) = (scene.hba().clone(), &disk);
    std::thread::scope(|scope| {
        for first in 0..OPERATORS {
            let hba = &hba;
            scope.spawn(move || {
                for n in (first..count).step_by(OPERATORS as usize) {
                    hba.add_lun(place(n), &unit_of(disk.part(Lba(n.into()), Blocks(1)).unwrap())).unwrap();
                }
            });
        }
    });
    drop(hba);
    let last = place(count - 1);
    scene.settle(last);
    assert_eq!(scene.command(&Command::read(last, 0, 1)).status, 0);
    let luns = scene.past_attentions(&Command::report_luns(last.target)).data;
    assert_eq!(luns[..4], (8 * count / 256).to_be_bytes());
    scene.hba().remove_lun(last).unwrap();
    assert_eq!(scene.hba().luns().len(), count as usize - 1);
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
