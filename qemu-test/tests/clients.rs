//! QEMU's own vhost-user-blk clients against `luge serve`.
//!
//! Not here: a guest's driver; see `guest.rs`.

use luge_qemu_test::{Bench, BlockClient, Daemon, Deadline, Lab, Serve, TestError};
use luge_seeded::Random;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;

type Outcome = Result<(), TestError>;

/// A bench and a daemon that serves one disk, `disk`.
struct Rig {
    daemon: Daemon,
    bench: Bench<'static>,
}

impl Rig {
    fn new(name: &str) -> Result<Self, TestError> {
        let bench = Lab::shared().bench(name)?;
        let daemon = Serve::default().start(&bench)?;
        Ok(Self { daemon, bench })
    }

    /// Makes a bdev and serves it as `disk`.
    fn serve(mut self, method: &str, params: Value) -> Result<Self, TestError> {
        let bdev = self.daemon.rpc.call(method, params)?;
        let params = json!({ "ctrlr": "disk", "dev_name": bdev });
        self.daemon.rpc.call("vhost_create_blk_controller", params)?;
        Ok(self)
    }

    /// 64 MiB of memory, in blocks of 512 bytes.
    fn memory(name: &str) -> Result<Self, TestError> {
        let params = json!({ "name": "Malloc0", "num_blocks": 64 << 11, "block_size": 512 });
        let serve = Serve { memory_mib: 128, ..Serve::default() };
        let bench = Lab::shared().bench(name)?;
        Self { daemon: serve.start(&bench)?, bench }.serve("bdev_malloc_create", params)
    }

    /// Deletes `disk` as soon as its last client is noticed to have gone.
    fn unserve(&mut self) -> Outcome {
        let deleted = Deadline::within(60).poll(|| {
            let deleted = self.daemon.rpc.call("vhost_delete_controller", json!({ "ctrlr": "disk" }));
            (!matches!(&deleted, Err(TestError::Refused { answer, .. }) if answer["code"] == -16))
                .then_some(deleted)
        });
        deleted
            .unwrap_or_else(|| Err(TestError::Host("the client is never noticed to have gone".to_owned())))
            .map(drop)
    }

    fn client(&self) -> BlockClient<'_> {
        BlockClient::new(&self.bench, &self.daemon.socket("disk"))
    }
}

#[test]
fn a_daemon_has_loaded_its_configuration_when_its_start_returns() -> Outcome {
    let bench = Lab::shared().bench("client-configuration")?;
    let call = |n: u32| {
        let params = json!({ "name": format!("Null{n}"), "num_blocks": 2048, "block_size": 512 });
        json!({ "method": "bdev_null_create", "params": params })
    };
    let calls: Vec<Value> = (0..500).map(call).collect();
    let configuration = json!({ "subsystems": [{ "subsystem": "bdev", "config": calls }] });
    let file = bench.path("configuration.json");
    fs::write(&file, configuration.to_string()).map_err(|error| TestError::Host(error.to_string()))?;
    let arguments = vec!["-c".to_owned(), file.display().to_string()];
    let mut daemon = Serve { arguments, ..Serve::default() }.start(&bench)?;
    daemon.rpc.call("bdev_get_bdevs", json!({ "name": "Null499" })).map(drop)
}

#[test]
fn a_daemon_that_waits_for_a_call_to_begin_has_started() -> Outcome {
    let bench = Lab::shared().bench("client-waiting")?;
    let arguments = vec!["--wait-for-rpc".to_owned()];
    let mut daemon = Serve { arguments, ..Serve::default() }.start(&bench)?;
    daemon.rpc.call("framework_start_init", json!({}))?;
    assert_eq!(daemon.rpc.call("bdev_get_bdevs", json!({}))?, json!([]));
    Ok(())
}

#[test]
fn what_is_written_is_read_back_at_both_ends_and_in_every_size() -> Outcome {
    let rig = Rig::memory("patterns")?;
    let client = rig.client();
    client.io(&[
        "write -P 0x11 0 512",
        "write -P 0x22 4k 64k",
        "write -P 0x33 1M 1M",
        "writev -P 0x44 8M 512 1024 4096 65536",
        "write -P 0x55 67108352 512",
        "flush",
    ])?;
    client.io(&[
        "read -P 0x11 0 512",
        "read -P 0 512 3584",
        "read -P 0x22 4k 64k",
        "read -P 0x33 1M 1M",
        "readv -P 0x44 8M 65536 4096 1024 512",
        "read -P 0x55 67108352 512",
    ])?;
    Ok(())
}

