//! Start, and end, of drivers: the accesses and commands of each in their order, with the file that makes them. From
//! public sources; of Windows, whose driver has none, from its documentation and from reports on other emulations.

use crate::rig::host::{
    DATA, create_completion_queue, create_submission_queue, get_feature, identify, log, set_feature,
};
use crate::rig::queue::QueuePair;
use crate::rig::{Host, NAMESPACES_MAX, Sled, disk};
use luge_memory::GuestAddress;
use luge_nvme_target::ControllerConfig;
use luge_spec::nvme::{AdminOpcode, StatusCode, SubmissionEntry, offset};
use luge_vfio_user::RegionIndex;
use luge_virtqueue::rig::RigMemory;

/// CC of a driver that uses the NVM command set, enabled.
const ENABLED: u32 = 0x0046_0001;

/// Writes a register of 64 bits as two of 32 bits.
fn write_halves(host: &mut Host, at: u32, value: u64) {
    host.write32(at, u32::try_from(value & 0xffff_ffff).unwrap());
    host.write32(at + 4, u32::try_from(value >> 32).unwrap());
}

/// Tells the controller of admin queues with that many entries.
fn new_admin_queues(host: &mut Host, entries: u16) {
    host.admin = QueuePair::new(&host.memory, 0, entries, RigMemory::RINGS.0);
    host.queues.clear();
}

fn write_attributes(host: &mut Host) {
    let entries_z = u32::from(host.admin.entries) - 1;
    host.write32(offset::AQA, entries_z << 16 | entries_z);
}

fn enable(host: &mut Host, configuration: u32) {
    host.write32(offset::CC, configuration);
    host.wait("CSTS.RDY", |host| host.status() & 1 == 1);
}

fn request_event(host: &mut Host) -> u16 {
    host.send(SubmissionEntry::admin(AdminOpcode::ASYNC_EVENT_REQUEST, 0, 0))
}

/// Creates queue pairs of that many entries, with a vector each, or none.
fn create_queues(host: &mut Host, count: u16, entries: u16, vector: impl Fn(u16) -> Option<u16>) {
    for id in 1..=count {
        let at = RigMemory::RINGS.0 + 0x1_0000 * u64::from(id);
        let queue = QueuePair::new(&host.memory, id, entries, at);
        let mut completion = create_completion_queue(&queue, vector(id).unwrap_or(0));
        if vector(id).is_none() {
            completion.cdw10[1] = 1;
        }
        host.succeed(completion);
        host.succeed(create_submission_queue(&queue, id));
        host.queues.push(queue);
    }
}

