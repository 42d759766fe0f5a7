//! Reports on their way to the database. Of each host at most one is with the writer and one more waits, the newest: a
//! database that is away costs polls nothing and memory a bounded amount. What was replaced or dropped while waiting had
//! not been acknowledged to anybody, and its events are read again from where the stored place is.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::FuturesUnordered;
use heartbeat_store::{
    HeartbeatStoreError, PollOutcome, PollReport, Receipt, RecordError, Recorded, Recorder,
};

use super::schedule::{HostId, Stay};

/// What may wait, by a generous estimate of what a report takes.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// A parsed report beside its text.
const PARSED: usize = 6;

/// A report that was stored, or not.
pub(super) struct Settled {
    pub(super) host: HostId,
    pub(super) stay: Stay,
    /// Whether there is more in the event file.
    pub(super) more: bool,
    pub(super) recorded: Result<Recorded, HeartbeatStoreError>,
}

struct Waiting {
    stay: Stay,
    report: PollReport,
    bytes: usize,
}

/// A report that the writer has no room for yet.
struct Handing {
    host: HostId,
    stay: Stay,
    more: bool,
    taking: BoxFuture<'static, Result<Receipt, RecordError>>,
}

/// Hands reports over and waits for what becomes of them.
pub(super) struct Keeper {
    recorder: Recorder,
    receipts: FuturesUnordered<BoxFuture<'static, Settled>>,
    handing: Option<Handing>,
    /// Whose receipts are waited for, and who is being handed over.
    with_writer: HashSet<HostId>,
    waiting: HashMap<HostId, Waiting>,
    /// Whom only a full queue keeps back, the one that waits longest first; with some that are gone.
    order: VecDeque<HostId>,
    bytes: usize,
    dropped: u64,
    is_orphaned: bool,
}

impl Keeper {
    pub(super) fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            receipts: FuturesUnordered::new(),
            handing: None,
            with_writer: HashSet::new(),
            waiting: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            is_orphaned: false,
        }
    }

    /// Whether something of this host is not stored yet: its place in the event file is not known for sure then.
    pub(super) fn is_busy(&self, host: HostId) -> bool {
        self.with_writer.contains(&host)
    }

    /// Whether the writer has ended, which nobody asked it to: only a new process stores again.
    pub(super) fn is_orphaned(&self) -> bool {
        self.is_orphaned
    }

    /// How many reports were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many reports wait here.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Drops what waits of a host that is another worker's now.
    pub(super) fn forget(&mut self, host: HostId) {
        if let Some(waiting) = self.waiting.remove(&host) {
            self.bytes -= waiting.bytes;
        }
    }

    /// Takes a report; never waits.
    pub(super) fn take(&mut self, host: HostId, stay: Stay, report: PollReport) {
        let bytes = weight(&report);
        let older = self.waiting.remove(&host);
        self.bytes -= older.as_ref().map_or(0, |older| older.bytes);
        if self.bytes + bytes > MOST_BYTES && !self.waiting.is_empty() {
            self.dropped += 1;
            return;
        }
        self.bytes += bytes;
        self.waiting.insert(host, Waiting { stay, report, bytes });
        if older.is_none() && !self.with_writer.contains(&host) {
            self.order.push_back(host);
        }
        self.hand_over();
    }

    /// Hands over what the writer takes, the oldest first.
    pub(super) fn hand_over(&mut self) {
        while self.handing.is_none()
            && let Some(host) = self.order.pop_front()
        {
            if self.with_writer.contains(&host) {
                continue;
            }
            let Some(Waiting { stay, report, bytes }) = self.waiting.remove(&host) else {
                continue;
            };
            self.bytes -= bytes;
            let more = matches!(&report.outcome, PollOutcome::Heard(heard)
                if heard.events.as_ref().is_some_and(|events| events.more));
            self.with_writer.insert(host);
            let recorder = self.recorder.clone();
            let mut handing = Handing {
                host,
                stay,
                more,
                taking: Box::pin(async move { recorder.record(report).await }),
            };
            match (&mut handing.taking).now_or_never() {
                Some(taken) => self.taken(&handing, taken),
                None => self.handing = Some(handing),
            }
        }
    }

    fn taken(&mut self, handing: &Handing, taken: Result<Receipt, RecordError>) {
        let Handing { host, stay, more, .. } = *handing;
        match taken {
            Ok(receipt) => self.receipts.push(Box::pin(async move {
                Settled {
                    host,
                    stay,
                    more,
                    recorded: receipt.await,
                }
            })),
            Err(_) => {
                if !std::mem::replace(&mut self.is_orphaned, true) {
                    tracing::error!("the task that records heartbeats has ended: nothing is stored any more");
                }
                self.dropped += 1;
                self.with_writer.remove(&host);
            }
        }
    }

    /// Waits for the next report that was stored, or was not, and hands over meanwhile.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn settled(&mut self) -> Settled {
        loop {
            self.hand_over();
            let taking = async {
                match &mut self.handing {
                    Some(handing) => (&mut handing.taking).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                taken = taking => {
                    if let Some(handing) = self.handing.take() {
                        self.taken(&handing, taken);
                    }
                }
                Some(settled) = self.receipts.next(), if !self.receipts.is_empty() => {
                    return self.end(settled);
                }
            }
        }
    }

    /// What else was stored by now, without waiting.
    pub(super) fn settled_too(&mut self) -> Option<Settled> {
        let settled = self.receipts.next().now_or_never()??;
        Some(self.end(settled))
    }

    fn end(&mut self, settled: Settled) -> Settled {
        self.with_writer.remove(&settled.host);
        if self.waiting.contains_key(&settled.host) {
            self.order.push_back(settled.host);
        }
        settled
    }

    /// Hands over what still waits and sees it stored, within a time.
    pub(super) async fn finish(&mut self, within: Duration) {
        let all = async {
            self.hand_over();
            while !self.with_writer.is_empty() && !self.is_orphaned {
                let _ = self.settled().await;
                self.hand_over();
            }
        };
        if tokio::time::timeout(within, all).await.is_err() {
            let waiting = self.waiting.len() + self.with_writer.len();
            tracing::warn!(
                waiting,
                "the last heartbeats could not be stored; they are read again"
            );
        }
    }
}

