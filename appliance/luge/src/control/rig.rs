//! A control thread of an empty sled without cores, for tests.

use crate::control::{Budget, Control, Platform, PrScope, Sled, SocketFolder};
use luge_init::Reaper;
use luge_memory::{DmaSpace, PageSize};
use luge_scsi::PortGroups;
use luge_socket::Permissions;
use luge_vfio::{Backend, SysfsRoot, Vfio};
use luge_vm::{SandboxConfig, Timeouts, VmConfig, VmRunner};
use std::path::Path;
use std::sync::Arc;

/// A sled on a machine that has nothing.
pub fn control() -> Arc<Control> {
    Control::start(Sled::new(Arc::new(platform(PageSize::Base)), Budget::new(64 << 20))).unwrap()
}

/// A machine that has nothing, with pages of a size.
pub fn platform(pages: PageSize) -> Platform {
    let (space, sysfs) = (DmaSpace::new(), SysfsRoot::new("/nowhere"));
    let vms = VmConfig {
        folder: "/nowhere".into(),
        qemu: None,
        firmware_folder: None,
        trial_kernel: None,
        sandbox: SandboxConfig::default(),
        timeouts: Timeouts::default(),
    };
    Platform {
        descriptors: luge_core::Descriptors::with_limit(1 << 20),
        cores: Vec::new(),
        vfio: Vfio::new(sysfs.clone(), Backend::Auto, space.clone()),
        space,
        sysfs,
        last_words: None,
        pages,
        pr_scope: PrScope::default(),
        port_groups: PortGroups::default(),
        sockets: SocketFolder::new(Path::new("/nowhere"), Permissions::GROUP, &[]),
        vms: VmRunner::new(vms, Reaper::of_own_children()),
    }
}
