//! A child process, and what the kernel says of it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The kernel counts CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(30);

/// A running process, ended when dropped.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    pid: u32,
}

/// Memory in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    /// The part that is no file.
    pub(crate) anonymous: f64,
}

impl Process {
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let child = command
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let pid = child.id().with_context(|| format!("{name} has ended"))?;
        Ok(Self { name, child, pid })
    }

    /// Fails when the process has ended.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended with {status}", self.name),
        }
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu_of(self.pid)
    }

    /// How long its threads that live now were ready to run, and had no core: all of them together.
    pub(crate) fn kept_from_cores(&self) -> Result<Duration> {
        let mut all = Duration::ZERO;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // It may have ended meanwhile.
            let Ok(figures) = std::fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            all += waited_in(&figures)?;
        }
        Ok(all)
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let mib = |key: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let kib = line.and_then(|line| line.split_whitespace().next());
            Ok(kib.with_context(|| format!("no {key}"))?.parse::<f64>()? / 1024.0)
        };
        Ok(Memory {
            resident: mib("VmRSS:")?,
            anonymous: mib("RssAnon:")?,
        })
    }

    /// Bytes it had the kernel write to storage.
    pub(crate) fn written(&self) -> Result<u64> {
        written_by(self.pid)
    }

    /// Asks it to end, waits, and ends it if it does not.
    pub(crate) async fn stop(mut self) -> Result<()> {
        std::process::Command::new("kill")
            .args(["-INT", &self.pid.to_string()])
            .status()
            .context("run kill")?;
        if timeout(GRACE, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// User and system time of a process so far.
pub(crate) fn cpu_of(pid: u32) -> Result<Duration> {
    cpu_in(&std::fs::read_to_string(format!("/proc/{pid}/stat"))?)
}

pub(crate) fn written_by(pid: u32) -> Result<u64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(bytes.context("no write_bytes")?.trim().parse()?)
}

/// The second of three numbers: nanoseconds in the queue of a core.
fn waited_in(schedstat: &str) -> Result<Duration> {
    let waited = schedstat.split_whitespace().nth(1);
    Ok(Duration::from_nanos(
        waited.context("an unknown form of schedstat")?.parse()?,
    ))
}

fn cpu_in(stat: &str) -> Result<Duration> {
    // The name in brackets may hold blanks; what follows it does not.
    let after = stat.rsplit_once(')').context("an unknown form of stat")?.1;
    let mut times = after.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let mut next = || -> Result<u32> { Ok(times.next().context("too few fields")??) };
    Ok(TICK * (next()? + next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_the_sum_of_user_and_system_even_after_an_odd_name() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 7 7 20 0 3 0 100 0 0";
        assert_eq!(cpu_in(stat).unwrap(), Duration::from_secs(3));
        assert!(cpu_in("42 (x) S 1 2").is_err());
    }

    #[test]
    fn the_wait_for_a_core_is_the_second_number() {
        assert_eq!(
            waited_in("19000000 2600000000 12\n").unwrap(),
            Duration::from_millis(2600)
        );
        assert!(waited_in("19000000").is_err());
    }
}
