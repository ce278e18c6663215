//! The SSD that the firmware booted from, found by the variables `BootCurrent` and
//! `Boot####` (UEFI 2.10, clauses 3.1 and 3.3), whose device path leads over PCI to the SSD.
//!
//! Invariant: firmware may write anything; a path that cannot be followed is [`Origin::Unknown`].

use luge_vfio::PciAddress;
use std::fs;
use std::path::{Path, PathBuf};

/// Folder of the variables.
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// Vendor GUID of the variables that the specification defines.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Folder of the PCI host bridges.
const DEVICES: &str = "/sys/devices";
/// Maximum number of nodes of a device path.
const NODES: usize = 64;

/// Device of a boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// An SSD.
    Ssd(PciAddress),
    /// No SSD: a USB stick, the network, a hypervisor.
    Elsewhere,
    /// The firmware gives no device path, or one that cannot be followed.
    Unknown,
}

/// Finds the device of this boot.
pub fn find() -> Origin {
    find_in(Path::new(VARIABLES), Path::new(DEVICES))
}

fn find_in(variables: &Path, devices: &Path) -> Origin {
    if !variables.join(format!("BootCurrent-{GLOBAL}")).exists() {
        // Without such a variable there was no boot manager: a kernel that was handed over.
        return Origin::Elsewhere;
    }
    let Some(nodes) = boot_path(variables) else { return Origin::Unknown };
    if nodes.iter().any(|node| matches!(node, Node::NotAnSsd)) {
        return Origin::Elsewhere;
    }
    let hops: Vec<_> = nodes.iter().filter_map(Node::hop).collect();
    match nodes.contains(&Node::Nvme) && !hops.is_empty() {
        true => follow(devices, &hops).map_or(Origin::Unknown, Origin::Ssd),
        false => Origin::Unknown,
    }
}

/// Device path of the booted option.
fn boot_path(variables: &Path) -> Option<Vec<Node>> {
    let current = value(variables, "BootCurrent")?;
    let number = u16::from_le_bytes(*current.first_chunk()?);
    let option = value(variables, &format!("Boot{number:04X}"))?;
    // Attributes (4 bytes), length of the path (2), a description that ends with a zero, the path.
    let path_bytes = u16::from_le_bytes(*option.get(4..)?.first_chunk()?);
    let (description, _) = option.get(6..)?.as_chunks::<2>();
    let end = description.iter().position(|unit| *unit == [0, 0])?;
    let path = option.get(6 + (end + 1) * 2..)?;
    Some(nodes(path.get(..usize::from(path_bytes))?))
}

/// Value of a variable: the file without its first four bytes, which are attributes.
fn value(variables: &Path, name: &str) -> Option<Vec<u8>> {
    let file = fs::read(variables.join(format!("{name}-{GLOBAL}"))).ok()?;
    Some(file.get(4..)?.to_vec())
}

/// Device and function numbers on a PCI bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Hop {
    device: u8,
    function: u8,
}

/// A node of a device path (UEFI 2.10, clause 10.3), as far as needed here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    /// A function on the bus that the nodes before lead to.
    Pci(Hop),
    /// An NVMe namespace.
    Nvme,
    /// Another kind of device behind PCI.
    NotAnSsd,
    /// A partition, a file, a host bridge.
    Other,
}

impl Node {
    fn hop(&self) -> Option<Hop> {
        match *self {
            Self::Pci(hop) => Some(hop),
            Self::Nvme | Self::NotAnSsd | Self::Other => None,
        }
    }
}

/// Parses the nodes. Each has a type, a subtype, the length with this header (2 bytes), data.
fn nodes(mut path: &[u8]) -> Vec<Node> {
    let mut found = Vec::new();
    while let Some((&[kind, subtype, low, high], rest)) = path.split_first_chunk() {
        let Some(len) = usize::from(u16::from_le_bytes([low, high])).checked_sub(4) else { break };
        let Some((data, next)) = rest.split_at_checked(len) else { break };
        if kind == 0x7f || found.len() == NODES {
            break;
        }
        found.push(match (kind, subtype, data) {
            (1, 1, &[function, device]) => Node::Pci(Hop { device, function }),
            (3, 0x17, _) => Node::Nvme,
            (3, _, _) => Node::NotAnSsd,
            _ => Node::Other,
        });
        path = next;
    }
    found
}

