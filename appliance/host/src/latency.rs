//! Settings of a host's CPUs that cost latency, and what to put on the kernel's command line.

use luge_vfio::SysfsRoot;
use serde::Serialize;
use std::fs;

/// Longest exit from an idle state that a polling core does not notice, in microseconds.
const EXIT_US_MAX: u64 = 2;

/// Settings of the CPUs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Cpus {
    /// CPUs that the kernel's scheduler leaves alone (`isolcpus=`), as a list.
    pub(crate) isolated: String,
    /// CPUs without a timer tick (`nohz_full=`), as a list.
    pub(crate) tickless: String,
    /// Longest exit from an idle state that is enabled on any CPU, in microseconds; none without idle states.
    pub(crate) idle_exit_us: Option<u64>,
    /// Frequency governor of the first CPU that has one.
    pub(crate) governor: Option<String>,
}

impl Cpus {
    pub(crate) fn of(root: &SysfsRoot) -> Self {
        let text = |path: &str| Some(fs::read_to_string(root.path(path)).ok()?.trim().to_owned());
        let list = |name: &str| text(&format!("/sys/devices/system/cpu/{name}")).unwrap_or_default();
        let cpus = cpus(root);
        let governor = |cpu| text(&format!("/sys/devices/system/cpu/{cpu}/cpufreq/scaling_governor"));
        Self {
            isolated: list("isolated"),
            // The kernel writes `(null)` where no CPU is.
            tickless: Some(list("nohz_full")).filter(|list| list != "(null)").unwrap_or_default(),
            idle_exit_us: cpus.iter().filter_map(|cpu| idle_exit_us(root, cpu)).max(),
            governor: cpus.iter().find_map(governor),
        }
    }

    /// Lists what costs latency, with the remedy.
    pub(crate) fn advice(&self) -> Vec<String> {
        let isolated = self.isolated.is_empty().then(|| {
            "no CPU is isolated, so that other threads interrupt the cores of Luge: with the CPUs 2 and 3 as its \
             cores (luge serve -m [2,3]), boot with isolcpus=managed_irq,domain,2-3 irqaffinity=0-1"
                .to_owned()
        });
        let tick = (self.tickless.is_empty() && isolated.is_none()).then(|| {
            format!(
                "the isolated CPUs have a timer tick: boot with nohz_full={0} rcu_nocbs={0}",
                self.isolated
            )
        });
        let idle = self.idle_exit_us.filter(|&exit| exit > EXIT_US_MAX).map(|exit| {
            format!(
                "a CPU takes up to {exit} us to wake from an idle state, when Luge has slept: for steady latency boot \
                 with intel_idle.max_cstate=1 processor.max_cstate=1"
            )
        });
        let governor =
            self.governor.as_deref().filter(|&governor| governor != "performance").map(|governor| {
                format!(
                    "the frequency governor is {governor}: echo performance | tee \
                 /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
                )
            });
        [isolated, tick, idle, governor].into_iter().flatten().collect()
    }
}

/// Folders of the CPUs.
fn cpus(root: &SysfsRoot) -> Vec<String> {
    let names = fs::read_dir(root.path("/sys/devices/system/cpu")).into_iter().flatten().flatten();
    let is_cpu = |name: &String| name.strip_prefix("cpu").is_some_and(|number| number.parse::<u32>().is_ok());
    let mut cpus: Vec<String> =
        names.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_cpu).collect();
    cpus.sort();
    cpus
}

/// Longest exit from an idle state of a CPU that is enabled.
fn idle_exit_us(root: &SysfsRoot, cpu: &str) -> Option<u64> {
    let states = fs::read_dir(root.path(&format!("/sys/devices/system/cpu/{cpu}/cpuidle"))).ok()?.flatten();
    let number = |path: std::path::PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let enabled = states.filter(|state| number(state.path().join("disable")) != Some(1));
    enabled.filter_map(|state| number(state.path().join("latency"))).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_vfio::rig::FakeHost;

    fn advice(host: &FakeHost) -> Vec<String> {
        Cpus::of(&host.root()).advice()
    }

    #[test]
    fn a_host_of_a_distribution_is_told_what_costs_latency() {
        let host = FakeHost::new();
        host.file("sys/devices/system/cpu/isolated", "\n");
        host.file("sys/devices/system/cpu/nohz_full", "(null)\n");
        host.file("sys/devices/system/cpu/cpu0/cpuidle/state0/latency", "0\n");
        host.file("sys/devices/system/cpu/cpu0/cpuidle/state3/latency", "133\n");
        host.file("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
        let advice = advice(&host);
        assert_eq!(advice.len(), 3, "{advice:?}");
        assert!(advice[0].contains("isolcpus="), "{}", advice[0]);
        assert!(advice[1].contains("up to 133 us"), "{}", advice[1]);
        assert!(advice[2].contains("powersave"), "{}", advice[2]);
    }

    #[test]
    fn isolated_cpus_with_a_tick_are_named() {
        let host = FakeHost::new();
        host.file("sys/devices/system/cpu/isolated", "2-3\n");
        let advice = advice(&host);
        assert_eq!(advice.len(), 1, "{advice:?}");
        assert!(advice[0].contains("nohz_full=2-3 rcu_nocbs=2-3"), "{}", advice[0]);
    }

    #[test]
    fn an_idle_state_that_is_disabled_costs_nothing() {
        let host = FakeHost::new();
        host.file("sys/devices/system/cpu/isolated", "2\n").file("sys/devices/system/cpu/nohz_full", "2\n");
        host.file("sys/devices/system/cpu/cpu0/cpuidle/state3/latency", "133\n");
        host.file("sys/devices/system/cpu/cpu0/cpuidle/state3/disable", "1\n");
        assert!(advice(&host).is_empty());
    }
}
