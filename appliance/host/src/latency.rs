//! Settings of a host's CPUs that cost latency, and what to put on the kernel's command line.

use crate::cpu_list::CpuList;
use luge_vfio::SysfsRoot;
use serde::Serialize;
use std::fs;

/// Longest exit from an idle state that a polling core does not notice, in microseconds.
const EXIT_US_MAX: u64 = 2;

/// Settings of the CPUs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Cpus {
    /// CPUs that serve disks; none where that is not known.
    pub(crate) serving: Option<CpuList>,
    /// CPUs that the kernel's scheduler leaves alone (`isolcpus=`).
    pub(crate) isolated: CpuList,
    /// CPUs without a timer tick (`nohz_full=`).
    pub(crate) tickless: CpuList,
    /// CPUs that interrupts may come to; none where the kernel does not say.
    pub(crate) interrupted: Option<CpuList>,
    /// Longest exit from an idle state that is enabled, in microseconds: of the CPUs that serve, or that are isolated,
    /// or of all; none without idle states.
    pub(crate) idle_exit_us: Option<u64>,
    /// Frequency governor of the first CPU that has one.
    pub(crate) governor: Option<String>,
}

impl Cpus {
    /// Reads the settings. `serving` are the CPUs that serve disks, where that is known.
    pub(crate) fn of(root: &SysfsRoot, serving: Option<&CpuList>) -> Self {
        let text = |path: &str| Some(fs::read_to_string(root.path(path)).ok()?.trim().to_owned());
        // The kernel writes nothing, or `(null)`, where no CPU is.
        let list = |name: &str| {
            let list = text(&format!("/sys/devices/system/cpu/{name}"));
            list.and_then(|list| CpuList::parse(&list)).unwrap_or_default()
        };
        let isolated = list("isolated");
        let judged = serving.unwrap_or(&isolated);
        let cpus = cpus(root);
        let governor = |cpu| text(&format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"));
        let exits = cpus.iter().filter(|&&cpu| judged.is_empty() || judged.has(cpu));
        Self {
            serving: serving.cloned(),
            tickless: list("nohz_full"),
            interrupted: text("/proc/irq/default_smp_affinity").and_then(|mask| CpuList::parse_mask(&mask)),
            idle_exit_us: exits.filter_map(|&cpu| idle_exit_us(root, cpu)).max(),
            governor: cpus.iter().find_map(|&cpu| governor(cpu)),
            isolated,
        }
    }

    /// Lists what costs latency, with the remedy.
    pub(crate) fn advice(&self) -> Vec<String> {
        let isolation = match &self.serving {
            Some(serving) => self.isolation_of(serving),
            None => self.isolation_of_any(),
        };
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
        isolation.into_iter().chain(idle).chain(governor).collect()
    }

    /// Advice where it is not known which CPUs will serve.
    fn isolation_of_any(&self) -> Option<String> {
        if self.isolated.is_empty() {
            return Some(
                "no CPU is isolated, so that other threads interrupt the cores of Luge: with the CPUs 2 and 3 as its \
                 cores (luge serve -m [2,3]), boot with isolcpus=managed_irq,domain,2-3 irqaffinity=0-1"
                    .to_owned(),
            );
        }
        self.tickless.is_empty().then(|| {
            format!(
                "the isolated CPUs have a timer tick: boot with nohz_full={0} rcu_nocbs={0}",
                self.isolated
            )
        })
    }

    /// Advice for the CPUs that serve.
    fn isolation_of(&self, serving: &CpuList) -> Option<String> {
        let interrupted = self.interrupted.as_ref().is_some_and(|cpus| cpus.meets(serving));
        let lacking = [
            (!self.isolated.includes(serving), "are not isolated"),
            (!self.tickless.includes(serving), "have a timer tick"),
            (interrupted, "get interrupts"),
        ];
        let lacking: Vec<&str> = lacking.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
        (!lacking.is_empty()).then(|| {
            format!(
                "some CPUs that serve disks ({serving}) {}: boot with isolcpus=managed_irq,domain,{serving} \
                 nohz_full={serving} rcu_nocbs={serving}, and irqaffinity= of the others",
                lacking.join(", and some ")
            )
        })
    }
}

/// Numbers of the CPUs.
fn cpus(root: &SysfsRoot) -> Vec<u32> {
    let names = fs::read_dir(root.path("/sys/devices/system/cpu")).into_iter().flatten().flatten();
    let number = |name: String| name.strip_prefix("cpu")?.parse().ok();
    let mut cpus: Vec<u32> =
        names.filter_map(|entry| number(entry.file_name().into_string().ok()?)).collect();
    cpus.sort_unstable();
    cpus
}

/// Longest exit from an idle state of a CPU that is enabled.
fn idle_exit_us(root: &SysfsRoot, cpu: u32) -> Option<u64> {
    let states =
        fs::read_dir(root.path(&format!("/sys/devices/system/cpu/cpu{cpu}/cpuidle"))).ok()?.flatten();
    let number = |path: std::path::PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let enabled = states.filter(|state| number(state.path().join("disable")) != Some(1));
    enabled.filter_map(|state| number(state.path().join("latency"))).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_vfio::rig::FakeHost;

    fn advice(host: &FakeHost) -> Vec<String> {
        Cpus::of(&host.root(), None).advice()
    }

    /// Advice where CPU 2 serves.
    fn advice_for_2(host: &FakeHost) -> Vec<String> {
        Cpus::of(&host.root(), CpuList::parse("2").as_ref()).advice()
    }

    /// A host whose CPU 2 is left alone by everything.
    fn quiet() -> FakeHost {
        let host = FakeHost::new();
        host.file("sys/devices/system/cpu/isolated", "2\n").file("sys/devices/system/cpu/nohz_full", "2\n");
        host.file("proc/irq/default_smp_affinity", "3\n");
        host.file("sys/devices/system/cpu/cpu0/cpuidle/state3/latency", "133\n");
        host.file("sys/devices/system/cpu/cpu2/cpuidle/state1/latency", "2\n");
        host
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

    #[test]
    fn only_the_cpus_that_serve_have_to_be_quiet() {
        assert_eq!(advice_for_2(&quiet()), [""; 0]);
    }

    #[test]
    fn what_disturbs_a_cpu_that_serves_is_named() {
        for (file, text, wanted) in [
            (
                "sys/devices/system/cpu/isolated",
                "1,3\n",
                "(2) are not isolated: boot with isolcpus=managed_irq,domain,2 ",
            ),
            ("sys/devices/system/cpu/nohz_full", "(null)\n", "(2) have a timer tick: boot"),
            ("proc/irq/default_smp_affinity", "00000000,00000004\n", "(2) get interrupts: boot"),
            ("sys/devices/system/cpu/cpu2/cpuidle/state1/latency", "90\n", "up to 90 us"),
        ] {
            let host = quiet();
            host.file(file, text);
            let advice = advice_for_2(&host);
            assert_eq!(advice.len(), 1, "{file}: {advice:?}");
            assert!(advice[0].contains(wanted), "{}", advice[0]);
        }
    }
}
