//! Reading what is new in a station's event file, and only when there may be something.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::Host;
use labstation_commands::{
    CURL_CANNOT_OPEN, CURL_PAST_END, CommandLine, EventBatch, EventCursor, ForcedLogoff, Heartbeat,
    PIECE_LENGTH, PathError, Piece, Resync, content_length, read_file_from, read_file_length,
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
/// Longest part of a file's end that is looked at on first sight, and of its whole when the place was lost.
const MOST_PIECES: u64 = 8;

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
    /// This host has no `curl.exe`.
    no_curl: bool,
    /// The place was lost, or there was none: what is before this may have been read before, by whomever.
    repeats_until: u64,
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
                (cursor, self.events_after(host, link, cursor, until).await?)
            }
            EventsAsk::FirstSight { look_back } => {
                let since = self.since(link, heartbeat, look_back);
                let batch = self.events_at_first_sight(host, link, since, until).await?;
                (batch.to, Some(batch))
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
    async fn events_after(
        &self,
        host: &Host,
        link: &Link,
        cursor: EventCursor,
        until: Instant,
    ) -> Result<Option<EventBatch>, StationError> {
        let asked = self
            .part(host, link, cursor.read_from(), PIECE_LENGTH, until)
            .await?;
        let advanced = match &asked {
            Asked::Missing => return Ok(None),
            Asked::PastEnd => Err(Resync::Truncated),
            Asked::Part(part) => cursor.advance(part.piece()),
        };
        match advanced {
            Ok(mut batch) => {
                let repeats_until = link.memory().events.repeats_until;
                batch.resync = (cursor.offset < repeats_until).then_some(Resync::Replaced);
                Ok(Some(batch))
            }
            Err(why) => self.events_anew(host, link, cursor, why, until).await,
        }
    }

    /// The file is no longer the one of the cursor: goes on behind its last line where that is found again, and else from
    /// the beginning.
    async fn events_anew(
        &self,
        host: &Host,
        link: &Link,
        cursor: EventCursor,
        why: Resync,
        until: Instant,
    ) -> Result<Option<EventBatch>, StationError> {
        tracing::info!(host.name = %host.name, why = why.as_str(), "event file begun anew");
        let (mut first, mut place, mut length) = (None, EventCursor::START, 0);
        for _ in 0..MOST_PIECES {
            let part = match self.part(host, link, length, PIECE_LENGTH, until).await? {
                Asked::Part(part) => part,
                Asked::PastEnd => break,
                Asked::Missing => return Ok(None),
            };
            let end = part.at + part.bytes.len() as u64;
            let (found, is_end) = (cursor.find_again(part.piece()), part.is_end);
            first.get_or_insert(part);
            if let Some(found) = found {
                place = found;
                break;
            }
            if is_end {
                length = end;
                break;
            }
            // A line may lie across the border.
            length = end - (2 * labstation_commands::LINE_LIMIT as u64);
        }
        let Some(first) = first else {
            // Empty by now.
            return Ok(Some(begun_anew(cursor, why)));
        };
        let held = place.advance(first.piece());
        let batch = match held {
            Ok(batch) => Ok(batch),
            Err(_) => match self
                .part(host, link, place.read_from(), PIECE_LENGTH, until)
                .await?
            {
                Asked::Part(part) => place.advance(part.piece()),
                Asked::PastEnd | Asked::Missing => Err(why),
            },
        };
        let mut memory = link.memory();
        memory.events.repeats_until = if place == EventCursor::START { length } else { 0 };
        // Changed again while we looked: the next poll tries again from the beginning.
        let batch = batch.unwrap_or_else(|_| begun_anew(cursor, why));
        Ok(Some(EventBatch {
            from: Some(cursor),
            resync: Some(why),
            ..batch
        }))
    }

    async fn events_at_first_sight(
        &self,
        host: &Host,
        link: &Link,
        since: Option<DateTime<Utc>>,
        until: Instant,
    ) -> Result<EventBatch, StationError> {
        let nothing = EventBatch {
            from: None,
            to: EventCursor::START,
            events: Vec::new(),
            bad_lines: 0,
            resync: None,
            more: false,
        };
        link.memory().events.repeats_until = 0;
        let Some(length) = self.length(host, link, until).await? else {
            return Ok(nothing);
        };
        let most = match since {
            Some(_) => PIECE_LENGTH * MOST_PIECES,
            None => PIECE_LENGTH,
        };
        let most = most.min(self.settings.max_output as u64);
        let mut wanted = PIECE_LENGTH.min(length);
        loop {
            // Even, for the characters of UTF-16.
            let at = (length - wanted.min(length)) & !1;
            let Asked::Part(part) = self.part(host, link, at, length - at, until).await? else {
                return Ok(nothing);
            };
            let sight = EventCursor::first_sight(part.piece(), since);
            if !sight.is_whole && wanted < most.min(length) {
                wanted = (wanted * 2).min(most).min(length);
                continue;
            }
            // A piece of it, as at any other time.
            let skip = sight.cursor.read_from().saturating_sub(part.at);
            let rest = &part.bytes[usize::try_from(skip).unwrap_or(0).min(part.bytes.len())..];
            let bytes = &rest[..rest.len().min(PIECE_LENGTH as usize)];
            let piece = Piece {
                at: sight.cursor.read_from(),
                bytes,
                is_end: bytes.len() == rest.len(),
            };
            return Ok(match sight.cursor.advance(piece) {
                Ok(batch) => {
                    if batch.more {
                        // Whoever stored them before may have stored the rest too.
                        link.memory().events.repeats_until = length;
                    }
                    EventBatch { from: None, ..batch }
                }
                Err(_) => EventBatch {
                    to: sight.cursor,
                    ..nothing
                },
            });
        }
    }

    /// Length of the event file; nothing when there is none.
    async fn length(&self, host: &Host, link: &Link, until: Instant) -> Result<Option<u64>, StationError> {
        if let Some((code, output)) = self
            .by_curl(host, link, read_file_length(&host.events_path), until)
            .await?
        {
            match (code, content_length(&output)) {
                (0, Some(length)) => return Ok(Some(length)),
                (CURL_CANNOT_OPEN, _) => return Ok(None),
                _ => link.memory().events.no_curl = true,
            }
        }
        let whole = self.whole_file(host, link, until).await?;
        Ok(whole.map(|bytes| bytes.len() as u64))
    }

    /// A part of the event file.
    async fn part(
        &self,
        host: &Host,
        link: &Link,
        at: u64,
        length: u64,
        until: Instant,
    ) -> Result<Asked, StationError> {
        let line = read_file_from(&host.events_path, at, length);
        if let Some((code, bytes)) = self.by_curl(host, link, line, until).await? {
            let is_end = (bytes.len() as u64) < length;
            match code {
                0 => return Ok(Asked::Part(Part { at, bytes, is_end })),
                CURL_PAST_END => return Ok(Asked::PastEnd),
                CURL_CANNOT_OPEN => return Ok(Asked::Missing),
                code => {
                    tracing::info!(host.name = %host.name, exit_code = code, "no curl.exe: events are read whole");
                    link.memory().events.no_curl = true;
                }
            }
        }
        let Some(bytes) = self.whole_file(host, link, until).await? else {
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

    /// `None` where this host or this path cannot be read by `curl.exe`.
    async fn by_curl(
        &self,
        host: &Host,
        link: &Link,
        line: Result<CommandLine, PathError>,
        until: Instant,
    ) -> Result<Option<(i32, Vec<u8>)>, StationError> {
        if link.memory().events.no_curl {
            return Ok(None);
        }
        let line = match line {
            Ok(line) => line,
            Err(PathError::NoUrl { .. }) => return Ok(None),
            Err(why) => return Err(StationError::refused(&host.name, why)),
        };
        match self.look_by(host, link, line, until).await {
            // What was lost on the way would look like the end of the file.
            Ok((_, output)) if output.truncated => Err(lost(host)),
            Ok((code, output)) => Ok(Some((code, output.stdout))),
            // A host that starts programs without `cmd.exe` in between says so with a fault.
            Err(error) if error.is_refusal_of_host() => Ok(Some((-1, Vec::new()))),
            Err(error) => Err(error),
        }
    }

    /// The event file as `type` prints it; nothing when there is none.
    async fn whole_file(
        &self,
        host: &Host,
        link: &Link,
        until: Instant,
    ) -> Result<Option<Vec<u8>>, StationError> {
        match self.read_file(host, link, &host.events_path, until).await {
            Ok(output) if output.truncated && output.stdout.len() >= self.settings.max_output => {
                Err(self.too_long(host))
            }
            Ok(output) if output.truncated => Err(lost(host)),
            Ok(output) => Ok(Some(output.stdout)),
            Err(StationError::FileMissing { .. }) => Ok(None),
            Err(error) => Err(error),
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

fn lost(host: &Host) -> StationError {
    StationError::Lost {
        host: host.name.clone(),
        effect: Effect::None,
        source: None,
    }
}

fn begun_anew(from: EventCursor, why: Resync) -> EventBatch {
    EventBatch {
        from: Some(from),
        to: EventCursor::START,
        events: Vec::new(),
        bad_lines: 0,
        resync: Some(why),
        more: false,
    }
}

/// Whether a batch says anything that its asker does not know.
fn is_worth_telling(batch: &EventBatch) -> bool {
    batch.from != Some(batch.to) || batch.bad_lines > 0 || batch.more
}
