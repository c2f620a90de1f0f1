//! The conditions of a run, printed above every result.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use crate::histogram::Histogram;
use crate::report::millis;

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

/// What every commit waits for: the median of small synced writes to the disk that holds the stores.
pub fn sync_cost(scratch: &Path) -> io::Result<String> {
    let mut file = fs::File::create(scratch.join("synced"))?;
    let mut times = Histogram::default();
    for _ in 0..100 {
        let began = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.record(began.elapsed());
    }
    Ok(format!(
        "A synced write of 4 KiB takes {} ms here (median of 100).",
        millis(times.quantile(0.5))
    ))
}
