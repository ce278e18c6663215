//! PID 1: mounts, hugepages, signals, reaping, power, console.
