//! The conditions of a run, printed above every result.

use std::fs;

/// One paragraph: processor, kernel, load average now.
pub fn conditions() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("?", |(_, m)| m);
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    format!(
        "Machine: {cores} × {model}, Linux {}, load average {}; everything in one run shares these cores, over loopback.",
        kernel.trim(),
        load.join(" ")
    )
}
