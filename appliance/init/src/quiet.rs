//! Quiet on the CPUs that serve disks: interrupts and the kernel's own work go elsewhere, and idle states that take long
//! to leave are not entered.
//!
//! A kernel without a feature needs no setting of it, so a file that does not exist is no error.
//!
//! Not here: what only the kernel's command line can do (`isolcpus=`, `nohz_full=`), which the image sets; other
//! processes, which inherit the CPUs of PID 1.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Longest exit from an idle state that may be entered, in microseconds.
const EXIT_US_MAX: u64 = 2;

/// Error of a setting.
#[derive(Debug, Error)]
#[error("{path} cannot be set to {value}: {error}")]
pub struct QuietError {
    path: PathBuf,
    value: String,
    error: io::Error,
}

/// Makes the CPUs `serving` quiet; `others` get the interrupts. Without others, nothing is done. Returns the failures.
#[must_use]
pub fn quieten(serving: &[u16], others: &[u16]) -> Vec<QuietError> {
    quieten_in(Path::new("/"), serving, others)
}

fn quieten_in(root: &Path, serving: &[u16], others: &[u16]) -> Vec<QuietError> {
    if others.is_empty() {
        return Vec::new();
    }
    let mask = mask(others);
    let masks = ["proc/irq/default_smp_affinity", "sys/devices/virtual/workqueue/cpumask"];
    let mut errors: Vec<QuietError> =
        masks.iter().filter_map(|file| set(root.join(file), &mask).err()).collect();
    for interrupt in folders(&root.join("proc/irq")) {
        // Those that belong to one CPU, such as that of its timer, refuse.
        let _ = set(interrupt.join("smp_affinity"), &mask);
    }
    for cpu in serving {
        let states = root.join(format!("sys/devices/system/cpu/cpu{cpu}/cpuidle"));
        let deep = folders(&states).into_iter().filter(|state| exit_us(state) > EXIT_US_MAX);
        errors.extend(deep.filter_map(|state| set(state.join("disable"), "1").err()));
    }
    errors
}

/// CPUs as the kernel writes a mask: groups of 32, in hexadecimal, the highest first.
fn mask(cpus: &[u16]) -> String {
    let highest = cpus.iter().max().copied().unwrap_or(0);
    let group = |group: u16| {
        let here = cpus.iter().filter(|cpu| **cpu / 32 == group);
        here.fold(0_u32, |mask, cpu| mask | 1 << (cpu % 32))
    };
    let groups: Vec<String> = (0..=highest / 32).rev().map(|at| format!("{:08x}", group(at))).collect();
    groups.join(",")
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Time to leave an idle state, in microseconds.
fn exit_us(state: &Path) -> u64 {
    let text = fs::read_to_string(state.join("latency")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn set(path: PathBuf, value: &str) -> Result<(), QuietError> {
    let written =
        File::options().write(true).open(&path).and_then(|mut file| file.write_all(value.as_bytes()));
    match written {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(QuietError { path, value: value.to_owned(), error }),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn machine(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn text(root: &TempDir, path: &str) -> String {
        fs::read_to_string(root.path().join(path)).unwrap()
    }

    #[test]
    fn interrupts_and_work_of_the_kernel_go_to_the_other_cpus() {
        let files = ["proc/irq/default_smp_affinity", "proc/irq/9/smp_affinity"];
        let root = machine(&[(files[0], "ffffffff"), (files[1], "ffffffff"), ("proc/irq/0/spurious", "")]);
        assert!(quieten_in(root.path(), &[1], &[0, 2, 3]).is_empty());
        for file in files {
            assert_eq!(text(&root, file), "0000000d", "{file}");
        }
        assert!(!root.path().join("sys").exists(), "what the kernel does not have is not made");
    }

    #[test]
    fn deep_idle_states_are_switched_off_where_disks_are_served_and_nowhere_else() {
        let state = |cpu, n| format!("sys/devices/system/cpu/cpu{cpu}/cpuidle/state{n}");
        let files: Vec<(String, &str)> = [(0, 0, "0"), (0, 1, "133"), (1, 0, "2"), (1, 1, "133")]
            .into_iter()
            .flat_map(|(cpu, n, exit)| {
                [(format!("{}/latency", state(cpu, n)), exit), (format!("{}/disable", state(cpu, n)), "0")]
            })
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let root = machine(&files);
        assert!(quieten_in(root.path(), &[1], &[0]).is_empty());
        let disabled = |cpu, n| text(&root, &format!("{}/disable", state(cpu, n)));
        assert_eq!([disabled(0, 0), disabled(0, 1), disabled(1, 0), disabled(1, 1)], ["0", "0", "0", "1"]);
    }

    #[test]
    fn a_setting_that_fails_is_named() {
        let root = machine(&[]);
        fs::create_dir_all(root.path().join("proc/irq/default_smp_affinity")).unwrap();
        let errors = quieten_in(root.path(), &[1], &[0]);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().contains("default_smp_affinity cannot be set to 00000001"));
    }

    #[test]
    fn the_only_cpu_keeps_everything() {
        let root = machine(&[("proc/irq/default_smp_affinity", "1")]);
        assert!(quieten_in(root.path(), &[0], &[]).is_empty());
        assert_eq!(text(&root, "proc/irq/default_smp_affinity"), "1");
    }

    #[test]
    fn masks_are_in_the_kernels_form() {
        assert_eq!(mask(&[0, 31]), "80000001");
        assert_eq!(mask(&[0, 33, 64]), "00000001,00000002,00000001");
    }
}
