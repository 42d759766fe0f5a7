//! Whether this worker's clock and the database's agree. Nothing is decided by the difference: leases live by the
//! database's clock and the monotonic one, and what is due is due by the worker's. But a worker whose clock is off
//! starts and ends reservations that much too early or too late, and somebody has to be told.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ops_runtime::{Chain, Site, SiteHandle};
use sea_orm::ConnectionTrait as _;
use store_support::DbErr;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How often the clocks are compared.
const EVERY: Duration = Duration::from_secs(60);
/// By how much the clocks may differ, and by how much a difference has to change to be worth another line.
const TOLERATED: TimeDelta = TimeDelta::seconds(5);
/// An answer that takes longer says too little about the instant it was given at.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// The worker's clock is ahead of the database's by this much; behind it, when negative.
    Apart(TimeDelta),
    /// They agree again.
    Agree,
}

/// What was said last.
#[derive(Debug, Default)]
struct Told(Option<TimeDelta>);

impl Told {
    fn news(&mut self, ahead: TimeDelta) -> Option<News> {
        let is_off = ahead.abs() > TOLERATED;
        match self.0 {
            Some(told) if is_off && (ahead - told).abs() <= TOLERATED => None,
            None if !is_off => None,
            _ => {
                self.0 = is_off.then_some(ahead);
                Some(if is_off { News::Apart(ahead) } else { News::Agree })
            }
        }
    }
}

/// Compares the clocks until `stop`.
pub(crate) async fn run(handle: SiteHandle, stop: CancellationToken) {
    let Some(Some(site)) = stop.run_until_cancelled(handle.opened()).await else {
        return;
    };
    let mut told = Told::default();
    while !stop.is_cancelled() {
        match stop.run_until_cancelled(measure(&site)).await {
            Some(Ok(Some(ahead))) => tell(told.news(ahead)),
            Some(Err(error)) => {
                tracing::debug!(error = %Chain(&error), "the database's clock could not be read");
            }
            Some(Ok(None)) | None => {}
        }
        stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
    }
}

fn tell(news: Option<News>) {
    match news {
        Some(News::Apart(ahead)) => tracing::warn!(
            ahead_secs = ahead.num_seconds(),
            "this worker's clock and the database's are apart: reservations begin and end by this worker's, so one \
             of the two has to be set right"
        ),
        Some(News::Agree) => tracing::info!("this worker's clock and the database's agree again"),
        None => {}
    }
}

/// How far the worker's clock is ahead of the database's; `None` when the answer took too long to tell.
async fn measure(site: &Site) -> Result<Option<TimeDelta>, DbErr> {
    let db = &site.database;
    let ask = db.statement(&format!("SELECT {}", db.backend().now_ms()), []);
    let (asked_at, began) = (site.clock.now(), Instant::now());
    let Ok(answer) = timeout(PATIENCE, db.bounded(db.connection().query_one_raw(ask))).await else {
        return Ok(None);
    };
    let half = TimeDelta::from_std(began.elapsed() / 2).unwrap_or_default();
    let Some(row) = answer? else { return Ok(None) };
    let theirs = DateTime::<Utc>::from_timestamp_millis(row.try_get_by_index(0)?);
    Ok(theirs.map(|theirs| asked_at + half - theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(told: &mut Told, ahead_secs: i64) -> Option<i64> {
        told.news(TimeDelta::seconds(ahead_secs)).map(|news| match news {
            News::Apart(ahead) => ahead.num_seconds(),
            News::Agree => 0,
        })
    }

    #[test]
    fn clocks_that_are_apart_are_told_of_once_and_again_when_it_changes() {
        let mut told = Told::default();
        let said: Vec<_> = [0, 5, -5, 300, 302, 298, 310, -300, -301, 3, 0, 6]
            .into_iter()
            .map(|ahead| news(&mut told, ahead))
            .collect();
        let (quiet, agree) = (None, Some(0));
        let wanted = [
            quiet,
            quiet,
            quiet,
            Some(300),
            quiet,
            quiet,
            Some(310),
            Some(-300),
            quiet,
            agree,
            quiet,
            Some(6),
        ];
        assert_eq!(said, wanted);
    }
}
