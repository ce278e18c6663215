//! The SSD that the appliance was booted from, as the firmware tells it.
//!
//! UEFI 2.10, clause 3.3: `BootCurrent` names a boot option; its load option (3.1.3) has the
//! device path (10.3) of the disk. Of that, the PCI nodes are the way to the SSD.
//!
//! Invariant: the firmware's bytes are foreign input; what is malformed means "unknown".
//!
//! Not here: a path that names only a partition. Its SSD could be told by its partition
//! table alone, and that is read by nobody before the SSD is taken.

use luge_vfio::PciAddress;
use std::fs;
use std::path::Path;

const VARIABLES: &str = "/sys/firmware/efi/efivars";
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// The device and function numbers of the bridges and the device on the way to a disk.
type PciPath = Vec<(u8, u8)>;

/// Those of `ssds` that the appliance may have been booted from; empty if it was not booted from an
/// SSD, or if the firmware does not say.
pub fn find(ssds: &[PciAddress]) -> Vec<PciAddress> {
    let Some(wanted) = booted_from(Path::new(VARIABLES)) else { return Vec::new() };
    let is_boot = |ssd: &&PciAddress| {
        let link = fs::canonicalize(format!("/sys/bus/pci/devices/{ssd}"));
        link.is_ok_and(|place| path_of(&place) == wanted)
    };
    ssds.iter().filter(is_boot).copied().collect()
}

fn booted_from(variables: &Path) -> Option<PciPath> {
    let read = |name: &str| fs::read(variables.join(format!("{name}-{GLOBAL}"))).ok();
    // The file system puts four bytes of attributes before a variable's value.
    let current = read("BootCurrent")?;
    let [low, high] = *current.get(4..)?.first_chunk()?;
    let option = read(&format!("Boot{:04X}", u16::from_le_bytes([low, high])))?;
    nvme_path(option.get(4..)?)
}

/// The PCI nodes of a load option, if what they lead to is an NVMe namespace.
fn nvme_path(option: &[u8]) -> Option<PciPath> {
    let length = u16::from_le_bytes(*option.get(4..)?.first_chunk()?);
    let description = option.get(6..)?;
    let end = description.as_chunks::<2>().0.iter().position(|unit| *unit == [0, 0])?;
    let mut nodes = description.get((end + 1) * 2..)?.get(..usize::from(length))?;
    let (mut path, mut is_nvme) = (PciPath::new(), false);
    while let Some(&[kind, subtype, low, high]) = nodes.first_chunk() {
        let length = usize::from(u16::from_le_bytes([low, high]));
        let body = nodes.get(4..length)?;
        match (kind, subtype) {
            // Hardware, PCI: function, device (10.3.2.1).
            (1, 1) => path.push((*body.get(1)?, *body.first()?)),
            // Messaging, NVM Express namespace (10.3.4.22).
            (3, 0x17) => is_nvme = true,
            _ => {}
        }
        nodes = nodes.get(length..)?;
    }
    is_nvme.then_some(path)
}

/// The same of a place in sysfs: `/sys/devices/pci0000:00/0000:00:1d.0/0000:03:00.0`.
fn path_of(place: &Path) -> PciPath {
    let names = place.iter().filter_map(|name| name.to_str());
    let step = |name: &str| {
        let (device, function) = name.rsplit_once(':')?.1.split_once('.')?;
        Some((u8::from_str_radix(device, 16).ok()?, u8::from_str_radix(function, 16).ok()?))
    };
    names.filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A load option, `description`, with these nodes.
    fn option(description: &str, nodes: &[&[u8]]) -> Vec<u8> {
        let nodes = nodes.concat();
        let mut bytes = vec![1, 0, 0, 0];
        bytes.extend(u16::try_from(nodes.len()).unwrap().to_le_bytes());
        bytes.extend(description.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        bytes.extend(nodes);
        bytes.extend(b"optional data");
        bytes
    }

    const ROOT: &[u8] = &[2, 1, 12, 0, 0xd0, 0x41, 3, 0x0a, 0, 0, 0, 0];
    const BRIDGE: &[u8] = &[1, 1, 6, 0, 2, 0x1d];
    const DEVICE: &[u8] = &[1, 1, 6, 0, 0, 0];
    const NVME: &[u8] = &[3, 0x17, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const END: &[u8] = &[0x7f, 0xff, 4, 0];

    #[test]
    fn the_way_to_an_ssd_is_read_from_its_load_option() {
        let option = option("UEFI QEMU NVMe", &[ROOT, BRIDGE, DEVICE, NVME, END]);
        assert_eq!(nvme_path(&option), Some(vec![(0x1d, 2), (0, 0)]));
        let place = Path::new("/sys/devices/pci0000:00/0000:00:1d.2/0000:03:00.0");
        assert_eq!(path_of(place), [(0x1d, 2), (0, 0)]);
    }

    #[test]
    fn other_disks_are_not_ssds() {
        let usb: &[u8] = &[3, 5, 6, 0, 1, 0];
        assert_eq!(nvme_path(&option("stick", &[ROOT, BRIDGE, usb, END])), None);
        let partition: &[u8] = &[4, 1, 6, 0, 1, 0];
        assert_eq!(nvme_path(&option("", &[partition, END])), None);
    }

    #[test]
    fn a_malformed_option_is_unknown_and_nothing_worse() {
        let whole = option("NVMe", &[ROOT, BRIDGE, DEVICE, NVME, END]);
        for length in 0..whole.len() {
            let _ = nvme_path(&whole[..length]);
        }
        let endless: &[u8] = &[1, 1, 0, 0];
        let long: &[u8] = &[1, 1, 0xff, 0xff, 0, 0];
        for node in [endless, long] {
            assert_eq!(nvme_path(&option("x", &[node, NVME, END])), None);
        }
    }

    #[test]
    fn the_current_option_is_looked_up_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, value: &[u8]| {
            let value = [&[7, 0, 0, 0], value].concat();
            fs::write(folder.path().join(format!("{name}-{GLOBAL}")), value).unwrap();
        };
        assert_eq!(booted_from(folder.path()), None);
        write("BootCurrent", &[0x1a, 0]);
        assert_eq!(booted_from(folder.path()), None);
        write("Boot001A", &option("x", &[ROOT, DEVICE, NVME, END]));
        assert_eq!(booted_from(folder.path()), Some(vec![(0, 0)]));
    }
}
