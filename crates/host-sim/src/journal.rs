//! Who was asked for its heartbeat, and when: how a load run sees the rhythm of its subject from the hosts' side.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::effects::count;

/// The file whose name in a command line makes it a question for the heartbeat.
const HEARTBEAT: &[u8] = b"heartbeat.json";
/// Questions kept until somebody takes them; what comes beyond is only counted.
const LIMIT: usize = 4_000_000;

/// One command that names the heartbeat file, at the moment when the host took it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Number of the host in its farm, from 0.
    pub host: u32,
    /// Since the farm started.
    pub at: Duration,
}

/// The questions of a whole farm.
#[derive(Debug)]
pub(crate) struct Journal {
    started: Instant,
    polls: AtomicU64,
    asked: Mutex<Vec<Asked>>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            polls: AtomicU64::new(0),
            asked: Mutex::default(),
        }
    }

    /// Keeps the command if it asks for the heartbeat.
    pub(crate) fn command(&self, host: u32, line: &str) {
        if !names_heartbeat(line) {
            return;
        }
        count(&self.polls);
        let at = self.started.elapsed();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() < LIMIT {
            asked.push(Asked { host, at });
        }
    }

    pub(crate) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    pub(crate) fn since_start(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn names_heartbeat(line: &str) -> bool {
    line.as_bytes()
        .windows(HEARTBEAT.len())
        .any(|window| window.eq_ignore_ascii_case(HEARTBEAT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_questions_for_the_heartbeat_are_kept_and_each_is_taken_once() {
        let journal = Journal::new();
        journal.command(3, r"type C:\LabStation\data\HeartBeat.json");
        journal.command(4, "LabStation.exe status-json");
        assert_eq!(journal.polls(), 1);
        let taken = journal.take();
        assert_eq!(taken.iter().map(|asked| asked.host).collect::<Vec<_>>(), [3]);
        assert!(journal.take().is_empty());
        assert_eq!(journal.polls(), 1);
    }
}
