//! A guest that polls: Luge in a machine, whose driver takes the controller over by VFIO and uses no interrupts.

use super::{listen, make_file, serve};
use luge_qemu_test::{Lab, Machine, SelfTestResult, SledMachine, TestError, selftest, sled};

/// PCI address of the controller: the first device behind the first port.
const CONTROLLER: &str = "0000:01:00.0";

/// The VM of the sled in the machine has a file system on a volume of the controller's first namespace, a file.
#[test]
fn a_sled_in_a_machine_polls_the_controller_behind_an_iommu() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("nvme-polling")?;
    let _turn = lab.turn()?;
    let disk = make_file(&bench, "disk", 256)?;
    let mut daemon = serve(&bench, &disk)?;
    let controllers = vec![listen(&bench, &mut daemon, "first")?];
    let configuration = selftest::configuration(CONTROLLER);
    let machine = Machine { controllers, ..sled::machine(&bench, Vec::new(), &configuration)? };
    let sled = SledMachine::start(&bench, &machine)?;
    let witness = SelfTestResult::wait(&sled)?;
    assert!(witness.files_match(), "{witness:?}");
    assert!(sled.power_off()?.success());
    assert_eq!(witness.hash_outside(&disk)?, witness.device);
    Ok(())
}
