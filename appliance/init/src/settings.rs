//! Settings of the appliance, and the sources that they are read from.
//!
//! | Source | Form |
//! |---|---|
//! | defaults | [`Settings::default`] |
//! | image | `/etc/luge.json`, or the file that `luge.config=` names |
//! | hypervisor | QEMU's `-fw_cfg name=opt/luge/config,file=...`, with a file of the same form |
//! | kernel command line | `luge.KEY=VALUE` |
//!
//! For each key the last source that has it counts. The file:
//!
//! ```json
//! {"appliance": {"hostname": "sled7", "hugepages": "60%", "ssds": ["0000:01:00.0"]},
//!  "subsystems": [{"subsystem": "bdev", "config": []}]}
//! ```
//!
//! The file may have comments. `appliance` has the keys of the command line; `subsystems` has calls that
//! are made at boot, in the form of `save_config`.
//!
//! Invariant: a mistake is reported as a [`SettingsError`], changes nothing, and never stops the boot.

use crate::command_line::luge_settings;
use crate::comments::without_comments;
use serde_json::Value;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const COMMAND_LINE: &str = "/proc/cmdline";
const IMAGE_FILE: &str = "/etc/luge.json";
const HYPERVISOR_FILE: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/luge/config/raw";
/// Maximum size of a configuration file.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Settings of the appliance.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// `hostname`: 1 to 63 letters, digits and dashes.
    pub hostname: String,
    /// `cpumask`: the CPUs that serve disks, as a mask or a list; by default [`crate::serving_cpus`].
    pub cpumask: Option<String>,
    /// `hugepages`: the amount of memory for hugepages.
    pub hugepages: Hugepages,
    /// `ssds`: the SSDs that Luge drives.
    pub ssds: Ssds,
    /// `console`: the terminals, such as `ttyS0`, that get a console.
    pub consoles: Vec<String>,
    /// `log`: `error`, `warning`, `notice`, `info` or `debug`.
    pub log: String,
    /// `kernel_log`: kernel messages below this level (0 to 8) are shown on the console.
    pub kernel_log: u8,
    /// `panic`: reaction to a panic of PID 1.
    pub panic: AfterPanic,
    /// `socket_mode`: mode of vhost-user sockets.
    pub socket_mode: Option<String>,
    /// `socket_group`: group of vhost-user sockets, by name or number.
    pub socket_group: Option<String>,
    /// `rpc_socket`: path of the RPC socket.
    pub rpc_socket: PathBuf,
    /// `rpc_socket_mode`: mode of the RPC socket.
    pub rpc_socket_mode: Option<String>,
    /// `rpc_socket_group`: group of the RPC socket, by name or number.
    pub rpc_socket_group: Option<String>,
    /// `pr_scope`: users that share the reservations of a volume, `volume` or `vm`.
    pub pr_scope: Option<String>,
    /// Path and `subsystems` of the last file that has `subsystems`.
    pub subsystems: Option<(String, Value)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hostname: "luge".into(),
            cpumask: None,
            hugepages: Hugepages::Percent(50),
            ssds: Ssds::AllButBoot,
            consoles: vec!["console".into()],
            log: "notice".into(),
            kernel_log: 4,
            panic: AfterPanic::RebootAfter { seconds: 10 },
            socket_mode: None,
            socket_group: None,
            rpc_socket: "/run/luge/rpc.sock".into(),
            rpc_socket_mode: None,
            rpc_socket_group: None,
            pr_scope: None,
            subsystems: None,
        }
    }
}

/// Amount of memory for hugepages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hugepages {
    /// Number of MiB: `512`.
    Mib(u64),
    /// Percentage of all memory: `50%`.
    Percent(u8),
}

/// SSDs that Luge drives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ssds {
    /// All except the one that the appliance was booted from.
    AllButBoot,
    /// All: `all`.
    All,
    /// None: `none`.
    Nothing,
    /// PCI addresses, separated by commas.
    Listed(Vec<String>),
}

/// Reaction to a panic of PID 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterPanic {
    /// No reboot, for inspection: `0`.
    Stay,
    /// Reboot: `10`; at once: `-1`.
    RebootAfter {
        /// Time until the reboot.
        seconds: u16,
    },
}

/// Error of a setting. The previous value stays in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsError {
    /// Source of the setting: a path, or the kernel command line.
    pub source: String,
    /// Problem and remedy.
    pub problem: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.problem)
    }
}

