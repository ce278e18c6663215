//! Guests that misuse the control queue.

use crate::rig::client::until;
use crate::scene::{Command, Scene, at, slow_unit, unit};
use luge_spec::virtio::scsi::{REQUEST_QUEUE, Response, TaskManagementFunction as Function};

#[test]
fn hundreds_of_functions_that_nobody_waits_for_delay_nobody_else() {
    let mut scene = Scene::new();
    let (slow, delay) = slow_unit();
    scene.hba().add_lun(at(0, 0), &slow).unwrap();
    scene.hba().add_lun(at(1, 0), &unit()).unwrap();
    [at(0, 0), at(1, 0)].into_iter().for_each(|lun| scene.settle(lun));
    delay.hold();
    let stuck = scene.send(&Command::read(at(0, 0), 0, 1).tagged(1));
    until(|| scene.function(Function::QUERY_TASK, at(0, 0), 1) == Response::FUNCTION_SUCCEEDED);
    // As many as the ring has room for wait, all for the same request.
    let waiting: Vec<_> =
        (0..30).map(|_| scene.send_function(Function::LOGICAL_UNIT_RESET, at(0, 0), 0)).collect();
    assert!(scene.no_function_is_answered());
    for lba in 0..200 {
        assert_eq!(scene.command(&Command::read(at(1, 0), lba, 1).by(REQUEST_QUEUE + 1)).status, 0);
    }
    scene.hba().add_lun(at(2, 0), &unit()).unwrap();
    scene.settle_by(at(2, 0), REQUEST_QUEUE + 1);
    delay.release();
    for sent in &waiting {
        assert_eq!(scene.await_function(sent), Response::FUNCTION_COMPLETE);
    }
    scene.used(REQUEST_QUEUE);
    assert_eq!(scene.end_of(&stuck).response, Response::RESET);
    for round in 0..500 {
        let function = if round % 2 == 0 { Function::LOGICAL_UNIT_RESET } else { Function::ABORT_TASK_SET };
        assert_eq!(scene.function(function, at(0, 0), 0), Response::FUNCTION_COMPLETE);
    }
    scene.settle(at(0, 0));
}
