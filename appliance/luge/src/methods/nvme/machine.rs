//! A sled with a core and scripted SSDs, for tests.

use super::tests::Bench;
use crate::config::Config;
use crate::control::{Budget, Control, Platform, Sled, SocketFolder, platform};
use crate::log::Log;
use crate::methods::{Host, bdev, start_init, vhost};
use clap::Parser;
use luge_bench::{BenchError, Report};
use luge_block::CoreId;
use luge_core::CoreHandle;
use luge_memory::PageSize;
use luge_nvme::scripted::{Enabling, Script, ScriptedSsd};
use luge_rpc::{Dispatcher, Method, Params, RpcError, Stage};
use luge_socket::Permissions;
use serde::Deserialize;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use tempfile::TempDir;

/// A sled with a core, whose SSDs are scripted ones at the addresses 1:0.0, 2:0.0 and 3:0.0.
pub struct Machine {
    pub control: Arc<Control>,
    pub ssds: Vec<Arc<ScriptedSsd>>,
    pub dispatcher: Dispatcher,
    pub folder: TempDir,
}

/// Parameters of any kind.
#[derive(Deserialize)]
struct Anything(Value);

impl Params for Anything {
    const LIST: &'static [luge_rpc::Param] = &[];
}

impl Machine {
    /// A machine whose first SSD never becomes ready, until it is told to.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let platform = Platform {
            cores: vec![CoreHandle::spawn(CoreId(0)).unwrap()],
            sockets: SocketFolder::new(folder.path(), Permissions::OWNER, &[]),
            ..platform(PageSize::Base)
        };
        let control = Control::start(Sled::new(Arc::new(platform), Budget::new(64 << 20))).unwrap();
        let hangs = Script { enabling: Enabling::Never, timeout_500ms: 255, ..Script::default() };
        let scripts = [hangs, Script::default(), Script::default()];
        let bench = Bench::of(control.clone());
        let ssds: Vec<_> = scripts.map(|script| bench.ssd(script)).into();
        let methods = bdev::methods(&control).into_iter().chain(vhost::methods(&control));
        let dispatcher = Dispatcher::new(methods.chain([attach(bench, ssds.clone())]));
        Self { control, ssds, dispatcher, folder }
    }

    /// The process, with a configuration to load at its start.
    pub fn host(&self, config: &Value) -> Host {
        let config = Config::parse(config.to_string().as_bytes()).unwrap();
        let log = Arc::new(Log::to(std::io::sink));
        Host { control: self.control.clone(), log, config, loading: Mutex::default() }
    }

    pub fn start(&self, host: &Host) -> Result<(), RpcError> {
        start_init(host, &self.dispatcher)
    }

    pub fn call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.dispatcher.dispatch(method, params)
    }

    /// vhost controllers that exist.
    pub fn served(&self) -> Vec<String> {
        let names = |sled: &mut Sled| Ok(sled.endpoints.iter().map(|(name, _)| name.to_owned()).collect());
        self.control.ask(names).unwrap()
    }

    /// Reads from a disk as a guest does, without an end if the SSD does not answer.
    pub fn read(&self, name: &str) -> Result<Report, BenchError> {
        self.bench(name, &[])
    }

    /// As [`Self::read`], from LUN 0 of a target of a SCSI controller.
    pub fn read_lun(&self, name: &str, target: u8) -> Result<Report, BenchError> {
        self.bench(name, &["--target", &target.to_string()])
    }

    fn bench(&self, name: &str, more: &[&str]) -> Result<Report, BenchError> {
        let socket = self.folder.path().join(name);
        let line = ["bench", socket.to_str().unwrap(), "--bs", "512", "--iodepth", "1", "--runtime", "0.01"];
        let line = Line::parse_from(line.iter().chain(more));
        luge_bench::run(&line.options, &AtomicBool::new(false), &mut |_| ())
    }

    /// Reads from a disk as a guest does; `ssd` is the SSD that it is on.
    pub fn use_disk(&self, name: &str, ssd: &ScriptedSsd) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    ssd.step();
                    thread::yield_now();
                }
            });
            // The load generator pins its thread.
            let guest = scope.spawn(|| self.read(name).unwrap().ios);
            let ios = guest.join();
            over.store(true, Ordering::Relaxed);
            assert!(ios.unwrap() > 0);
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.control.stop();
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: luge_bench::Options,
}

/// The method that attaches one of `ssds`, by the bus number in its address.
fn attach(bench: Bench, ssds: Vec<Arc<ScriptedSsd>>) -> Method {
    Method::new("bdev_nvme_attach_controller", "", &[Stage::Runtime], move |Anything(params)| {
        let bus: usize = params["traddr"].as_str().unwrap()[..1].parse().unwrap();
        bench.attach_with(params, &ssds[bus - 1])
    })
}
