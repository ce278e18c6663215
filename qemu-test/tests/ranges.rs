//! A stock Linux guest discards, zeroes and trims whole disks, in ranges of the length that it likes.
//! The VM has an NVDIMM on a file besides its memory. Luge does not use it, and serves the disk.

use luge_qemu_test::{Bench, Boot, Daemon, Deadline, Disk, Lab, Machine, Nvdimm, Serve, TestError};
use serde_json::json;
use std::fs;
use std::path::Path;

/// Time limit of one step of the guest.
const STEP_SECONDS: u32 = 240;

const DISK_MIB: u64 = 32;
const NVDIMM_MIB: u32 = 64;

fn make_file(path: &Path, mib: u64) -> Result<(), TestError> {
    let made = fs::File::create_new(path).and_then(|file| file.set_len(mib << 20));
    made.map_err(|error| TestError::Host(format!("making {}: {error}", path.display())))
}

/// Serves a disk in memory, which takes a mebibyte at once, and a file, of which holes are made.
fn serve(bench: &Bench<'_>) -> Result<Daemon, TestError> {
    make_file(&bench.path("file"), DISK_MIB)?;
    let mut daemon = Serve { memory_mib: 64, ..Serve::default() }.start(bench)?;
    let memory = json!({ "name": "Malloc0", "num_blocks": DISK_MIB << 11, "block_size": 512 });
    daemon.rpc.call("bdev_malloc_create", memory)?;
    let file = json!({ "name": "Aio0", "filename": bench.path("file"), "block_size": 512 });
    daemon.rpc.call("bdev_aio_create", file)?;
    for (disk, bdev) in [("memory", "Malloc0"), ("file", "Aio0")] {
        daemon.rpc.call("vhost_create_blk_controller", json!({ "ctrlr": disk, "dev_name": bdev }))?;
    }
    Ok(daemon)
}

fn machine(bench: &Bench<'_>, daemon: &Daemon) -> Result<Machine, TestError> {
    make_file(&bench.path("nvdimm"), NVDIMM_MIB.into())?;
    let script = include_str!("ranges.sh");
    let guest = bench.lab().guest()?.with_script("ranges", script, &bench.path("initramfs"))?;
    let boot = Boot::Kernel {
        kernel: guest.kernel,
        initramfs: guest.initramfs,
        arguments: "luge.guest=ranges".to_owned(),
    };
    let disks = ["memory", "file"].map(|disk| Disk { socket: daemon.socket(disk), queues: 1 }).into();
    let nvdimm = Some(Nvdimm { file: bench.path("nvdimm"), size_mib: NVDIMM_MIB });
    Ok(Machine { disks, nvdimm, ..Machine::new("guest", boot) })
}

#[test]
fn a_linux_guest_discards_zeroes_and_trims_whole_disks() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("ranges")?;
    let _turn = lab.turn()?;
    let daemon = serve(&bench)?;
    let mut guest = machine(&bench, &daemon)?.start(&bench)?;
    let said = |word: &str| guest.process.output.wait_line(word, Deadline::within(STEP_SECONDS));

    // A disk in memory is as good by the block; a file is best used by the page.
    for (disk, best, optimal) in [("vda", 512, 0), ("vdb", 4096, 4096)] {
        let number = |name: &str| said(&format!("{disk} {name}="));
        assert_eq!(number("logical_block_size")?, "512", "{disk}");
        assert_eq!(number("physical_block_size")?, best.to_string(), "{disk}");
        assert_eq!(number("minimum_io_size")?, best.to_string(), "{disk}");
        assert_eq!(number("optimal_io_size")?, optimal.to_string(), "{disk}");
        assert_eq!(number("discard_granularity")?, best.to_string(), "{disk}");
        for name in ["discard_max_bytes", "write_zeroes_max_bytes"] {
            let most: Option<u64> = number(name)?.parse().ok();
            assert!(most > Some(1 << 30), "{disk} takes {most:?} bytes at once: {name}");
        }
        assert_eq!(number("discarded")?, number("zeroes")?, "{disk} after a discard of all of it");
        assert_ne!(number("trimmed")?, "0", "{disk}");
        assert_eq!(number("kept")?, "yes", "{disk} after fstrim");
        assert_eq!(number("fsck")?, "clean", "{disk}");
    }
    assert_eq!(said("ERRORS ")?, "0");
    assert_eq!(said("LUGE-GUEST done status=")?, "0");
    guest.process.wait(Deadline::within(60))?;
    Ok(())
}
