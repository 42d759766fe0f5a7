//! Reading what is new in a station's event file, and only when there may be something.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::Host;
use labstation_commands::{
    CURL_CANNOT_OPEN, CURL_PAST_END, CommandLine, EventBatch, EventCursor, EventReading, EventsAnswer,
    EventsStep, ForcedLogoff, Heartbeat, PathError, Piece, ReadLimits, content_length, read_file_from,
    read_file_length,
};
use tokio::time::Instant;
use winrm_transport::Effect;

use crate::control::Inner;
use crate::error::StationError;
use crate::links::Link;
use crate::poll::EventsAsk;

/// The file is looked at about so often without any sign of news.
const SAFETY_LOOK: Duration = Duration::from_secs(3600);
/// A log-off may stand in the heartbeat before it stands in the file, or the file may be away for a moment: so many
/// polls look for it.
const LOOKS_FOR_NEWS: u8 = 3;
/// How long a host is taken to have no `curl.exe`, unless it boots: only an update of Windows brings one.
const NO_CURL_FOR: Duration = Duration::from_secs(24 * 3_600);
/// How long a file is taken to be too long, unless the host boots.
const TOO_LONG_FOR: Duration = Duration::from_secs(3_600);
/// Two answers about when a host booted differ by less when it did not boot in between.
const SAME_BOOT: TimeDelta = TimeDelta::minutes(2);

/// What polls know of a host's event file.
#[derive(Debug, Default, Clone)]
pub(crate) struct EventsKnown {
    /// Where the last look ended: whoever asks from elsewhere did not keep what it found.
    looked_to: Option<EventCursor>,
    /// The log-off that the heartbeat spoke of at that time.
    logoff: Option<ForcedLogoff>,
    /// Looks still to be taken for a log-off that was not found yet.
    missing: u8,
    /// There is more to read.
    more: bool,
    next_look: Option<Instant>,
    /// Until then this host has no `curl.exe`.
    no_curl_until: Option<Instant>,
    /// The file at this path is too long to be read whole, which is all that can be done without it; until then.
    too_long: Option<(String, Instant)>,
    booted_at: Option<DateTime<Utc>>,
}

/// A part of a file, and whether there is more.
struct Part {
    at: u64,
    bytes: Vec<u8>,
    is_end: bool,
}

impl Part {
    fn piece(&self) -> Piece<'_> {
        Piece {
            at: self.at,
            bytes: &self.bytes,
            is_end: self.is_end,
        }
    }
}

/// What became of asking for a part.
enum Asked {
    Part(Part),
    PastEnd,
    Missing,
}

/// The way to the event file of one host, for one look at it.
struct EventFile<'a> {
    inner: &'a Inner,
    host: &'a Host,
    link: &'a Link,
    until: Instant,
    /// Read whole, where there is no other way; so that one look reads it once.
    whole: Option<Vec<u8>>,
}

impl EventsKnown {
    fn wants_look(&self, cursor: EventCursor, logoff: Option<&ForcedLogoff>, now: Instant) -> bool {
        self.looked_to != Some(cursor)
            || self.logoff.as_ref() != logoff
            || self.missing > 0
            || self.more
            || self.next_look.is_none_or(|at| at <= now)
    }

    fn looked(&mut self, to: EventCursor, logoff: Option<&ForcedLogoff>, found: bool, next_look: Instant) {
        // A first look on a host finds what was there before, or nothing: it misses nothing.
        let is_news = self.next_look.is_some() && self.logoff.as_ref() != logoff && logoff.is_some();
        self.missing = match (found, is_news) {
            (true, _) => 0,
            (false, true) => LOOKS_FOR_NEWS - 1,
            (false, false) => self.missing.saturating_sub(1),
        };
        self.logoff = logoff.cloned();
        self.looked_to = Some(to);
        self.next_look = Some(next_look);
    }

    fn has_no_curl(&self) -> bool {
        self.no_curl_until.is_some_and(|until| Instant::now() < until)
    }

    fn is_too_long(&self, path: &str) -> bool {
        let too_long = self.too_long.as_ref();
        too_long.is_some_and(|(of, until)| of == path && Instant::now() < *until)
    }

    /// A host that booted may have been updated, and its file put in order.
    pub(crate) fn booted(&mut self, at: DateTime<Utc>) {
        let before = self.booted_at.replace(at);
        if before.is_some_and(|before| (at - before).abs() > SAME_BOOT) {
            (self.no_curl_until, self.too_long) = (None, None);
        }
    }
}

