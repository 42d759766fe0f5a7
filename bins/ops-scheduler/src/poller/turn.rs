//! What the loop does when a host is due, when a look has ended, when a report was stored, and when a watch has news.

use std::sync::Arc;
use std::time::Duration;

use heartbeat_store::EventsKept;
use notifications::Told;
use ops_runtime::Chain;
use ops_runtime::metrics::catalog as m;
use rand::RngExt as _;
use station_control::EventsAsk;
use tokio::time::Instant;
use worker_registry::Duty;

use super::breaker::{Seen, Standing, Verdict};
use super::hosts::{Cursor, Entry, Watching};
use super::keeper::Settled;
use super::rest;
use super::schedule::{Due, HostId, Stay, counted_from};
use super::visit::{self, Ended, Found};
use super::watch::{self, News, Notice, Watched};
use super::{Poller, Running};

/// Looks that begin so much later than they were due get a line in the log that tells what kept them.
const LATE: Duration = Duration::from_millis(500);

impl Poller {
    /// Looks at everybody who is due, as far as there is room.
    pub(super) fn begin_due(&mut self, now: Instant) {
        let mut latest = Duration::ZERO;
        while self.lanes.has_room()
            && let Some(due) = self.schedule.take_due(now)
        {
            latest = latest.max(now.saturating_duration_since(due.at));
            self.begin(due, now);
        }
        let turn = now.saturating_duration_since(std::mem::replace(&mut self.turned_at, now));
        if latest >= LATE {
            let ([prompt, slow], late_ms) = (self.lanes.counts(), latest.as_millis());
            // A long time since the last turn: the loop did not run. Else there was no place, or the pace kept them.
            let turn_ms = turn.as_millis();
            tracing::debug!(late_ms, turn_ms, prompt, slow, "polls begin late");
        }
    }

    fn begin(&mut self, due: Due, now: Instant) {
        let Some(target) = self
            .hosts
            .get(due.host, due.stay)
            .map(|entry| Arc::clone(&entry.target))
        else {
            return;
        };
        let may_be_off = self.may_be_off(&target.name);
        let Some(entry) = self.hosts.get(due.host, due.stay) else {
            return;
        };
        let (poll, look_back) = (&self.breaker, self.site.settings.heartbeats.look_back);
        let look = entry.breaker.look(may_be_off, poll);
        entry.refusals.looked_at();
        // Two readers of one file would get in each other's way; and what is not stored yet would be read again.
        let events = if entry.is_watched() || self.keeper.is_busy(due.host) {
            EventsAsk::No
        } else {
            entry.cursor.ask(look_back)
        };
        self.last_number += 1;
        let number = self.last_number;
        m::POLL_LATENESS.observe(&[], now.saturating_duration_since(due.at).as_secs_f64());
        self.lanes.begin(number, now);
        let task = visit::begin(&self.site, &target, number, look, events, &self.tellers.tell);
        let run = Running {
            host: due.host,
            stay: due.stay,
            began: now,
            task,
            is_given_up: false,
        };
        self.running.insert(number, run);
    }

    /// A look has ended.
    pub(super) fn ended(&mut self, ended: Ended) {
        self.lanes.end(ended.number);
        let Some(run) = self.running.remove(&ended.number) else {
            return;
        };
        let dice = self.rng.random_range(0.0..1.0);
        let Some(target) = self
            .hosts
            .get(run.host, run.stay)
            .map(|entry| Arc::clone(&entry.target))
        else {
            return;
        };
        let may_be_off = self.may_be_off(&target.name);
        let Some(entry) = self.hosts.get(run.host, run.stay) else {
            return;
        };
        let mut found = found(ended.found, &run, target.name.as_str(), ended.took);
        let (seen, code) = match &found {
            Found::Heard(_) => (Seen::Heard, "ok"),
            Found::Failed { code, .. } => (Seen::of_failure(code), *code),
            Found::Dropped => (Seen::Answered, "poll_broke_off"),
        };
        match seen {
            Seen::Refused => {
                let is_once_more = entry.refusals.refused(Instant::now(), self.site.clock.now());
                if is_once_more && let Found::Failed { text, .. } = &mut found {
                    *text = rest::once_more(text);
                }
            }
            Seen::Heard | Seen::Answered => entry.refusals.let_in(),
            Seen::Unreachable | Seen::Mute => {}
        }
        let verdict = entry.breaker.take(seen, may_be_off, &self.breaker, dice);
        let interval = self.site.settings.poll.interval;
        let (wait, at_most) = entry.breaker.wait(interval);
        let wait = if entry.watch_delivers() {
            wait.max(interval.saturating_mul(watch::SAFETY))
        } else {
            wait
        };
        let began = counted_from(run.began, Instant::now(), wait);
        self.schedule.again(run.host, run.stay, began, wait, at_most);
        count(verdict, code, ended.took);
        let warnings = match &found {
            Found::Heard(reading) => reading.heartbeat.warnings.as_slice(),
            _ => &[],
        };
        let failure = (verdict == Verdict::Failure).then_some(code);
        if tell_changes(entry, failure, seen == Seen::Heard, warnings) {
            let (host, at) = (target.name.clone(), self.site.clock.now());
            self.site.notices.teller.tell(Told::HostAnswers { host, at });
        }
        // What a worker reads that slept in between is for the one to keep that took over.
        if self.ownership.owns(Duty::Polls, &target.name) {
            let report = match verdict {
                Verdict::Off => found.into_off(&target, &self.site, ended.took),
                Verdict::Fine | Verdict::Failure => found.into_report(&target, &self.site, ended.took),
            };
            self.keeper.take(run.host, run.stay, report);
        }
    }

