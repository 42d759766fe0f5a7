//! What the older worker needs for the same starts, by its own arithmetic.
//!
//! It scans every `SCAN` seconds and starts what it finds one after the other, so start number `k` of `n` (from 0)
//! is sent `wait + k * TRY` after it is due, where `wait` is up to `SCAN`, half of it on average. A try sends a
//! packet, pauses `PAUSE`, and asks for an echo for which it waits `PING` if none comes; three times at most. Only
//! then comes `prepare-session`. A host that boots longer than the three take fails its first try.

use std::time::Duration;

use chrono::TimeDelta;

use crate::figures::{short, signed};

const SCAN: u32 = 30;
const PAUSE: u32 = 10;
const PING: u32 = 10;
const ATTEMPTS: u32 = 3;
/// `prepare-session`, taken to be as long as in the other columns.
const PREPARE: u32 = 5;
const LEAD: u32 = 120;
/// What started longer ago than this is never begun.
const LOOK_BACK: u32 = 21_600;

/// How long one try keeps all others waiting, and whether the host was up by then.
fn one_try(boot: u32) -> (u32, bool) {
    let mut at = 0;
    for _ in 0..ATTEMPTS {
        at += PAUSE;
        if at >= boot {
            return (at + PREPARE, true);
        }
        at += PING;
    }
    (at, false)
}

pub(crate) fn lateness(starts: usize, boot: Duration) -> String {
    let (each, _) = one_try(seconds(boot));
    let starts = u32::try_from(starts).unwrap_or(u32::MAX);
    let rank = |percent: u32| (starts * percent).div_ceil(100).max(1) - 1;
    let on_average = |k: u32| short(Duration::from_secs((SCAN / 2 + k * each).into()));
    let last = SCAN + (starts - 1) * each;
    let begun = (LOOK_BACK + LEAD - SCAN / 2) / each + 1;
    let never = starts.saturating_sub(begun);
    let note = if never > 0 {
        format!(" ({never} never)")
    } else {
        String::new()
    };
    let last = short(Duration::from_secs(last.into()));
    format!(
        "{} / {} / {last}{note}",
        on_average(rank(50)),
        on_average(rank(99))
    )
}

/// When the last host is handed over at the earliest, seen from the start of its reservation.
pub(crate) fn last_ready(starts: usize, boot: Duration) -> String {
    let (each, up) = one_try(seconds(boot));
    let again = if up { 0 } else { PAUSE + PREPARE };
    let starts = u32::try_from(starts).unwrap_or(u32::MAX);
    let after_due = SCAN / 2 + starts * each + again;
    signed(TimeDelta::seconds(i64::from(after_due) - i64::from(LEAD)))
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