#[test]
fn linux_starts_and_shuts_down() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    // drivers/nvme/host/pci.c, nvme_pci_enable: bus master; the function is there; CAP by two halves; VS.
    host.set_bus_master(true);
    assert_ne!(host.status(), u32::MAX);
    let capabilities = u64::from(host.read32(offset::CAP)) | u64::from(host.read32(offset::CAP + 4)) << 32;
    assert!(capabilities & 0xffff >= 1023, "queues of 1024 entries");
    assert_eq!(capabilities >> 37 & 1, 1, "the NVM command set");
    assert_eq!(host.read32(offset::VS), 0x2_0000);
    // nvme_pci_configure_admin_queue, and core.c, nvme_disable_ctrl: disabled first.
    let configuration = host.read32(offset::CC) & !(3 << 14) & !1;
    host.write32(offset::CC, configuration);
    assert_eq!(host.status() & 1, 0);
    // 32 entries; addresses by two halves (lo_hi_writeq).
    new_admin_queues(&mut host, 32);
    write_attributes(&mut host);
    let (submission, completion) = (host.admin.submission, host.admin.completion);
    write_halves(&mut host, offset::ASQ, submission);
    write_halves(&mut host, offset::ACQ, completion);
    // core.c, nvme_enable_ctrl: settings first and read back, with a time-out from CRTO or CAP; then the enable bit.
    host.write32(offset::CC, ENABLED & !1);
    assert!(host.read32(offset::CRTO) & 0xffff > 0);
    let configuration = host.read32(offset::CC);
    enable(&mut host, configuration | 1);
    // core.c, nvme_init_identify: the controller, the effects log where LPA has it, limits of the command set.
    let controller = host.identify(1, 0);
    assert_eq!(controller[261] & 2, 2, "LPA");
    host.succeed(log(5, 0, 4096));
    host.identify(6, 0);
    // core.c, nvme_configure_timestamp and nvme_configure_host_options.
    assert_eq!(u16::from_le_bytes([controller[520], controller[521]]) >> 6 & 1, 1, "ONCS");
    host.memory.write(GuestAddress(DATA), &1_700_000_000_000_u64.to_le_bytes());
    host.succeed(set_feature(0x0e, 0));
    // pci.c, nvme_dbbuf_set: shadow doorbells.
    assert_eq!(u16::from_le_bytes([controller[256], controller[257]]) >> 8 & 1, 1, "OACS");
    let (doorbells, events) = (DATA + 0x1_0000, DATA + 0x1_1000);
    host.memory.write(GuestAddress(doorbells), &[0; 8192]);
    host.succeed(SubmissionEntry {
        prp1: doorbells,
        prp2: events,
        ..SubmissionEntry::admin(AdminOpcode::DOORBELL_BUFFER_CONFIG, 0, 0)
    });
    // core.c, nvme_set_queue_count; pci.c, nvme_create_queue: a queue and a vector for each CPU.
    assert_eq!(host.succeed(set_feature(7, 0x0003_0003)), 0x0003_0003);
    create_queues(&mut host, 4, 1024, Some);
    // core.c, nvme_start_ctrl: events that OAES has, and one request.
    host.succeed(set_feature(0x0b, 0x100));
    request_event(&mut host);
    // core.c, nvme_scan_work: the list; of each namespace its descriptors and pages.
    assert_eq!(host.identify(2, 0)[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_ne!(host.identify(3, 1)[1], 0);
    host.identify(8, 1);
    host.identify(0, 1);
    // hwmon.c: temperatures.
    host.succeed(log(2, 0, 512));
    host.succeed(get_feature(4, 0));
    // core.c, nvme_disable_ctrl with a shutdown: queues are deleted, then CC.SHN is set.
    for id in 1..=4 {
        host.succeed(SubmissionEntry::admin(AdminOpcode::DELETE_SUBMISSION_QUEUE, id, 0));
        host.succeed(SubmissionEntry::admin(AdminOpcode::DELETE_COMPLETION_QUEUE, id, 0));
    }
    host.write32(offset::CC, ENABLED | 1 << 14);
    host.wait("CSTS.SHST", |host| host.status() >> 2 & 3 == 2);
    assert!(host.unexpected.is_empty(), "no request for an event is completed");
}

#[test]
fn freebsd_starts() {
    let sled = Sled::with_disk();
    sled.add(3, disk());
    let mut host = sled.connect();
    // sys/dev/nvme/nvme_pci.c, nvme_pci_attach: bus master.
    host.set_bus_master(true);
    // sys/dev/nvme/nvme_ctrlr.c, nvme_ctrlr_construct: CAP by two halves; nvme_ctrlr_disable: CC and CSTS.
    host.read32(offset::CAP);
    host.read32(offset::CAP + 4);
    assert_eq!(host.read32(offset::CC) & 1, 0);
    assert_eq!(host.status() & 1, 0);
    // nvme_ctrlr_enable: ASQ, ACQ, AQA, CC, in that order; addresses by one write of 64 bits.
    new_admin_queues(&mut host, 128);
    let (submission, completion) = (host.admin.submission, host.admin.completion);
    host.write64(offset::ASQ, submission);
    host.write64(offset::ACQ, completion);
    write_attributes(&mut host);
    enable(&mut host, ENABLED);
    // nvme_ctrlr_identify, nvme_ctrlr_set_num_qpairs; a reset between the two at the first start (nvme_ctrlr_start).
    let nn = u32::from_le_bytes(host.identify(1, 0)[516..520].try_into().unwrap());
    assert_eq!(host.succeed(set_feature(7, 0x0001_0001)), 0x0001_0001);
    // nvme_ctrlr_create_qpairs.
    create_queues(&mut host, 2, 256, Some);
    // nvme_ctrlr_construct_namespaces: every identifier up to NN; a size of zero is no namespace.
    let sizes: Vec<u64> = (1..=nn.min(16))
        .map(|id| u64::from_le_bytes(host.identify(0, id)[..8].try_into().unwrap()))
        .collect();
    let present: Vec<usize> = (0..sizes.len()).filter(|&at| sizes[at] > 0).collect();
    assert_eq!(present, [0, 2]);
    host.identify(3, 1);
    // nvme_ctrlr_configure_aer: the temperature threshold, the events, and AERL + 1 requests, at most 8.
    host.succeed(get_feature(4, 0));
    host.succeed(set_feature(0x0b, 0x0000_011f));
    (0..8).for_each(|_| {
        request_event(&mut host);
    });
    // nvme_ctrlr_configure_int_coalescing.
    host.succeed(set_feature(8, 0x0000_0000));
    // nvme_ctrlr_shared_handler: the mask of the interrupt line.
    host.write32(offset::INTMS, 1);
    host.write32(offset::INTMC, 1);
    host.use_disk(0, 1);
    // nvme_ctrlr_shutdown.
    host.write32(offset::CC, ENABLED | 1 << 14);
    host.wait("CSTS.SHST", |host| host.status() >> 2 & 3 == 2);
}

#[test]
fn windows_starts() {
    let sled = Sled::with(ControllerConfig::default());
    sled.add(1, disk());
    let mut host = sled.connect();
    // The bus driver.
    host.set_bus_master(true);
    // Report on 512 vectors and Code 10: the number in MSI-X is 64 at most.
    let mut control = [0; 2];
    host.function.read(RegionIndex::CONFIG, 0x52, &mut control);
    assert_eq!(u16::from_le_bytes(control) & 0x7ff, 63);
    host.read64(offset::CAP);
    host.read32(offset::VS);
    host.write32(offset::CC, 0);
    host.wait("CSTS.RDY cleared", |host| host.status() & 1 == 0);
    new_admin_queues(&mut host, 64);
    write_attributes(&mut host);
    let (submission, completion) = (host.admin.submission, host.admin.completion);
    host.write64(offset::ASQ, submission);
    host.write64(offset::ACQ, completion);
    enable(&mut host, ENABLED);
    let nn = u32::from_le_bytes(host.identify(1, 0)[516..520].try_into().unwrap());
    // propolis, pull request 1199: ASQ is read back while the controller is enabled.
    assert_eq!(host.read64(offset::ASQ), submission);
    assert_eq!(host.read64(offset::ACQ), completion);
    assert_eq!(host.read32(offset::AQA), 63 << 16 | 63);
    // Every identifier up to NN is asked for (win32, working-with-nvme-devices); an inactive one is a page of zeroes.
    assert_eq!(nn, NAMESPACES_MAX);
    for id in 1..=nn {
        assert_eq!(host.identify(0, id).iter().any(|&byte| byte != 0), id == 1);
    }
    assert_eq!(host.refused(identify(0, nn + 1)), StatusCode::INVALID_NAMESPACE);
    // openvmm, pull request 3886: features and pages that the driver asks for at start.
    for feature in [0x01, 0x02, 0x04, 0x08, 0x0a, 0x0b, 0x0f] {
        host.succeed(get_feature(feature, 0));
    }
    host.identify(6, 0);
    host.succeed(log(0, 0, 1024));
    // spdk, issue 2008: a vendor's log page, and the driver goes on.
    assert_eq!(host.refused(log(0xc1, 0, 512)), StatusCode::INVALID_LOG_PAGE);
    // stornvme-command-set-support: SMART and firmware logs.
    host.succeed(log(2, 0, 512));
    host.succeed(log(3, 0, 512));
    assert_eq!(host.succeed(set_feature(7, 0x0007_0007)), 0x0007_0007);
    create_queues(&mut host, 4, 256, Some);
    // propolis, pull request 1199: four requests for events that wait.
    let requests: Vec<u16> = (0..4).map(|_| request_event(&mut host)).collect();
    host.use_disk(1, 2);
    assert!(requests.iter().all(|&request| host.completion(request).is_none()));
    // A disk that is not used any more: normal shutdown, then disabled with the notification still set.
    host.write32(offset::CC, ENABLED | 1 << 14);
    host.wait("CSTS.SHST", |host| host.status() >> 2 & 3 == 2);
    host.write32(offset::CC, ENABLED & !1 | 1 << 14);
    host.wait("CSTS.RDY cleared", |host| host.status() & 1 == 0);
    host.enable();
}

/// macOS, by reports on it: acidanthera, bugtracker issues 732 (queues of the greatest length, the admin queues, too) and
/// 835 (the SMART log is read at start, and a driver without one gives up).
#[test]
fn macos_starts() {
    let sled = Sled::with(ControllerConfig::default());
    sled.add(1, disk());
    let mut host = sled.connect();
    host.set_bus_master(true);
    let entries = u16::try_from((host.read64(offset::CAP) & 0xffff) + 1).unwrap();
    new_admin_queues(&mut host, entries);
    write_attributes(&mut host);
    let (submission, completion) = (host.admin.submission, host.admin.completion);
    host.write64(offset::ASQ, submission);
    host.write64(offset::ACQ, completion);
    enable(&mut host, ENABLED);
    for namespace in [0, 1, u32::MAX] {
        host.succeed(SubmissionEntry { namespace, ..log(2, 0, 512) });
    }
    // Once around the queue.
    for _ in 0..=entries {
        host.identify(1, 0);
    }
}

#[test]
fn spdk_starts_without_interrupts() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    // lib/nvme/nvme_vfio_user.c: bus mastering on, the interrupt line off; no reset, no eventfds.
    host.function.write(RegionIndex::CONFIG, 4, &0x0406_u16.to_le_bytes());
    // One area of BAR0 that can be mapped, from 1000h on.
    let region = host.function.region(RegionIndex::BAR0);
    let areas = region.mappable.unwrap().areas;
    assert_eq!(areas.len(), 1);
    assert_eq!(areas[0].offset, 0x1000);
    // nvme_ctrlr.c, NVME_CTRLR_STATE_READ_VS to ENABLE: AQA and addresses before CC, an admin queue of 256 entries.
    host.read32(offset::VS);
    host.read64(offset::CAP);
    host.read32(offset::CC);
    new_admin_queues(&mut host, 256);
    let (submission, completion) = (host.admin.submission, host.admin.completion);
    host.write64(offset::ASQ, submission);
    host.write64(offset::ACQ, completion);
    write_attributes(&mut host);
    enable(&mut host, ENABLED);
    // IDENTIFY, CONFIGURE_AER, SET_KEEP_ALIVE_TIMEOUT.
    let controller = host.identify(1, 0);
    host.succeed(get_feature(0x0b, 0));
    host.succeed(set_feature(0x0b, 0x11f));
    let requests = u16::from(controller[259]) + 1;
    (0..requests.min(8)).for_each(|_| {
        request_event(&mut host);
    });
    if u16::from_le_bytes([controller[320], controller[321]]) > 0 {
        host.succeed(set_feature(0x0f, 10_000));
        host.succeed(get_feature(0x0f, 0));
    }
    // SET_NUM_QUEUES, IDENTIFY_ACTIVE_NS, IDENTIFY_NS, IDENTIFY_ID_DESCS.
    host.succeed(set_feature(7, 0x0002_0002));
    host.succeed(get_feature(7, 0));
    host.identify(2, 0);
    host.identify(0, 1);
    host.identify(3, 1);
    // SET_SUPPORTED_LOG_PAGES, SET_DB_BUF_CFG, SET_HOST_ID (128 bits, where CTRATT has that).
    host.succeed(log(5, 0, 4096));
    assert_eq!(controller[96] & 1, 1, "CTRATT");
    host.memory.write(GuestAddress(DATA), &[5; 16]);
    host.succeed(set_feature(0x81, 1));
    create_queues(&mut host, 2, 256, |_| None);
    host.use_disk(1, 3);
    host.succeed(SubmissionEntry::admin(AdminOpcode::KEEP_ALIVE, 0, 0));
}

