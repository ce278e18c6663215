//! A controller behind a vfio-user socket, and one of its namespaces.

use super::pages::BYTES_MAX;
use super::queue::{Format, QueuePair};
use crate::arena::Arena;
use crate::error::BenchError;
use crate::options::Options;
use crate::queue::{Connected, Disk};
use luge_block::{CoreId, Device, Geometry};
use luge_memory::{DmaSpace, PageSize};
use luge_nvme::{Controller, ControllerState, Namespace};
use luge_vfio::VfioUser;
use rustix::net::sockopt::socket_peercred;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A namespace of a controller that is up.
pub(crate) struct NvmeDisk {
    path: PathBuf,
    peer: Option<i32>,
    controller: Arc<Controller>,
    sectors: u64,
    /// Memory of the data. Dropped after the controller was shut down.
    memory: Option<Arena>,
}

impl NvmeDisk {
    /// # Errors
    /// The server or the controller cannot do what is asked, or does wrong.
    pub(crate) fn connect(options: &Options, path: &Path) -> Result<Connected<Self>, BenchError> {
        let space = DmaSpace::new();
        let client = VfioUser::new(space.clone());
        let socket = client.connect(path).map_err(|error| BenchError::Options(error.to_string()))?;
        let peer = socket_peercred(&socket).ok().map(|peer| peer.pid.as_raw_nonzero().get());
        let function = client.attach(socket).map_err(|error| wrong(path, &error))?;
        let controller = Controller::start(function, space.clone(), driver(options));
        let controller = controller.map_err(|error| wrong(path, &error))?;
        let disk = Self { path: path.to_owned(), peer, controller, sectors: 0, memory: None };
        disk.open(options, &space)
    }

    /// Opens the queues on the namespace that was asked for.
    fn open(mut self, options: &Options, space: &Arc<DmaSpace>) -> Result<Connected<Self>, BenchError> {
        let (path, controller) = (&self.path, &self.controller);
        let namespace = namespace(options, path, controller)?;
        let (geometry, id) = (namespace.geometry(), namespace.id().0);
        check(options, controller, &geometry)?;
        let bytes = QueuePair::memory_bytes(options).saturating_mul(options.queues.into());
        let mut memory = Arena::new(space, bytes)?;
        let format = Format { namespace: id, block_bytes: geometry.block_bytes };
        let open = |index| {
            let queue = controller.open_bare_queue(CoreId(index)).map_err(|error| wrong(path, &error))?;
            if queue.entries() <= options.iodepth {
                return Err(BenchError::Options(format!(
                    "--iodepth {}: the queues of {} have {} entries, of which one stays free",
                    options.iodepth,
                    path.display(),
                    queue.entries()
                )));
            }
            Ok(QueuePair::new(queue, options, format, &mut memory))
        };
        let queues = (0..options.queues).map(open).collect::<Result<_, _>>()?;
        self.sectors = geometry.bytes() / 512;
        self.memory = Some(memory);
        Ok(Connected { disk: self, queues })
    }
}

impl Disk for NvmeDisk {
    type Queue = QueuePair;

    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn peer(&self) -> Option<i32> {
        self.peer
    }

    fn check(&mut self, queues: &[QueuePair]) -> Result<bool, BenchError> {
        let serves =
            self.controller.state() == ControllerState::Live && queues.iter().all(QueuePair::is_running);
        if serves { Ok(false) } else { Err(wrong(&self.path, &"the controller was lost, or was reset")) }
    }
}

/// Options of the driver.
fn driver(options: &Options) -> luge_nvme::Options {
    luge_nvme::Options {
        queue_entries: (options.iodepth + 1).next_power_of_two(),
        queue_pairs: options.queues,
        pages: PageSize::Base,
        ..luge_nvme::Options::default()
    }
}

/// The namespace that was asked for, or the first.
fn namespace(
    options: &Options,
    path: &Path,
    controller: &Arc<Controller>,
) -> Result<Arc<Namespace>, BenchError> {
    let all = controller.namespaces();
    let ids: Vec<_> = all.iter().map(|namespace| namespace.id().to_string()).collect();
    let mut wanted = all.into_iter().filter(|namespace| options.nsid.is_none_or(|id| namespace.id().0 == id));
    wanted.next().ok_or_else(|| match (options.nsid, ids.is_empty()) {
        (Some(id), false) => BenchError::Options(format!(
            "--nsid {id}: the namespaces of {} are {}",
            path.display(),
            ids.join(", ")
        )),
        _ => wrong(path, &"the controller has no namespace"),
    })
}

