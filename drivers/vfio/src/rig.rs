//! A host for unit tests: a tree of `/sys`, `/proc` and `/dev`, and the part of a kernel that reacts to
//! writes there.

#![allow(
    clippy::unwrap_used,
    clippy::new_without_default,
    reason = "a test ends with a tree that cannot be written; there is no lint in the tests of this crate itself"
)]

use crate::SysfsRoot;
use crate::sysfs::write_existing;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// A tree of files, removed on drop.
pub struct FakeHost {
    folder: TempDir,
}

impl FakeHost {
    /// A host without a PCI function or driver.
    ///
    /// # Panics
    /// If the tree cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        host.file("sys/bus/pci/drivers_probe", "")
            .folder("sys/bus/pci/devices")
            .folder("sys/bus/pci/drivers");
        host
    }

    /// The tree of its files.
    #[must_use]
    pub fn root(&self) -> SysfsRoot {
        SysfsRoot::with_store(self.folder.path(), kernel)
    }

    /// Adds a file, with the folders above it.
    pub fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn folder(&self, path: &str) -> &Self {
        fs::create_dir_all(self.folder.path().join(path)).unwrap();
        self
    }

    /// Removes a file.
    ///
    /// # Panics
    /// If it is not there.
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.folder.path().join(path)).unwrap();
    }

    /// Content of a file in `/sys/bus/pci`.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("sys/bus/pci").join(name)).unwrap()
    }

    /// Adds an NVMe controller without a driver.
    pub fn function(&self, address: &str) -> &Self {
        self.attribute(address, "class", "0x010802\n").attribute(address, "driver_override", "(null)\n")
    }

    /// Adds an attribute of a function.
    ///
    /// # Panics
    /// If the tree cannot be written.
    pub fn attribute(&self, address: &str, name: &str, text: &str) -> &Self {
        self.file(&format!("sys/bus/pci/devices/{address}/{name}"), text)
    }

    /// Adds a driver.
    ///
    /// # Panics
    /// If the tree cannot be written.
    pub fn driver(&self, name: &str) -> &Self {
        self.file(&format!("sys/bus/pci/drivers/{name}/unbind"), "")
    }

    /// Adds a driver that binds no function.
    pub fn driver_that_refuses(&self, name: &str) -> &Self {
        self.file(&format!("sys/bus/pci/drivers/{name}/refuses"), "")
    }

    /// Binds a function to a driver.
    ///
    /// # Panics
    /// If the tree cannot be written.
    pub fn bound(&self, address: &str, driver: &str) -> &Self {
        bind(&self.root(), address, driver);
        self
    }

    /// Puts a function into an IOMMU group.
    ///
    /// # Panics
    /// If the tree cannot be written.
    pub fn group(&self, address: &str, number: u32) -> &Self {
        let group = format!("sys/kernel/iommu_groups/{number}");
        self.file(&format!("{group}/devices/{address}"), "");
        let link = self.folder.path().join(format!("sys/bus/pci/devices/{address}/iommu_group"));
        symlink(self.folder.path().join(group), link).unwrap();
        self
    }

    /// Adds a block device of the kernel's NVMe driver.
    pub fn disk(&self, address: &str, controller: &str, disk: &str, number: &str) -> &Self {
        self.folder(&format!("sys/bus/pci/devices/{address}/nvme/{controller}/{disk}"));
        self.folder(&format!("sys/class/block/{disk}/holders"));
        self.file(&format!("sys/class/block/{disk}/dev"), &format!("{number}\n"))
    }

    /// Adds the kernel's generic device file of a namespace.
    pub fn generic(&self, address: &str, controller: &str, name: &str, number: &str) -> &Self {
        let folder = format!("sys/bus/pci/devices/{address}/nvme/{controller}/{name}");
        self.file(&format!("{folder}/dev"), &format!("{number}\n"))
    }

    /// Adds a process that has these files open.
    pub fn process(&self, id: u32, program: &str, files: &[&str]) -> &Self {
        self.file(&format!("proc/{id}/comm"), &format!("{program}\n")).folder(&format!("proc/{id}/fd"));
        for (number, file) in files.iter().enumerate() {
            symlink(file, self.folder.path().join(format!("proc/{id}/fd/{number}"))).unwrap();
        }
        self
    }

    /// Adds a pool of hugepages.
    ///
    /// # Panics
    /// If the tree cannot be written.
    pub fn hugepages(&self, node: u32, page_kib: u64, total: u64, free: u64) -> &Self {
        let folder = format!("sys/devices/system/node/node{node}/hugepages/hugepages-{page_kib}kB");
        self.file(&format!("{folder}/nr_hugepages"), &format!("{total}\n"));
        self.file(&format!("{folder}/free_hugepages"), &format!("{free}\n"))
    }

    /// Lets the kernel make no more than `most` pages of a pool.
    ///
    /// # Panics
    /// If the tree cannot be written.
    pub fn hugepages_most(&self, node: u32, page_kib: u64, most: u64) -> &Self {
        let folder = format!("sys/devices/system/node/node{node}/hugepages/hugepages-{page_kib}kB");
        self.file(&format!("{folder}/most"), &most.to_string())
    }

    /// Adds a partition of a disk, with its device number.
    ///
    /// # Panics
    /// If the tree cannot be written.
    pub fn partition(&self, disk: &str, partition: &str, number: &str) -> &Self {
        self.folder(&format!("sys/class/block/{disk}/{partition}"));
        self.file(&format!("sys/class/block/{partition}/dev"), &format!("{number}\n"))
    }
}

/// Acts as the kernel when `text` is written to `path`.
fn kernel(root: &SysfsRoot, path: &Path, text: &str) -> io::Result<()> {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("driver_override") => {
            fs::metadata(path)?;
            fs::write(path, text)
        }
        Some("nr_hugepages") => resize_pool(path, text),
        Some("unbind") => fs::remove_file(root.path(&format!("/sys/bus/pci/devices/{text}/driver"))),
        Some("drivers_probe") => {
            write_existing(path, text)?;
            probe(root, text);
            Ok(())
        }
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Sets the size of a pool of hugepages, as far as there is memory; pages in use stay.
fn resize_pool(path: &Path, text: &str) -> io::Result<()> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(path.with_file_name(name)).ok()?.trim().parse().ok()
    };
    let used = number("nr_hugepages").unwrap_or(0) - number("free_hugepages").unwrap_or(0);
    let wanted: u64 = text.parse().map_err(io::Error::other)?;
    let total = wanted.clamp(used, number("most").unwrap_or(u64::MAX));
    fs::write(path, total.to_string())?;
    fs::write(path.with_file_name("free_hugepages"), (total - used).to_string())
}

fn probe(root: &SysfsRoot, address: &str) {
    let function = root.path(&format!("/sys/bus/pci/devices/{address}"));
    let wanted = fs::read_to_string(function.join("driver_override")).unwrap();
    let driver = if wanted.trim().is_empty() { "nvme" } else { wanted.trim() };
    let folder = root.path("/sys/bus/pci/drivers").join(driver);
    if folder.exists() && !folder.join("refuses").exists() {
        bind(root, address, driver);
    }
}

fn bind(root: &SysfsRoot, address: &str, driver: &str) {
    let link = root.path(&format!("/sys/bus/pci/devices/{address}/driver"));
    let _ = fs::remove_file(&link);
    symlink(root.path("/sys/bus/pci/drivers").join(driver), link).unwrap();
}