#[test]
fn what_lies_past_the_end_is_refused_and_the_disk_works_on() -> Outcome {
    let rig = Rig::memory("past-the-end")?;
    let client = rig.client();
    for command in ["read 64M 512", "write 64M 512", "read 67108352 1024", "discard 64M 4k"] {
        client.io_refused(command)?;
    }
    client.io(&["write -P 1 0 4k", "read -P 1 0 4k"])?;
    Ok(())
}

#[test]
fn zeroes_are_written_without_data_and_discards_are_taken() -> Outcome {
    let rig = Rig::memory("zeroes")?;
    rig.client().io(&[
        "write -P 0xff 0 1M",
        "write -z 64k 128k",
        "write -z -u 512k 64k",
        "discard 768k 64k",
        "read -P 0xff 0 64k",
        "read -P 0 64k 128k",
        "read -P 0xff 192k 320k",
        "read -P 0 512k 64k",
    ])?;
    Ok(())
}

#[test]
fn a_sparse_image_copied_to_a_memory_disk_replaces_all_that_was_there() -> Outcome {
    let rig = Rig::memory("sparse")?;
    let image = rig.bench.path("image");
    let file = fs::File::create_new(&image).map_err(unreadable)?;
    file.set_len(64 << 20).map_err(unreadable)?;
    file.write_all_at(&[0x5a; 1 << 20], 40 << 20).map_err(unreadable)?;
    rig.client().io(&["write -P 0xff 0 64M"])?;
    rig.client().copy_from(&image)?;
    rig.client().io(&["read -P 0 0 40M", "read -P 0x5a 40M 1M", "read -P 0 41M 23M"])?;
    Ok(())
}

#[test]
fn a_whole_disk_is_zeroed_or_discarded_by_one_command() -> Outcome {
    for (name, command) in [("zero-all", "write -z 0 64M"), ("discard-all", "discard 0 64M")] {
        let rig = Rig::memory(name)?;
        rig.client().io(&["write -P 0xff 0 64M", command, "read -P 0 0 64M"])?;
    }
    Ok(())
}

#[test]
fn blocks_of_four_kibibytes_are_served() -> Outcome {
    let params = json!({ "name": "Malloc0", "num_blocks": 4096, "block_size": 4096 });
    let rig = Rig::new("4k")?.serve("bdev_malloc_create", params)?;
    rig.client().io(&["write -P 7 4k 8k", "read -P 7 4k 8k", "read -P 0 0 4k", "write -P 8 16773120 4k"])?;
    Ok(())
}

#[test]
fn a_read_only_disk_refuses_to_change() -> Outcome {
    let mut rig = Rig::memory("read-only")?;
    rig.client().io(&["write -P 9 0 4k"])?;
    rig.unserve()?;
    let params = json!({ "ctrlr": "disk", "dev_name": "Malloc0", "readonly": true });
    rig.daemon.rpc.call("vhost_create_blk_controller", params)?;
    for command in ["write -P 1 0 4k", "write -z 0 4k", "discard 0 4k"] {
        rig.client().io_refused(command)?;
    }
    rig.unserve()?;
    rig.daemon.rpc.call("vhost_create_blk_controller", json!({ "ctrlr": "disk", "dev_name": "Malloc0" }))?;
    rig.client().io(&["read -P 9 0 4k"])?;
    Ok(())
}

#[test]
fn a_null_disk_answers_many_requests_at_once() -> Outcome {
    let params = json!({ "name": "Null0", "num_blocks": 1 << 21, "block_size": 512 });
    let rig = Rig::new("null")?.serve("bdev_null_create", params)?;
    let client = rig.client();
    client.bench(50_000, 64, &[])?;
    client.bench(50_000, 128, &["-w"])?;
    client.bench(2_000, 16, &["-s", "1M"])?;
    Ok(())
}

