//! What this process has used.

use anyhow::Context as _;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// User and system time of all threads, in seconds.
pub fn cpu_secs() -> f64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ProcessCPUTime);
    tv_sec as f64 + tv_nsec as f64 / 1e9
}

/// Resident memory.
pub fn rss_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS")?;
    Ok(number.parse()?)
}