impl Settings {
    /// Reads the settings of this machine. `/proc` and `/sys` must be mounted.
    #[must_use]
    pub fn of_this_machine() -> (Self, Vec<SettingsError>) {
        let command_line = std::fs::read_to_string(COMMAND_LINE).unwrap_or_default();
        Self::from_sources(&command_line, Path::new(IMAGE_FILE), Path::new(HYPERVISOR_FILE))
    }

    fn from_sources(command_line: &str, image: &Path, hypervisor: &Path) -> (Self, Vec<SettingsError>) {
        let mut reader = Reader::default();
        let pairs = luge_settings(command_line);
        let named = pairs.iter().rev().find(|(key, _)| key == "config").map(|(_, path)| Path::new(path));
        match named {
            Some(path) => reader.file(path, Absence::Error),
            None => reader.file(image, Absence::Allowed),
        }
        reader.file(hypervisor, Absence::Allowed);
        for (key, value) in pairs.iter().filter(|(key, _)| key != "config") {
            reader.set("kernel command line", key, value);
        }
        (reader.settings, reader.errors)
    }

    /// Sets one key.
    ///
    /// # Errors
    /// The remedy.
    fn set(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        match key {
            "hostname" => self.hostname = hostname(value)?,
            "cpumask" => self.cpumask = Some(value.to_owned()),
            "hugepages" => self.hugepages = hugepages(value)?,
            "ssds" => self.ssds = ssds(value)?,
            "console" => self.consoles = consoles(value)?,
            "log" => self.log = log_level(value)?,
            "kernel_log" => self.kernel_log = kernel_level(value)?,
            "panic" => self.panic = after_panic(value)?,
            "socket_mode" => self.socket_mode = Some(value.to_owned()),
            "socket_group" => self.socket_group = Some(value.to_owned()),
            "rpc_socket" => self.rpc_socket = absolute(value)?,
            "rpc_socket_mode" => self.rpc_socket_mode = Some(value.to_owned()),
            "rpc_socket_group" => self.rpc_socket_group = Some(value.to_owned()),
            "pr_scope" => self.pr_scope = Some(value.to_owned()),
            _ => return Err(KEYS),
        }
        Ok(())
    }
}

const KEYS: &str = "the keys are hostname, cpumask, hugepages, ssds, console, log, kernel_log, panic, socket_mode, \
                    socket_group, rpc_socket, rpc_socket_mode, rpc_socket_group and pr_scope";

fn hostname(value: &str) -> Result<String, &'static str> {
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let good = (1..=63).contains(&value.len()) && plain && !value.starts_with('-');
    good.then(|| value.to_owned()).ok_or("write 1 to 63 letters, digits and dashes")
}

fn hugepages(value: &str) -> Result<Hugepages, &'static str> {
    let wrong = "write a number of MiB (512), or a part of all memory (50%, at most 90%)";
    match value.strip_suffix('%') {
        Some(part) => part.parse().ok().filter(|part| *part <= 90).map(Hugepages::Percent),
        None => value.parse().ok().filter(|mib| *mib <= 1 << 30).map(Hugepages::Mib),
    }
    .ok_or(wrong)
}

fn ssds(value: &str) -> Result<Ssds, &'static str> {
    match value {
        "all" => Ok(Ssds::All),
        "none" => Ok(Ssds::Nothing),
        list => {
            let addresses: Vec<String> = list.split(',').map(str::to_owned).collect();
            let shaped = |address: &String| address.contains(':') && address.contains('.');
            let good = addresses.iter().all(shaped);
            good.then_some(Ssds::Listed(addresses))
                .ok_or("write all, none, or PCI addresses separated by commas (0000:01:00.0,0000:02:00.0)")
        }
    }
}

fn consoles(value: &str) -> Result<Vec<String>, &'static str> {
    let names: Vec<String> =
        value.split(',').map(|name| name.trim_start_matches("/dev/").to_owned()).collect();
    let good = names.iter().all(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()));
    good.then_some(names).ok_or("write names of terminals separated by commas (ttyS0,hvc0)")
}

fn log_level(value: &str) -> Result<String, &'static str> {
    let level = value.to_ascii_lowercase();
    let known = ["error", "warning", "notice", "info", "debug"].contains(&level.as_str());
    known.then_some(level).ok_or("write error, warning, notice, info or debug")
}