#[test]
fn an_image_copied_to_a_file_disk_is_there_in_the_file() -> Outcome {
    let bench = Lab::shared().bench("file")?;
    let (image, file) = (bench.path("image"), bench.path("file"));
    fs::write(&image, Random::new(1).bytes(16 << 20)).map_err(|error| TestError::Host(error.to_string()))?;
    fs::write(&file, vec![0; 16 << 20]).map_err(|error| TestError::Host(error.to_string()))?;
    let daemon = Serve::default().start(&bench)?;
    let params = json!({ "name": "Aio0", "filename": file, "block_size": 512 });
    let mut rig = Rig { daemon, bench }.serve("bdev_aio_create", params)?;
    rig.client().copy_from(&image)?;
    rig.client().compare(&image)?;
    rig.client().io(&["write -P 0xab 1M 64k", "flush"])?;
    assert_eq!(fs::read(&file).map_err(|error| TestError::Host(error.to_string()))?[1 << 20], 0xab);
    stop(&mut rig.daemon)?;
    let (image, file) = (fs::read(image), fs::read(file));
    let (image, mut file) = (image.map_err(unreadable)?, file.map_err(unreadable)?);
    file[1 << 20..][..64 << 10].copy_from_slice(&image[1 << 20..][..64 << 10]);
    assert!(image == file, "the file has other bytes than the image");
    Ok(())
}

#[test]
fn clients_come_and_go_even_in_the_middle_of_their_work() -> Outcome {
    let mut rig = Rig::memory("coming-and-going")?;
    for pattern in 1..10 {
        rig.client().io(&[&format!("write -P {pattern} 0 64k"), &format!("read -P {pattern} 0 64k")])?;
    }
    let mut done = counter(&mut rig, "num_read_ops")?;
    for _ in 0..3 {
        let mut busy = rig.client().start_bench(100_000_000, 64)?;
        let worked = Deadline::within(60)
            .poll(|| (counter(&mut rig, "num_read_ops").ok()? > done + 10_000).then_some(()));
        assert!(worked.is_some(), "{}", busy.output.tail());
        busy.kill();
        rig.client().io(&["read -P 9 0 64k"])?;
        done = counter(&mut rig, "num_read_ops")?;
    }
    Ok(())
}

#[test]
fn the_counters_tell_what_the_client_did() -> Outcome {
    let mut rig = Rig::memory("counters")?;
    let names = ["bytes_written", "num_write_ops", "bytes_read"];
    let mut all = || names.iter().map(|name| counter(&mut rig, name)).collect::<Result<Vec<u64>, _>>();
    let before = all()?;
    rig.client().io(&["write -P 1 0 64k", "write -P 1 64k 64k", "read -P 1 0 128k"])?;
    let mut all = || names.iter().map(|name| counter(&mut rig, name)).collect::<Result<Vec<u64>, _>>();
    let more: Vec<u64> = all()?.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(more[..2], [128 << 10, 2], "{names:?}");
    // Opening the disk may read its first sectors.
    assert!(more[2] >= 128 << 10, "{names:?}: {more:?}");
    Ok(())
}

#[test]
fn a_daemon_that_is_asked_to_end_ends_well_and_removes_its_sockets() -> Outcome {
    let mut rig = Rig::memory("end")?;
    let socket = rig.daemon.socket("disk");
    rig.client().io(&["write -P 1 0 4k"])?;
    assert!(socket.exists());
    stop(&mut rig.daemon)?;
    assert!(!socket.exists());
    Ok(())
}

#[test]
fn a_daemon_that_was_killed_leaves_nothing_that_stops_the_next_one() -> Outcome {
    let mut rig = Rig::memory("killed")?;
    rig.daemon.process.kill();
    let status = rig.daemon.process.wait(Deadline::within(60))?;
    assert_eq!(status.signal(), Some(9));
    rig.daemon = Serve::default().start(&rig.bench)?;
    let params = json!({ "name": "Null0", "num_blocks": 2048, "block_size": 512 });
    rig.serve("bdev_null_create", params)?.client().io(&["read 0 4k"])?;
    Ok(())
}

/// A counter of the memory disk.
fn counter(rig: &mut Rig, name: &str) -> Result<u64, TestError> {
    let answer = rig.daemon.rpc.call("bdev_get_iostat", json!({ "names": ["Malloc0"] }))?;
    let counter = answer["bdevs"][0][name].as_u64();
    counter.ok_or_else(|| TestError::Confused { who: "bdev_get_iostat".to_owned(), said: answer.to_string() })
}

fn stop(daemon: &mut Daemon) -> Outcome {
    daemon.process.terminate()?;
    let status = daemon.process.wait(Deadline::within(60))?;
    assert!(status.success(), "{status}: {}", daemon.process.output.tail());
    Ok(())
}

fn unreadable(error: std::io::Error) -> TestError {
    TestError::Host(error.to_string())
}
