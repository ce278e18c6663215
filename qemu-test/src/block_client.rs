//! QEMU's vhost-user-blk client without a machine: `qemu-io` and `qemu-img` with the block driver
//! `virtio-blk-vhost-user`.

use crate::deadline::Deadline;
use crate::error::TestError;
use crate::lab::Bench;
use crate::process::Process;
use std::path::Path;
use std::process::Command;

/// Time limit of one program.
const RUN_SECONDS: u32 = 120;

/// A client of one disk.
pub struct BlockClient<'a> {
    bench: &'a Bench<'a>,
    disk: String,
}

impl<'a> BlockClient<'a> {
    /// Client of the disk that is served at `socket`.
    #[must_use]
    pub fn new(bench: &'a Bench<'a>, socket: &Path) -> Self {
        let socket = socket.to_string_lossy().replace(',', ",,");
        Self { bench, disk: format!("driver=virtio-blk-vhost-user,path={socket},cache.direct=on") }
    }

    /// Runs `qemu-io` with commands such as `write -P 0xaa 4k 64k`, and returns its output.
    ///
    /// # Errors
    /// If a command fails; the error contains its output.
    pub fn io(&self, commands: &[&str]) -> Result<String, TestError> {
        let said = self.run(&mut self.start_io(commands)?, &commands.join("; "))?;
        // Some commands print that a pattern is wrong and still exit with success.
        if said.contains("Pattern verification failed") {
            let (program, status) = (format!("qemu-io {}", commands.join("; ")), "success".to_owned());
            return Err(TestError::Program { program, status, said });
        }
        Ok(said)
    }

    /// Runs `qemu-io` with a command that has to fail, and returns its output.
    ///
    /// # Errors
    /// If the command does not fail.
    pub fn io_refused(&self, command: &str) -> Result<String, TestError> {
        match self.io(&[command]) {
            Err(TestError::Program { said, .. }) => Ok(said),
            Err(error) => Err(error),
            Ok(said) => Err(TestError::Confused { who: format!("qemu-io {command}"), said }),
        }
    }

    fn start_io(&self, commands: &[&str]) -> Result<Process, TestError> {
        let mut command = self.bench.lab().qemu().command("qemu-io");
        command.args(["--image-opts", &self.disk]);
        for one in commands {
            command.args(["-c", one]);
        }
        self.start("qemu-io", command)
    }

    /// Runs `qemu-img bench`: `count` requests of 4 KiB, `depth` at a time.
    ///
    /// # Errors
    /// If a request fails.
    pub fn bench(&self, count: u32, depth: u32, more: &[&str]) -> Result<String, TestError> {
        let mut bench = self.start_image(&self.bench_arguments(count, depth, more))?;
        self.run(&mut bench, "qemu-img bench")
    }

    /// Starts `qemu-img bench` without waiting for its end.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start_bench(&self, count: u32, depth: u32) -> Result<Process, TestError> {
        self.start_image(&self.bench_arguments(count, depth, &[]))
    }

    fn bench_arguments(&self, count: u32, depth: u32, more: &[&str]) -> Vec<String> {
        let [count, depth] = [count, depth].map(|number| number.to_string());
        let mut arguments = vec!["bench", "-c", &count, "-d", &depth, "--image-opts", &self.disk];
        arguments.extend(more);
        arguments.into_iter().map(str::to_owned).collect()
    }

    /// Copies the raw file `source` to the disk, which must have the file's size.
    ///
    /// # Errors
    /// If the copy fails.
    pub fn copy_from(&self, source: &Path) -> Result<(), TestError> {
        let source = format!("driver=raw,file.driver=file,file.filename={}", source.display());
        self.image(&["convert", "-n", "--image-opts", "--target-image-opts", &source, &self.disk]).map(drop)
    }

    /// Compares the raw file `other` with the disk, block by block.
    ///
    /// # Errors
    /// If they differ.
    pub fn compare(&self, other: &Path) -> Result<(), TestError> {
        let other = format!("driver=raw,file.driver=file,file.filename={}", other.display());
        self.image(&["compare", "-s", "--image-opts", &other, &self.disk]).map(drop)
    }

    fn image(&self, arguments: &[&str]) -> Result<String, TestError> {
        let words: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        self.run(&mut self.start_image(&words)?, &arguments.join(" "))
    }

    fn start_image(&self, arguments: &[String]) -> Result<Process, TestError> {
        let mut command = self.bench.lab().qemu().command("qemu-img");
        command.args(arguments);
        self.start("qemu-img", command)
    }

    fn start(&self, program: &str, command: Command) -> Result<Process, TestError> {
        Process::start(program, command, &self.bench.log(program))
    }

    fn run(&self, process: &mut Process, what: &str) -> Result<String, TestError> {
        let deadline = Deadline::within(RUN_SECONDS);
        let status = process.wait(deadline)?;
        process.output.wait_end(deadline)?;
        let said = process.output.text();
        if status.success() {
            return Ok(said);
        }
        Err(TestError::Program { program: what.to_owned(), status: status.to_string(), said })
    }
}