    /// A report was stored, or was not.
    pub(super) fn stored(&mut self, settled: Settled) {
        let Settled {
            host,
            stay,
            more,
            recorded,
        } = settled;
        let recorded = match recorded {
            Ok(recorded) => recorded,
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "a poll could not be kept");
                return;
            }
        };
        let Some(entry) = self.hosts.get(host, stay) else {
            return;
        };
        match recorded.events {
            EventsKept::Stored { to, .. } => {
                entry.cursor = Cursor::At(to);
                if more {
                    self.schedule.queue(host, stay, Instant::now());
                }
            }
            EventsKept::Stale { cursor } => entry.cursor = cursor.map_or(Cursor::None, Cursor::At),
            EventsKept::None => {}
        }
        self.watch_if_wanted(host, stay);
    }

    /// Begins to watch a host that was just heard, if its entry asks for it.
    fn watch_if_wanted(&mut self, host: HostId, stay: Stay) {
        let settings = &self.site.settings;
        let now = Instant::now();
        let is_wanted = self.hosts.get(host, stay).is_some_and(|entry| {
            entry.target.watch
                && !entry.is_watched()
                && entry.said.failure.is_none()
                && entry.breaker.standing(&self.breaker) == Standing::Closed
                && entry.cursor != Cursor::Unknown
                && entry.watch_again_at.is_none_or(|at| at <= now)
        });
        if !is_wanted || self.hosts.watches() >= settings.poll.max_watches {
            return;
        }
        let Some(entry) = self.hosts.get(host, stay) else {
            return;
        };
        let task = watch::begin(Watched {
            site: Arc::clone(&self.site),
            target: Arc::clone(&entry.target),
            host,
            stay,
            events: entry.cursor.ask(settings.heartbeats.look_back),
            recorder: self.recorder.clone(),
            ownership: self.ownership.clone(),
            tell: self.tellers.notify.clone(),
        });
        entry.watching = Watching::Yes { task, heard: false };
    }

    /// A watch has news.
    pub(super) fn noticed(&mut self, notice: Notice) {
        let Notice { host, stay, news } = notice;
        let interval = self.site.settings.poll.interval;
        let dice = self.rng.random_range(0.0..1.0);
        let Some(entry) = self.hosts.get(host, stay) else {
            return;
        };
        let now = Instant::now();
        match news {
            News::Heard {
                cursor,
                warnings,
                is_live,
            } => {
                m::WATCH_REPORTS.add(&[], 1);
                if let Some(cursor) = cursor {
                    entry.cursor = Cursor::At(cursor);
                }
                tell_changes(entry, None, true, &warnings);
                // Before its first own word the station may as well be one that cannot be watched.
                if is_live
                    && let Watching::Yes { heard, .. } = &mut entry.watching
                    && !std::mem::replace(heard, true)
                {
                    let safety = interval.saturating_mul(watch::SAFETY);
                    entry.watch_failures = 0;
                    self.schedule.again(host, stay, now, safety, None);
                    tracing::info!(host.name = %entry.target.name, "watched");
                }
            }
            News::Over { why, cursor } => {
                m::WATCHES_ENDED.add(&[], 1);
                let name = &entry.target.name;
                tracing::info!(host.name = %name, why, "no longer watched: it is polled");
                entry.end_watch();
                if let Some(cursor) = cursor {
                    entry.cursor = Cursor::At(cursor);
                }
                let pause = watch::pause(entry.watch_failures, interval, dice);
                entry.watch_failures = entry.watch_failures.saturating_add(1);
                entry.watch_again_at = Some(now + pause);
                self.schedule.queue(host, stay, now);
            }
        }
    }
}

/// What a task that was ended from outside would have said.
fn found(found: Found, run: &Running, host: &str, took: Duration) -> Found {
    match found {
        Found::Dropped if run.is_given_up => Found::Failed {
            code: "deadline_expired",
            text: format!("host {host} gave no result within {took:.0?}, and others had to be looked at"),
        },
        Found::Dropped => Found::Failed {
            code: "poll_broke_off",
            text: format!("the poll of host {host} ended without a result, which is a fault of this program"),
        },
        other => other,
    }
}

fn count(verdict: Verdict, code: &'static str, took: Duration) {
    let (word, code) = match verdict {
        Verdict::Fine => ("ok", "ok"),
        Verdict::Failure => ("failed", code),
        Verdict::Off => ("off", "off"),
    };
    m::POLLS.add(&[code], 1);
    m::POLL_DURATION.observe(&[word], took.as_secs_f64());
}

/// Says in the log what is new; gives whether the host answers again.
fn tell_changes(entry: &mut Entry, failure: Option<&'static str>, heard: bool, warnings: &[String]) -> bool {
    let (name, said) = (&entry.target.name, &mut entry.said);
    let answers_again = heard && said.failure.is_some();
    match failure {
        Some(code) if said.failure != Some(code) => {
            tracing::info!(host.name = %name, code, "the heartbeat cannot be read");
            said.failure = Some(code);
        }
        None if answers_again => {
            tracing::info!(host.name = %name, "the heartbeat can be read again");
            said.failure = None;
        }
        _ => {}
    }
    if heard && said.warnings != warnings {
        for warning in warnings.iter().filter(|warning| !said.warnings.contains(warning)) {
            tracing::warn!(host.name = %name, "heartbeat: {warning}");
        }
        said.warnings = warnings.to_vec();
    }
    answers_again
}
