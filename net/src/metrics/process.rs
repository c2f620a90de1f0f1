//! What every process has, under the names that Prometheus's own client libraries use. Where `/proc` says nothing, nothing
//! is said.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Kind, Page};
use crate::clock::boottime;

/// `USER_HZ`: what the kernel tells times of processes in on every common architecture, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// Of this process. It looks at a folder with an entry for each open descriptor.
pub fn process(page: &mut Page) {
    let build: [_; 1] = [("version", &env!("CARGO_PKG_VERSION") as &dyn std::fmt::Display)];
    let mut family = page.family("vulcan_build_info", Kind::Gauge, "1, by the build that runs.");
    family.sample(&build, 1);
    if let Some(bytes) = resident() {
        page.gauge("process_resident_memory_bytes", "Memory in use.", bytes);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The one that reads them is none of them.
        let open = open.count().saturating_sub(1);
        page.gauge("process_open_fds", "Open descriptors.", open);
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(most) = limit {
        page.gauge("process_max_fds", "Descriptors that may be open.", most);
    }
    if let Some(Stat { ticks, started }) = stat() {
        let seconds = ticks / TICKS_PER_SECOND;
        page.counter("process_cpu_seconds_total", "Processor time, user and system.", seconds);
        if let Some(at) = started_at(started) {
            let help = "When the process began, in seconds since 1970.";
            page.gauge("process_start_time_seconds", help, at);
        }
    }
}

/// Bytes, by proc_pid_status(5).
fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"))?;
    Some(kilobytes.trim().parse::<u64>().ok()? * 1024)
}

struct Stat {
    /// Of processor time.
    ticks: f64,
    /// Ticks after the machine's start.
    started: f64,
}

/// proc_pid_stat(5). The name, which may hold anything, stands in the last pair of parentheses.
fn stat() -> Option<Stat> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    // The first of them is the third.
    let field = |number: usize| rest.split(' ').nth(number - 3)?.parse::<f64>().ok();
    Some(Stat {
        ticks: field(14)? + field(15)?,
        started: field(22)?,
    })
}

fn started_at(ticks: f64) -> Option<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let machine_began = now.checked_sub(Duration::from_nanos(boottime().as_nanos()))?;
    Some(machine_began.as_secs_f64() + ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let mut page = Page::default();
        process(&mut page);
        let text = page.into_text();
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 500_000.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_cpu_seconds_total") >= 0.0);
        let began = value("process_start_time_seconds");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        // Ticks are hundredths of a second, and a test is young.
        assert!(began <= now + 0.1 && began > now - 3600.0, "{began} {now}");
    }
}
