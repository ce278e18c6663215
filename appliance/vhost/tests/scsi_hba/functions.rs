//! Task management functions.

use crate::rig::client::until;
use crate::scene::{Command, Scene, SentCommand, at, slow_unit, unit};
use luge_spec::virtio::scsi::{REQUEST_QUEUE, Response, TaskManagementFunction as Function};
use luge_volume::doubles::Delay;

/// A scene with a LUN that is held, at target 0, and another one at target 1.
fn held() -> (Scene, Delay) {
    let mut scene = Scene::new();
    let (slow, delay) = slow_unit();
    scene.hba().add_lun(at(0, 0), &slow).unwrap();
    scene.hba().add_lun(at(1, 0), &unit()).unwrap();
    [at(0, 0), at(1, 0)].into_iter().for_each(|lun| scene.settle(lun));
    delay.hold();
    (scene, delay)
}

/// Sends reads with these tags, and waits until the volume has them.
fn stuck(scene: &mut Scene, tags: &[u64]) -> Vec<SentCommand> {
    let sent = tags.iter().map(|&tag| scene.send(&Command::read(at(0, 0), 0, 1).tagged(tag))).collect();
    for &tag in tags {
        until(|| scene.function(Function::QUERY_TASK, at(0, 0), tag) == Response::FUNCTION_SUCCEEDED);
    }
    sent
}

#[test]
fn a_task_that_is_aborted_ends_as_aborted_before_the_function_does() {
    let (mut scene, delay) = held();
    let sent = stuck(&mut scene, &[10, 11]);
    let abort = scene.send_function(Function::ABORT_TASK, at(0, 0), 10);
    for lba in 0..10 {
        assert_eq!(scene.command(&Command::read(at(1, 0), lba, 1).by(REQUEST_QUEUE + 1)).status, 0);
    }
    // A later function is answered, so this one has begun.
    assert_eq!(scene.function(Function::QUERY_TASK, at(1, 0), 1), Response::FUNCTION_COMPLETE);
    assert!(scene.no_function_is_answered(), "its memory may still be written");
    delay.release();
    assert_eq!(scene.await_function(&abort), Response::FUNCTION_COMPLETE);
    let used: Vec<_> = std::iter::from_fn(|| scene.ring(REQUEST_QUEUE).queue.driver.take_used()).collect();
    assert_eq!(used[0].0, sent[0].head, "used before the function");
    assert_eq!(scene.end_of(&sent[0]).response, Response::ABORTED);
    if used.len() < 2 {
        scene.used(REQUEST_QUEUE);
    }
    assert_eq!(scene.end_of(&sent[1]).response, Response::OK, "the other task goes on");
}

fn all_tasks_end(function: Function, response: Response) {
    let (mut scene, delay) = held();
    let sent = stuck(&mut scene, &[1, 2, 3]);
    let waiting = scene.send_function(function, at(0, 0), 0);
    assert_eq!(scene.function(Function::QUERY_TASK, at(1, 0), 1), Response::FUNCTION_COMPLETE);
    assert!(scene.no_function_is_answered());
    delay.release();
    assert_eq!(scene.await_function(&waiting), Response::FUNCTION_COMPLETE);
    for sent in &sent {
        assert_eq!(scene.ring(REQUEST_QUEUE).queue.driver.take_used().map(|(head, _)| head), Some(sent.head));
        assert_eq!(scene.end_of(sent).response, response);
    }
}

#[test]
fn abort_task_set_ends_all_tasks_of_the_lun() {
    all_tasks_end(Function::ABORT_TASK_SET, Response::ABORTED);
}

#[test]
fn clear_task_set_ends_all_tasks_of_the_lun() {
    all_tasks_end(Function::CLEAR_TASK_SET, Response::ABORTED);
}

#[test]
fn logical_unit_reset_ends_all_tasks_of_the_lun() {
    all_tasks_end(Function::LOGICAL_UNIT_RESET, Response::RESET);
}

#[test]
fn i_t_nexus_reset_ends_all_tasks_of_the_target() {
    all_tasks_end(Function::I_T_NEXUS_RESET, Response::RESET);
}

#[test]
fn a_reset_is_told_by_a_unit_attention() {
    let (mut scene, delay) = held();
    delay.release();
    assert_eq!(scene.function(Function::LOGICAL_UNIT_RESET, at(0, 0), 0), Response::FUNCTION_COMPLETE);
    assert_eq!(scene.command(&Command::read(at(0, 0), 0, 1)).sense_code(), Some(0x2903));
    assert_eq!(scene.command(&Command::read(at(0, 0), 0, 1)).status, 0);
    assert_eq!(scene.function(Function::I_T_NEXUS_RESET, at(0, 0), 0), Response::FUNCTION_COMPLETE);
    assert_eq!(scene.command(&Command::read(at(0, 0), 0, 1)).sense_code(), Some(0x2907));
    assert_eq!(scene.command(&Command::read(at(0, 0), 0, 1)).status, 0);
    assert_eq!(scene.command(&Command::read(at(1, 0), 0, 1)).status, 0, "that is another nexus");
}

#[test]
fn functions_about_nothing_say_so() {
    let (mut scene, delay) = held();
    delay.release();
    assert_eq!(
        scene.function(Function::ABORT_TASK, at(0, 0), 99),
        Response::FUNCTION_COMPLETE,
        "it may have ended"
    );
    assert_eq!(scene.function(Function::QUERY_TASK, at(0, 0), 99), Response::FUNCTION_COMPLETE);
    assert_eq!(scene.function(Function::QUERY_TASK_SET, at(0, 0), 0), Response::FUNCTION_COMPLETE);
    assert_eq!(scene.function(Function::CLEAR_ACA, at(0, 0), 0), Response::FUNCTION_REJECTED);
    assert_eq!(scene.function(Function::LOGICAL_UNIT_RESET, at(0, 7), 0), Response::INCORRECT_LUN);
    assert_eq!(scene.function(Function::LOGICAL_UNIT_RESET, at(7, 0), 0), Response::BAD_TARGET);
    assert_eq!(scene.function(Function::I_T_NEXUS_RESET, at(0, 7), 0), Response::FUNCTION_COMPLETE);
    assert_eq!(scene.function(Function::I_T_NEXUS_RESET, at(7, 0), 0), Response::BAD_TARGET);
}

#[test]
fn functions_that_wait_do_not_wait_for_each_other() {
    let (mut scene, delay) = held();
    let sent = stuck(&mut scene, &[1, 2]);
    let first = scene.send_function(Function::ABORT_TASK, at(0, 0), 1);
    let second = scene.send_function(Function::ABORT_TASK, at(0, 0), 2);
    assert_eq!(scene.function(Function::ABORT_TASK_SET, at(1, 0), 0), Response::FUNCTION_COMPLETE);
    delay.let_pass(1);
    assert_eq!(scene.await_function(&first), Response::FUNCTION_COMPLETE);
    assert_eq!(scene.end_of(&sent[0]).response, Response::ABORTED);
    assert!(scene.no_function_is_answered());
    delay.release();
    assert_eq!(scene.await_function(&second), Response::FUNCTION_COMPLETE);
}
