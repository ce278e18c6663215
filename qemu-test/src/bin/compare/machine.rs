//! Description of the machine, which belongs to every result.

use crate::cpus::Cpus;
use crate::files::Sizes;
use crate::table::{Column, Table};
use serde_json::{Value, json};
use std::fs;

/// The machine and its use in the comparison.
pub(crate) struct Machine {
    pub(crate) cpus: Cpus,
    pub(crate) sizes: Sizes,
    pub(crate) files_in_memory: bool,
    /// Name and version of the peer.
    pub(crate) peer: String,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    /// Load average of the minute before the first measurement.
    pub(crate) load: String,
}

impl Machine {
    /// Properties, each with its name.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let Cpus { server, generator, .. } = self.cpus;
        let Sizes { memory_mib, file_mib } = self.sizes;
        let place = if self.files_in_memory { "in memory (tmpfs)" } else { "on the host's disk, direct I/O" };
        let measured = format!("{} of {} s each, in turns", self.rounds, self.seconds);
        let ours = [
            ("CPUs", format!("{server} for the server, {generator} for the load generator")),
            ("disks", format!("memory {memory_mib} MiB; file {file_mib} MiB, {place}")),
            ("peer", self.peer.clone()),
            ("rounds", measured),
            ("load before", self.load.clone()),
        ];
        host_facts().into_iter().chain(ours).collect()
    }

    /// Table of all properties.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new([Column::Words("machine"), Column::Words("setting")]);
        self.facts().into_iter().for_each(|(name, fact)| table.push([name.to_owned(), fact]));
        table
    }

    pub(crate) fn to_json(&self) -> Value {
        self.facts().into_iter().map(|(name, fact)| (name.to_owned(), json!(fact))).collect()
    }
}

/// Properties of the host, each with its name.
pub(crate) fn host_facts() -> [(&'static str, String); 4] {
    [
        ("processor", processor()),
        ("kernel", text_of("/proc/sys/kernel/osrelease")),
        ("hypervisor", cpuinfo("flags", |flags| yes_or_no(has_word(flags, "hypervisor")))),
        ("hugepages of 2 MiB", text_of("/proc/sys/vm/nr_hugepages")),
    ]
}

/// Load average of the last minute.
pub(crate) fn load() -> String {
    text_of("/proc/loadavg").split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn processor() -> String {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{count} x {}", cpuinfo("model name", str::to_owned))
}

fn cpuinfo(name: &str, say: impl Fn(&str) -> String) -> String {
    let text = text_of("/proc/cpuinfo");
    let found = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name);
    found.map_or_else(|| "unknown".to_owned(), |(_, value)| say(value.trim()))
}

fn has_word(text: &str, word: &str) -> bool {
    text.split_whitespace().any(|one| one == word)
}

fn yes_or_no(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

fn text_of(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
impl Machine {
    /// The current machine, with fixed settings.
    pub(crate) fn for_tests() -> Self {
        Self {
            cpus: Cpus { server: 0, generator: 7, neighbours: 1 },
            sizes: Sizes::SMALL,
            files_in_memory: true,
            peer: "peer 1.0".to_owned(),
            rounds: 5,
            seconds: 1.0,
            load: load(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_about_the_machine_is_known() {
        let machine = Machine::for_tests();
        for (name, fact) in machine.facts() {
            assert!(!fact.is_empty() && !fact.contains("unknown"), "{name}: {fact}");
        }
        assert_eq!(machine.to_json()["CPUs"], "0 for the server, 7 for the load generator");
    }
}
