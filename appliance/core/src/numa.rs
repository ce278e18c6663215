//! The NUMA node of a CPU, as the kernel tells it.

use luge_block::CoreId;
use luge_memory::NumaNode;
use std::path::Path;

/// The node of a CPU, where the kernel knows it. `cpus` is the folder `/sys/devices/system/cpu`, where
/// that of each CPU has a link to its node.
pub(crate) fn node_of(cpus: &Path, cpu: CoreId) -> Option<NumaNode> {
    let entries = std::fs::read_dir(cpus.join(format!("cpu{}", cpu.0))).ok()?;
    entries.filter_map(|entry| parse(entry.ok()?.file_name().to_str()?)).next()
}

fn parse(entry: &str) -> Option<NumaNode> {
    entry.strip_prefix("node")?.parse().ok().map(NumaNode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_of_a_cpu_is_the_link_in_its_folder() {
        let folder = std::env::temp_dir().join(format!("luge-cpus-{}", std::process::id()));
        for path in ["cpu3/node1", "cpu3/nodes", "cpu3/cache", "cpu30/node0"] {
            std::fs::create_dir_all(folder.join(path)).unwrap();
        }
        let node = |cpu| node_of(&folder, CoreId(cpu));
        assert_eq!(node(3), Some(NumaNode(1)));
        assert_eq!(node(30), Some(NumaNode(0)));
        assert_eq!(node(0), None, "there is no such CPU");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_first_cpu_of_this_machine_is_on_a_node_where_there_are_nodes() {
        let node = node_of(Path::new("/sys/devices/system/cpu"), CoreId(0));
        assert_eq!(node.is_some(), Path::new("/sys/devices/system/node/node0").exists());
    }
}