fn kernel_level(value: &str) -> Result<u8, &'static str> {
    value.parse().ok().filter(|level| *level <= 8).ok_or("write a number from 0 (silent) to 8 (everything)")
}

fn after_panic(value: &str) -> Result<AfterPanic, &'static str> {
    match value.parse::<i32>() {
        Ok(0) => Ok(AfterPanic::Stay),
        Ok(seconds) if seconds < 0 => Ok(AfterPanic::RebootAfter { seconds: 0 }),
        Ok(seconds) => {
            u16::try_from(seconds).map(|seconds| AfterPanic::RebootAfter { seconds }).map_err(|_| ())
        }
        Err(_) => Err(()),
    }
    .map_err(|()| "write seconds until the reboot (10), 0 to stay, -1 to reboot at once")
}

fn absolute(value: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(value);
    path.is_absolute().then_some(path).ok_or("write an absolute path")
}

/// Treatment of a file that does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absence {
    Allowed,
    Error,
}

/// Settings and errors, while the sources are read.
#[derive(Default)]
struct Reader {
    settings: Settings,
    errors: Vec<SettingsError>,
}

impl Reader {
    fn report(&mut self, source: impl Into<String>, problem: impl Into<String>) {
        self.errors.push(SettingsError { source: source.into(), problem: problem.into() });
    }

    fn set(&mut self, source: &str, key: &str, value: &str) {
        if let Err(remedy) = self.settings.set(key, value) {
            let shown: String = value.chars().take(60).collect();
            self.report(source, format!("'{key}' = '{shown}' is not understood: {remedy}"));
        }
    }