/// Spread evenly, so that not all hosts have their turn at once.
fn next_safety_look(host: &Host, now: Instant) -> Instant {
    let mut hasher = DefaultHasher::new();
    host.name.as_str().hash(&mut hasher);
    let share = (hasher.finish() % 1024) as f64 / 1024.0;
    now + SAFETY_LOOK.mul_f64(0.5 + share)
}

impl Inner {
    /// The events that `ask` asks for, where there may be any.
    pub(crate) async fn new_events(
        &self,
        host: &Host,
        link: &Link,
        ask: EventsAsk,
        heartbeat: &Heartbeat,
        until: Instant,
    ) -> Result<Option<EventBatch>, StationError> {
        let logoff = heartbeat.last_forced_logoff.as_ref();
        let now = Instant::now();
        let (from, batch) = match ask {
            EventsAsk::No => return Ok(None),
            EventsAsk::From(cursor) => {
                if !link.memory().events.wants_look(cursor, logoff, now) {
                    return Ok(None);
                }
                let reading = EventReading::after(cursor);
                (cursor, self.read_events(host, link, reading, until).await?)
            }
            EventsAsk::FirstSight { look_back } => {
                let since = self.since(link, heartbeat, look_back);
                let reading = EventReading::first_sight(since);
                match self.read_events(host, link, reading, until).await? {
                    Some(batch) => (batch.to, Some(batch)),
                    // It changed while we looked.
                    None => return Ok(None),
                }
            }
        };
        let to = batch.as_ref().map_or(from, |batch| batch.to);
        let found = batch.as_ref().is_some_and(|batch| !batch.events.is_empty());
        let mut memory = link.memory();
        let known = &mut memory.events;
        known.looked(to, logoff, found, next_safety_look(host, now));
        known.more = batch.as_ref().is_some_and(|batch| batch.more);
        Ok(batch.filter(is_worth_telling))
    }

    /// The station's instant so far back from now.
    fn since(&self, link: &Link, heartbeat: &Heartbeat, look_back: Duration) -> Option<DateTime<Utc>> {
        let look_back = TimeDelta::from_std(look_back)
            .ok()
            .filter(|back| !back.is_zero())?;
        let ahead = link.memory().clock_ahead;
        let now = match (ahead, heartbeat.reported_at) {
            (Some(ahead), _) => self.clock.now() + ahead,
            (None, Some(reported_at)) => reported_at,
            (None, None) => self.clock.now(),
        };
        now.checked_sub_signed(look_back)
    }

    /// `None` when there is no file now.
    async fn read_events(
        &self,
        host: &Host,
        link: &Link,
        reading: EventReading,
        until: Instant,
    ) -> Result<Option<EventBatch>, StationError> {
        if link.memory().events.is_too_long(&host.events_path) {
            return Err(self.too_long(host));
        }
        let mut reading = reading.within(ReadLimits {
            longest: self.settings.max_output as u64,
            ..ReadLimits::default()
        });
        let mut file = EventFile {
            inner: self,
            host,
            link,
            until,
            whole: None,
        };
        loop {
            match reading.next_step() {
                EventsStep::Done(batch) => {
                    if let Some(why) = reading.resync() {
                        tracing::info!(host.name = %host.name, why = why.as_str(), "event file begun anew");
                    }
                    return Ok(batch);
                }
                EventsStep::Length => match file.length().await? {
                    Some(length) => reading.answer(EventsAnswer::Length(length)),
                    None => reading.answer(EventsAnswer::Missing),
                },
                EventsStep::Part { at, length } => match file.part(at, length).await? {
                    Asked::Part(part) => reading.answer(EventsAnswer::Part(part.piece())),
                    Asked::PastEnd => reading.answer(EventsAnswer::PastEnd),
                    Asked::Missing => reading.answer(EventsAnswer::Missing),
                },
            }
        }
    }

    fn too_long(&self, host: &Host) -> StationError {
        StationError::EventsTooLong {
            host: host.name.clone(),
            path: host.events_path.clone(),
            limit: self.settings.max_output,
        }
    }
}