fn weight(report: &PollReport) -> usize {
    match &report.outcome {
        PollOutcome::Heard(heard) => {
            let events: usize = heard
                .events
                .as_ref()
                .map_or(0, |events| events.events.len() * 1024);
            1024 + heard.document.len() * PARSED + events
        }
        _ => 1024,
    }
}

#[cfg(test)]
mod tests {
    use heartbeat_store::{HeartbeatStore, HostRecord, RecorderSettings};
    use lab_model::{Clock as _, HostName, SystemClock};
    use store_support::each_backend;
    use tokio::time::Instant;

    use super::super::schedule::Schedule;
    use super::*;

    each_backend! {
        async fn a_writer_that_ended_is_noticed_and_nobody_waits_for_it(test) {
            let store = HeartbeatStore::new(test.reopen().await);
            let (recorder, writer) = Recorder::start(store, RecorderSettings::default());
            let mut keeper = Keeper::new(recorder);
            assert!(writer.close(Duration::from_secs(5)).await);
            assert!(!keeper.is_orphaned());
            let second = Duration::from_secs(1);
            let stay = Schedule::new(second, Instant::now(), 1).enter(&[(HostId(0), None)], Instant::now());
            let host = HostRecord {
                name: HostName::parse("lab-ws-01").unwrap(),
                address: "10.0.0.1".to_owned(),
                mac: None,
            };
            let report = PollReport {
                host,
                observed_at: SystemClock.now(),
                took: second,
                outcome: PollOutcome::Off { text: "off".to_owned() },
            };
            keeper.take(HostId(0), stay[0], report);
            assert!(keeper.is_orphaned());
            assert_eq!((keeper.dropped(), keeper.waiting()), (1, 0));
            let before = Instant::now();
            keeper.finish(Duration::from_secs(60)).await;
            assert!(before.elapsed() < Duration::from_secs(30), "it is not waited for");
        }
    }
}