#[test]
fn uefi_starts_with_tiny_queues_and_leaves_the_controller_to_the_next_driver() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    // MdeModulePkg/Bus/Pci/NvmExpressDxe/NvmExpress.c, NvmExpressDriverBindingStart: attributes of the device.
    host.set_bus_master(true);
    // MdeModulePkg/Bus/Pci/NvmExpressDxe/NvmExpressHci.c, NvmeControllerInit: of older firmware, exactly this set.
    assert_eq!(host.read64(offset::CAP) >> 37 & 0xff, 1);
    // NvmeDisableController.
    let configuration = host.read32(offset::CC);
    host.write32(offset::CC, configuration & !1);
    assert_eq!(host.status() & 1, 0);
    // Admin queues of two entries; all accesses have 32 bits.
    new_admin_queues(&mut host, 2);
    write_attributes(&mut host);
    let (submission, completion) = (host.admin.submission, host.admin.completion);
    write_halves(&mut host, offset::ASQ, submission);
    write_halves(&mut host, offset::ACQ, completion);
    // NvmeEnableController.
    enable(&mut host, ENABLED);
    host.identify(1, 0);
    // NvmeCreateIoCompletionQueue and NvmeCreateIoSubmissionQueue: no interrupts, no number of queues before.
    create_queues(&mut host, 1, 2, |_| None);
    // NvmExpress.c, EnumerateNvmeDevNamespace.
    host.identify(0, 1);
    host.use_disk(0, 7);
    // NvmExpressHci.c, NvmeShutdownAllControllers: a normal shutdown at the end of boot services.
    host.write32(offset::CC, ENABLED | 1 << 14);
    host.wait("CSTS.SHST", |host| host.status() >> 2 & 3 == 2);
    // The kernel's driver finds it so.
    host.write32(offset::CC, ENABLED & !1);
    host.wait("CSTS.RDY cleared", |host| host.status() == 0);
    host.enable();
}

#[test]
fn a_driver_that_enables_again_without_setting_up_its_queues_finds_them_reset() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.identify(1, 0);
    host.disable();
    // nvmevirt, issue 58: heads, tails and the phase tag start anew, in the queues where they were.
    let entries = host.admin.entries;
    new_admin_queues(&mut host, entries);
    enable(&mut host, ENABLED);
    host.identify(1, 0);
}