/// Follows a path from a host bridge over bridges to a function; none if several host bridges
/// have such a path.
fn follow(devices: &Path, hops: &[Hop]) -> Option<PciAddress> {
    let bridges =
        folders(devices).into_iter().filter(|path| name(path).is_some_and(|n| n.starts_with("pci")));
    let mut ends = bridges.filter_map(|bridge| hops.iter().try_fold(bridge, |at, hop| step(&at, *hop)));
    let end = ends.next().filter(|_| ends.next().is_none())?;
    name(&end)?.parse().ok()
}

/// Folder of a function on the bus below a bridge.
fn step(bridge: &Path, Hop { device, function }: Hop) -> Option<PathBuf> {
    let ending = format!(":{device:02x}.{function:x}");
    let is_address = |name: &str| name.parse::<PciAddress>().is_ok() && name.ends_with(&ending);
    folders(bridge).into_iter().find(|path| name(path).is_some_and(is_address))
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Device path of an SSD in slot 2 of the bus behind bridge 1c.4, and a partition on the SSD.
    const SSD: &[u8] = &[
        2, 1, 12, 0, 0xd0, 0x41, 3, 0x0a, 0, 0, 0, 0, // PciRoot(0)
        1, 1, 6, 0, 4, 0x1c, // Pci(1c,4)
        1, 1, 6, 0, 0, 2, // Pci(2,0)
        3, 0x17, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // NVMe(1, ...)
        4, 1, 5, 0, 9, // HD(...)
        0x7f, 0xff, 4, 0, // end
    ];

    struct Rig(tempfile::TempDir);

    impl Rig {
        /// A machine that booted option 7, with this device path.
        fn new(path: &[u8]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for place in ["pci0000:00/0000:00:1c.4/0000:03:02.0", "pci0000:00/0000:00:02.0", "pci0000:80"] {
                fs::create_dir_all(folder.path().join("devices").join(place)).unwrap();
            }
            let rig = Self(folder);
            let len = u16::try_from(path.len()).unwrap().to_le_bytes();
            let option = [&[1, 0, 0, 0], len.as_slice(), b"S\0S\0D\0\0\0", path].concat();
            rig.variable("BootCurrent", &[7, 0]);
            rig.variable("Boot0007", &option);
            rig
        }

        fn variable(&self, name: &str, value: &[u8]) {
            let folder = self.0.path().join("efivars");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{name}-{GLOBAL}")), [&[7, 0, 0, 0], value].concat()).unwrap();
        }

        fn find(&self) -> Origin {
            find_in(&self.0.path().join("efivars"), &self.0.path().join("devices"))
        }
    }

    #[test]
    fn the_path_leads_over_bridges_to_the_ssd() {
        assert_eq!(Rig::new(SSD).find(), Origin::Ssd("0000:03:02.0".parse().unwrap()));
    }

    #[test]
    fn a_usb_stick_or_no_firmware_is_elsewhere() {
        let stick = [&SSD[..18], &[3, 5, 6, 0, 1, 0], &SSD[40..]].concat();
        assert_eq!(Rig::new(&stick).find(), Origin::Elsewhere);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find_in(folder.path(), folder.path()), Origin::Elsewhere);
    }

    #[test]
    fn a_path_that_cannot_be_followed_leads_nowhere() {
        let partition_only = &SSD[40..];
        assert_eq!(Rig::new(partition_only).find(), Origin::Unknown);
        let rig = Rig::new(SSD);
        fs::create_dir_all(rig.0.path().join("devices/pci0000:80/0000:80:1c.4/0000:81:02.0")).unwrap();
        assert_eq!(rig.find(), Origin::Unknown);
        let rig = Rig::new(SSD);
        rig.variable("BootCurrent", &[8, 0]);
        assert_eq!(rig.find(), Origin::Unknown);
    }

    #[test]
    fn no_bytes_of_firmware_are_too_strange() {
        for cut in 0..SSD.len() {
            let _ = Rig::new(&SSD[..cut]).find();
            let mut broken = SSD.to_vec();
            broken[cut] ^= 0xff;
            let _ = Rig::new(&broken).find();
        }
        let rig = Rig::new(SSD);
        for text in [&[][..], &[0; 5], &[0xff; 7], &[0; 9]] {
            rig.variable("Boot0007", text);
            assert_eq!(rig.find(), Origin::Unknown);
        }
        rig.variable("BootCurrent", &[]);
        assert_eq!(rig.find(), Origin::Unknown);
    }
}
