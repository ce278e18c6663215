//! Many LUNs.

use crate::scene::{Command, Scene, at, unit};
use luge_spec::virtio::scsi::EventKind;

#[test]
fn a_thousand_luns_of_all_targets_come_serve_and_go() {
    let mut scene = Scene::new();
    let places: Vec<_> = (0..1000_u32)
        .map(|n| at(u8::try_from(n % 256).unwrap(), u8::try_from(n / 256 * 85).unwrap()))
        .collect();
    places.iter().for_each(|&place| scene.hba().add_lun(place, &unit()).unwrap());
    assert_eq!(scene.hba().luns().len(), places.len());
    for &place in places.iter().step_by(97) {
        scene.settle(place);
        assert_eq!(scene.past_attentions(&Command::read(place, 0, 1)).status, 0);
    }
    assert_eq!(scene.past_attentions(&Command::report_luns(0)).data[..4], (4_u32 * 8).to_be_bytes());
    (0..64).for_each(|_| assert_eq!(scene.next_event().kind, EventKind::TRANSPORT_RESET));
    assert_eq!(scene.next_event().kind, EventKind::NONE.with_missed());
    places.iter().for_each(|&place| scene.hba().remove_lun(place).unwrap());
    assert!(scene.hba().luns().is_empty());
}