/// Fails unless the namespace is one for these options.
fn check(options: &Options, controller: &Controller, geometry: &Geometry) -> Result<(), BenchError> {
    let refused = |what: String| Err(BenchError::Options(what));
    let &Geometry { block_bytes, transfer_blocks_max, .. } = geometry;
    let most = transfer_blocks_max.saturating_mul(block_bytes).min(BYTES_MAX);
    if options.queues > controller.queue_pairs() {
        let (asked, have) = (options.queues, controller.queue_pairs());
        return refused(format!("--queues {asked}: the controller has {have}, ask for no more"));
    }
    if !options.bs.is_multiple_of(block_bytes) {
        return refused(format!(
            "--bs {}: the namespace has blocks of {block_bytes} bytes, name a multiple of that",
            options.bs
        ));
    }
    if options.bs > most {
        return refused(format!(
            "--bs {}: the controller takes {most} bytes at once, name no more",
            options.bs
        ));
    }
    if geometry.bytes() < options.bs.into() {
        return refused(format!("--bs {}: the namespace has {} bytes only", options.bs, geometry.bytes()));
    }
    if options.rw.writes() && geometry.read_only {
        return refused("--rw: the namespace is read-only".into());
    }
    Ok(())
}

fn wrong(path: &Path, reason: &dyn Display) -> BenchError {
    BenchError::Server { path: path.display().to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disks::Disks;
    use crate::load::{Surroundings, run};
    use crate::options::tests::options;
    use crate::target::Server;
    use luge_nvme::scripted::{Script, ScriptedNamespace, ScriptedSsd};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// Ends the SSDs' thread, also if the test panics.
    struct SetOnDrop<'a>(&'a AtomicBool);

    impl Drop for SetOnDrop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }

    /// Runs a load on SSDs that serve on another thread; returns the first error, or the reads that were checked.
    fn load(line: &str, scripts: Vec<Script>) -> Result<u64, String> {
        let options = Options { disks: vec!["/the/ssd".into(); scripts.len()], ..options(line) };
        let space = DmaSpace::new();
        let ssds: Vec<_> = scripts.into_iter().map(|script| ScriptedSsd::new(script, &space)).collect();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _ended = SetOnDrop(&stop);
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    ssds.iter().map(|ssd| ssd.step()).sum::<usize>().eq(&0).then(std::thread::yield_now);
                }
            });
            let connect = |ssd: &Arc<ScriptedSsd>| {
                let controller = Controller::start(ssd.function(), space.clone(), driver(&options));
                let controller = controller.expect("it comes up");
                let path = PathBuf::from("/the/ssd");
                NvmeDisk { path, peer: None, controller, sectors: 0, memory: None }.open(&options, &space)
            };
            let outcome = Disks::connect(ssds.iter().map(connect)).and_then(|mut disks| {
                let (server, over) = (Server::find(None), AtomicBool::new(false));
                let progress = &mut |_: &str| ();
                let mut surroundings = Surroundings { server: &server, stop: &over, progress };
                run(&mut disks, &options, &mut surroundings)
            });
            let measured = outcome.map_err(|error| error.to_string())?;
            assert!(measured.reads + measured.writes > 0);
            Ok(measured.verified.unwrap_or(0))
        })
    }

    #[test]
    fn what_is_written_to_several_controllers_is_read_back_from_each() {
        let two = || vec![Script::default(), Script::default()];
        for line in [
            "--bs 512 --iodepth 1",
            "--bs 4k --iodepth 8 --queues 2",
            "--bs 8k --iodepth 3",
            "--bs 32k --iodepth 2",
        ] {
            let line = format!("{line} --rw randrw --runtime 0.05 --verify crc32c");
            assert!(load(&line, two()).unwrap() > 0, "{line}");
        }
    }

    #[test]
    fn what_a_controller_cannot_do_is_said_in_a_sentence() {
        let with = |namespace| Script { namespaces: vec![namespace], ..Script::default() };
        let plain = || ScriptedNamespace::new(1, 9);
        let large = || with(ScriptedNamespace::new(1, 12));
        let read_only = with(ScriptedNamespace { read_only: true, ..plain() });
        let few = Script { queue_pairs: 1, ..Script::default() };
        for (line, script, sentence) in [
            ("--queues 2", few, "--queues 2: the controller has 1"),
            ("--bs 512", large(), "blocks of 4096 bytes, name a multiple"),
            ("--bs 1m", Script::default(), "at once, name no more"),
            ("--rw write", read_only, "the namespace is read-only"),
            ("--nsid 7", Script::default(), "--nsid 7: the namespaces of /the/ssd are 1"),
            ("--iodepth 4000", Script::default(), "entries, of which one stays free"),
            ("", Script { namespaces: Vec::new(), ..Script::default() }, "the controller has no namespace"),
        ] {
            let said = load(&format!("{line} --runtime 0.01"), vec![script]).unwrap_err();
            assert!(said.contains(sentence), "{line}: {said}");
        }
    }
}
