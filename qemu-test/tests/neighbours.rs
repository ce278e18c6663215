//! Every neighbour, for a moment: the daemon stays up, and a victim on the same core reads what it has
//! written. No time is checked.

use luge_qemu_test::neighbours::{ATTACKS, DiskKind, HONEST, House, Neighbour, Resident};
use luge_qemu_test::{Bench, Deadline, Lab, Process, TestError};
use serde_json::Value;
use std::process::Command;

/// CPU of the daemon.
const CPU: u16 = 0;

/// Number of times that each neighbour acts, or is kept from it.
const ACTS: u64 = 3;

/// Writes of the victim beside a neighbour. It has 128 places on its disk: some are written and read.
const WRITES: u64 = 100;

/// Starts a load that checks its data, and goes on until it is told to end.
fn start_victim(bench: &Bench<'_>, house: &House) -> Result<Process, TestError> {
    let mut command = Command::new(bench.lab().luge()?);
    command.arg("bench").arg(house.victim());
    command.args("--rw randrw --bs 1m --iodepth 2 --runtime 600 --verify crc32c --json".split(' '));
    Process::start("victim", command, &bench.log("victim"))
}

/// Waits until `wanted` is so.
fn wait_for(who: &str, what: &str, wanted: impl FnMut() -> bool) -> Result<(), TestError> {
    let mut wanted = wanted;
    let reached = Deadline::within(60).poll(|| wanted().then_some(()));
    reached.ok_or_else(|| TestError::Host(format!("beside {who}: {what} never came to be")))
}

/// Ends the victim; returns its report.
fn end_victim(mut victim: Process) -> Result<Value, TestError> {
    let deadline = Deadline::within(60);
    victim.terminate()?;
    let status = victim.wait(deadline)?;
    victim.output.wait_end(deadline)?;
    let said = victim.output.text();
    assert!(status.success(), "{status}: {said}");
    serde_json::from_str(&said).map_err(|_| TestError::Host(said))
}

/// Lets a neighbour act beside a victim; returns whether the daemon took it in.
fn lives_beside(bench: &Bench<'_>, neighbour: &'static dyn Neighbour) -> Result<bool, TestError> {
    let who = &neighbour.name();
    let mut house = House::start(bench, CPU, DiskKind::Memory, Some(neighbour))?;
    let victim = start_victim(bench, &house)?;
    wait_for(who, "a write of the victim", || house.requests().is_ok_and(|count| count.victims_writes > 0))?;
    let resident = Resident::start(neighbour, house.target())?;
    wait_for(who, "what it does", || resident.attempts() >= ACTS)?;
    let before = house.requests()?;
    wait_for(who, "more of the victim's writes", || {
        house.requests().is_ok_and(|count| count.victims_writes > before.victims_writes + WRITES)
    })?;
    let taken_in = resident.refusal().is_none();
    drop(resident);
    let report = end_victim(victim)?;
    assert!(report["verified"].as_u64() > Some(0), "beside {who}: {report}");
    assert!(house.is_running()?, "the daemon beside {who}");
    Ok(taken_in)
}

#[test]
fn a_victim_reads_what_it_wrote_beside_honest_tenants() -> Result<(), TestError> {
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("honest-neighbours")?);
    for tenants in HONEST {
        assert!(lives_beside(&bench, tenants)?, "{} were refused", tenants.name());
    }
    Ok(())
}

#[test]
fn a_victim_reads_what_it_wrote_beside_every_attack_and_the_daemon_stays_up() -> Result<(), TestError> {
    let lab = Lab::shared();
    let (_turn, bench) = (lab.turn()?, lab.bench("hostile-neighbours")?);
    ATTACKS.into_iter().try_for_each(|attack| lives_beside(&bench, attack).map(drop))
}
