//! What a connection is doing, and until when it may go on doing so.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How many callers there may be, and how long each may keep us waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// From the first byte of a call, or from the opening of the connection, to the end of the header.
    pub header: Duration,
    /// Between two calls on one connection.
    pub idle: Duration,
    /// While a caller does not take what is written to it.
    pub stalled: Duration,
    /// Most open connections; further ones wait in the kernel's queue.
    pub connections: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            stalled: Duration::from_secs(30),
            connections: 1024,
        }
    }
}

/// Why a connection was closed on a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    Header,
    Idle,
    Reading,
}

impl Late {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Header => "its header did not arrive in time",
            Self::Idle => "it was idle for too long",
            Self::Reading => "it does not read its answer",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// A header is awaited, or has begun to arrive.
    Header,
    /// A call is being answered; how long that takes is the service's affair.
    Answering,
    /// The last call was answered.
    Idle,
}

#[derive(Debug)]
struct State {
    doing: Doing,
    since: Instant,
    /// Since when nothing could be written.
    stalled: Option<Instant>,
}

/// Shared by the parts of one connection that see what happens, and the one that watches the time.
#[derive(Debug)]
pub(super) struct Phase {
    state: Mutex<State>,
    /// A deadline came nearer.
    nearer: Notify,
}

impl Phase {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                doing: Doing::Header,
                since: Instant::now(),
                stalled: None,
            }),
            nearer: Notify::new(),
        }
    }

    /// Bytes came in: the first ones of a call start its header.
    pub(super) fn received(&self) {
        let mut state = self.lock();
        if state.doing == Doing::Idle {
            state.doing = Doing::Header;
            state.since = Instant::now();
            self.nearer.notify_one();
        }
    }

    /// A header is complete.
    pub(super) fn answering(&self) {
        self.lock().doing = Doing::Answering;
    }

    /// The answer's body has ended, or was dropped.
    pub(super) fn answered(&self) {
        let mut state = self.lock();
        state.doing = Doing::Idle;
        state.since = Instant::now();
        self.nearer.notify_one();
    }

    /// Whether what was to be written could be.
    pub(super) fn written(&self, went: bool) {
        let mut state = self.lock();
        if went {
            state.stalled = None;
            // The body has ended, but its bytes are still on their way.
            if state.doing == Doing::Idle {
                state.since = Instant::now();
            }
        } else if state.stalled.is_none() {
            state.stalled = Some(Instant::now());
            self.nearer.notify_one();
        }
    }

    /// Waits until the connection has kept us waiting for too long.
    pub(super) async fn late(&self, limits: &HttpLimits) -> Late {
        loop {
            let next = self.deadline(limits);
            let until = async {
                match next {
                    Some((at, _)) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = until => {
                    // It may have moved on meanwhile.
                    if let Some((at, late)) = self.deadline(limits) && at <= Instant::now() {
                        return late;
                    }
                }
                () = self.nearer.notified() => {}
            }
        }
    }

    fn deadline(&self, limits: &HttpLimits) -> Option<(Instant, Late)> {
        let state = self.lock();
        let doing = match state.doing {
            Doing::Header => Some((state.since + limits.header, Late::Header)),
            Doing::Idle => Some((state.since + limits.idle, Late::Idle)),
            Doing::Answering => None,
        };
        let stalled = state.stalled.map(|since| (since + limits.stalled, Late::Reading));
        [doing, stalled].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HttpLimits = HttpLimits {
        header: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        stalled: Duration::from_secs(30),
        connections: 1,
    };

    async fn after(secs: u64, phase: &Phase) -> Option<Late> {
        let wait = Duration::from_secs(secs);
        tokio::time::timeout(wait, phase.late(&LIMITS)).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_late_after_the_time_for_a_header() {
        let phase = Phase::new();
        assert_eq!(after(9, &phase).await, None);
        assert_eq!(after(2, &phase).await, Some(Late::Header));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_trickle_in_do_not_buy_time() {
        let phase = Phase::new();
        for _ in 0..9 {
            assert_eq!(after(1, &phase).await, None);
            phase.received();
        }
        assert_eq!(after(2, &phase).await, Some(Late::Header));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_its_time_and_idleness_has_a_limit_of_its_own() {
        let phase = Phase::new();
        phase.answering();
        assert_eq!(after(10_000, &phase).await, None);
        phase.answered();
        assert_eq!(after(74, &phase).await, None);
        assert_eq!(after(2, &phase).await, Some(Late::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn the_header_of_a_later_call_has_the_same_time() {
        let phase = Phase::new();
        phase.answering();
        phase.answered();
        let begun = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            phase.received();
        };
        let began = Instant::now();
        let (late, ()) = tokio::join!(phase.late(&LIMITS), begun);
        assert_eq!((late, began.elapsed().as_secs()), (Late::Header, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_does_not_read_is_late_also_while_the_answer_is_made() {
        let phase = Phase::new();
        phase.answering();
        phase.written(false);
        assert_eq!(after(20, &phase).await, None);
        phase.written(true);
        assert_eq!(after(100, &phase).await, None);
        phase.written(false);
        phase.written(false);
        assert_eq!(after(31, &phase).await, Some(Late::Reading));
    }

    #[tokio::test(start_paused = true)]
    async fn who_still_takes_a_long_answer_is_not_idle() {
        let phase = Phase::new();
        phase.answering();
        phase.answered();
        for _ in 0..20 {
            phase.written(false);
            assert_eq!(after(20, &phase).await, None);
            phase.written(true);
        }
        assert_eq!(after(74, &phase).await, None);
        assert_eq!(after(2, &phase).await, Some(Late::Idle));
    }
}