    fn file(&mut self, path: &Path, absence: Absence) {
        let source = path.display().to_string();
        match read(path) {
            Ok(text) => match serde_json::from_slice(&without_comments(&text)) {
                Ok(Value::Object(members)) => self.members(&source, members),
                Ok(_) => self.report(source, "this is JSON, but not an object: begin with {"),
                Err(error) => self.report(source, format!("this is not JSON: {error}")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound && absence == Absence::Allowed => {}
            Err(error) => self.report(source, format!("it cannot be read: {error}")),
        }
    }

    fn members(&mut self, source: &str, members: serde_json::Map<String, Value>) {
        for (key, value) in members {
            match (key.as_str(), value) {
                ("appliance", Value::Object(settings)) => {
                    for (key, value) in &settings {
                        self.set(source, key, &as_word(value));
                    }
                }
                ("subsystems", list @ Value::Array(_)) => {
                    self.settings.subsystems = Some((source.to_owned(), list));
                }
                (key, _) => self.report(
                    source,
                    format!(
                        "'{key}' is not understood: write \"appliance\": {{...}} and \"subsystems\": [...]"
                    ),
                ),
            }
        }
    }
}

/// Text of a JSON value on the command line.
fn as_word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(as_word).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tempfile::TempDir;

    struct Rig {
        folder: TempDir,
    }

    impl Rig {
        fn with(image: Option<&str>, hypervisor: Option<&str>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in [("image", image), ("hypervisor", hypervisor)] {
                text.iter().for_each(|text| std::fs::write(folder.path().join(name), text).unwrap());
            }
            Self { folder }
        }

        fn read(&self, command_line: &str) -> (Settings, Vec<String>) {
            let path = |name| self.folder.path().join(name);
            let (settings, errors) =
                Settings::from_sources(command_line, &path("image"), &path("hypervisor"));
            (settings, errors.iter().map(ToString::to_string).collect())
        }
    }

    fn command_line(text: &str) -> (Settings, Vec<String>) {
        Rig::with(None, None).read(text)
    }

    #[test]
    fn without_any_source_the_defaults_are_in_force_without_an_error() {
        let (settings, errors) = command_line("console=ttyS0 quiet");
        assert_eq!(settings, Settings::default());
        assert_eq!(errors, [""; 0]);
    }

    #[test]
    fn every_key_can_be_set_on_the_command_line() {
        let (settings, errors) = command_line(
            "luge.hostname=sled-7 luge.cpumask=0x3 luge.hugepages=512 luge.ssds=0000:01:00.0,0000:02:00.0 \
             luge.console=ttyS0,/dev/hvc0 luge.log=DEBUG luge.kernel_log=7 luge.panic=0 luge.rpc_socket=/run/r \
             luge.socket_mode=0666 luge.socket_group=kvm luge.rpc_socket_mode=0660 luge.rpc_socket_group=7 luge.pr_scope=vm",
        );
        assert_eq!(errors, Vec::<String>::new());
        let expected = Settings {
            hostname: "sled-7".into(),
            cpumask: Some("0x3".into()),
            hugepages: Hugepages::Mib(512),
            ssds: Ssds::Listed(vec!["0000:01:00.0".into(), "0000:02:00.0".into()]),
            consoles: vec!["ttyS0".into(), "hvc0".into()],
            log: "debug".into(),
            kernel_log: 7,
            panic: AfterPanic::Stay,
            socket_mode: Some("0666".into()),
            socket_group: Some("kvm".into()),
            rpc_socket: "/run/r".into(),
            rpc_socket_mode: Some("0660".into()),
            rpc_socket_group: Some("7".into()),
            pr_scope: Some("vm".into()),
            subsystems: None,
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn the_command_line_wins_over_the_hypervisor_and_that_over_the_image() {
        let image = json!({ "appliance": { "hostname": "a", "log": "error", "hugepages": "60%" }, "subsystems": [1] });
        let hypervisor = json!({ "appliance": { "hostname": "b", "hugepages": 64 }, "subsystems": [2] });
        let rig = Rig::with(Some(&image.to_string()), Some(&hypervisor.to_string()));
        let (settings, errors) = rig.read("luge.hostname=c");
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(settings.hostname, "c");
        assert_eq!(settings.log, "error");
        assert_eq!(settings.hugepages, Hugepages::Mib(64));
        let (source, subsystems) = settings.subsystems.unwrap();
        assert!(source.ends_with("hypervisor"), "{source}");
        assert_eq!(subsystems, json!([2]));
    }

    #[test]
    fn a_file_may_have_comments() {
        let file = "// sled 7\n{\"appliance\": {\"hostname\": \"a\"}, /* none yet */ \"subsystems\": []}";
        let (settings, errors) = Rig::with(Some(file), None).read("");
        assert_eq!(settings.hostname, "a");
        assert_eq!(errors, [""; 0]);
    }

    #[test]
    fn another_file_can_be_named_and_must_then_be_there() {
        let rig = Rig::with(Some(r#"{"appliance": {"hostname": "a"}}"#), None);
        let other = rig.folder.path().join("other");
        std::fs::write(&other, r#"{"appliance": {"ssds": ["0000:03:00.0"]}}"#).unwrap();
        let (settings, errors) = rig.read(&format!("luge.config={}", other.display()));
        assert_eq!(settings.hostname, "luge");
        assert_eq!(errors, [""; 0]);
        assert_eq!(settings.ssds, Ssds::Listed(vec!["0000:03:00.0".into()]));
        let (settings, errors) = rig.read("luge.config=/nowhere");
        assert_eq!(settings, Settings::default());
        assert!(errors[0].starts_with("/nowhere: it cannot be read"), "{errors:?}");
    }

    #[test]
    fn each_mistake_is_an_error_with_a_remedy_and_the_rest_is_in_force() {
        for word in [
            "luge.hostname=",
            "luge.hostname=a.b",
            "luge.hugepages=x",
            "luge.hugepages=91%",
            "luge.hugepages=-1",
            "luge.ssds=nvme0",
            "luge.ssds=",
            "luge.console=../mem",
            "luge.log=loud",
            "luge.kernel_log=9",
            "luge.panic=soon",
            "luge.panic=70000",
            "luge.rpc_socket=x",
            "luge.colour=red",
            "luge.=",
        ] {
            let (settings, errors) = command_line(&format!("{word} luge.hostname=still"));
            assert_eq!(settings, Settings { hostname: "still".into(), ..Settings::default() }, "{word}");
            assert_eq!(errors.len(), 1, "{word}");
            assert!(errors[0].starts_with("kernel command line: '"), "{errors:?}");
        }
    }

    #[test]
    fn a_broken_file_is_one_error_and_leaves_the_defaults() {
        for text in
            ["", "{", "[]", "7", "\u{0}", "{\"appliance\": 1}", "{\"subsystems\": {}}", "{\"what\": 1}"]
        {
            let (settings, errors) = Rig::with(Some(text), None).read("");
            assert_eq!(settings, Settings::default(), "{text}");
            assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        }
    }
}