impl EventFile<'_> {
    /// Its length; nothing when there is none.
    async fn length(&mut self) -> Result<Option<u64>, StationError> {
        if let Some((code, output)) = self.by_curl(read_file_length(&self.host.events_path)).await? {
            match (code, content_length(&output)) {
                (0, Some(length)) => return Ok(Some(length)),
                (CURL_CANNOT_OPEN, _) => return Ok(None),
                _ => self.no_curl(code),
            }
        }
        Ok(self.whole().await?.map(|bytes| bytes.len() as u64))
    }

    /// A part of it.
    async fn part(&mut self, at: u64, length: u64) -> Result<Asked, StationError> {
        let line = read_file_from(&self.host.events_path, at, length);
        if let Some((code, bytes)) = self.by_curl(line).await? {
            let is_end = (bytes.len() as u64) < length;
            match code {
                0 => return Ok(Asked::Part(Part { at, bytes, is_end })),
                CURL_PAST_END => return Ok(Asked::PastEnd),
                CURL_CANNOT_OPEN => return Ok(Asked::Missing),
                code => self.no_curl(code),
            }
        }
        let Some(bytes) = self.whole().await? else {
            return Ok(Asked::Missing);
        };
        let Some(rest) = usize::try_from(at).ok().and_then(|at| bytes.get(at..)) else {
            return Ok(Asked::PastEnd);
        };
        let wanted = rest.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(Asked::Part(Part {
            at,
            bytes: rest[..wanted].to_vec(),
            is_end: wanted == rest.len(),
        }))
    }

    fn no_curl(&self, code: i32) {
        tracing::info!(host.name = %self.host.name, exit_code = code, "no curl.exe: events are read whole");
        self.link.memory().events.no_curl_until = Some(Instant::now() + NO_CURL_FOR);
    }

    /// `None` where this host or this path cannot be read by `curl.exe`.
    async fn by_curl(
        &self,
        line: Result<CommandLine, PathError>,
    ) -> Result<Option<(i32, Vec<u8>)>, StationError> {
        let (host, link) = (self.host, self.link);
        if link.memory().events.has_no_curl() {
            return Ok(None);
        }
        let line = match line {
            Ok(line) => line,
            Err(PathError::NoUrl { .. }) => return Ok(None),
            Err(why) => return Err(StationError::refused(&host.name, why)),
        };
        match self.inner.look_by(host, link, line, self.until).await {
            // What was lost on the way would look like the end of the file.
            Ok((_, output)) if output.truncated => Err(lost(host)),
            Ok((code, output)) => Ok(Some((code, output.stdout))),
            // A host that starts programs without `cmd.exe` in between says so with a fault.
            Err(error) if error.is_refusal_of_host() => Ok(Some((-1, Vec::new()))),
            Err(error) => Err(error),
        }
    }

    /// The file as `type` prints it; nothing when there is none.
    async fn whole(&mut self) -> Result<Option<&[u8]>, StationError> {
        if self.whole.is_none() {
            self.whole = self.read_whole().await?;
        }
        Ok(self.whole.as_deref())
    }

    async fn read_whole(&self) -> Result<Option<Vec<u8>>, StationError> {
        let (inner, host, link) = (self.inner, self.host, self.link);
        match inner.read_file(host, link, &host.events_path, self.until).await {
            Ok(output) if output.truncated && output.stdout.len() >= inner.settings.max_output => {
                let until = Instant::now() + TOO_LONG_FOR;
                link.memory().events.too_long = Some((host.events_path.clone(), until));
                Err(inner.too_long(host))
            }
            Ok(output) if output.truncated => Err(lost(host)),
            Ok(output) => Ok(Some(output.stdout)),
            Err(StationError::FileMissing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn lost(host: &Host) -> StationError {
    StationError::Lost {
        host: host.name.clone(),
        effect: Effect::None,
        source: None,
    }
}

/// Whether a batch says anything that its asker does not know.
fn is_worth_telling(batch: &EventBatch) -> bool {
    batch.from != Some(batch.to) || batch.bad_lines > 0 || batch.more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_host_cannot_do_is_asked_again_after_a_boot_and_not_after_a_new_connection() {
        let booted_at = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let later = Instant::now() + TOO_LONG_FOR;
        let mut known = EventsKnown {
            no_curl_until: Some(later),
            too_long: Some(("events".to_owned(), later)),
            ..EventsKnown::default()
        };
        // The first answer, and one that differs by the way to the host.
        for seconds in [0, 3] {
            known.booted(booted_at + TimeDelta::seconds(seconds));
            assert!(known.has_no_curl() && known.is_too_long("events"));
            assert!(!known.is_too_long("other"), "the entry names another file now");
        }
        known.booted(booted_at + TimeDelta::hours(1));
        assert!(!known.has_no_curl() && !known.is_too_long("events"));
    }
}
