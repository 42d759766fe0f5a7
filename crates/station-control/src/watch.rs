//! Watching a station: one long command on the host tells its changes as they happen.
//!
//! What happened before is read by polls, in the usual way. Then a PowerShell script compares time and length of both
//! files twice a second, and writes a line when one has changed, and one now and then when none has. We wait in one
//! request. Whatever goes wrong ends the watch with an error: whoever watches polls again, from the last place that he
//! kept, so that nothing depends on the script being right.
//!
//! The script ends itself after a day, or when the heartbeat is there and cannot be read for ten looks. Nothing tells it
//! that we are gone: then the host closes its shell, idle for 15 minutes, and the script with it.
//!
//! No PowerShell was at hand to run it: its simulation does what it says, and a grammar written by others reads it (test
//! `scripts`). What it relies on in .NET and WinRM is in `winrm-transport/docs/what-windows-really-does.md`.

mod frame;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lab_model::{Host, HostName};
use labstation_commands::{EventBatch, HeartbeatError, Piece, check_path, parse_heartbeat_document};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use winrm_transport::{Effect, PowerShell, Running, Stage, Stream};

use self::frame::{Frame, Frames};
use crate::control::Inner;
use crate::error::{Refusal, StationError, without_effect};
use crate::heartbeat::HeartbeatReading;
use crate::links::Link;
use crate::poll::{EventsAsk, PollAsk};

/// For Windows PowerShell 5.1.
const SCRIPT: &str = include_str!("watch/watch.ps1");
/// The script ends itself after a day; the transport allows no more than 30.
const LIFETIME: Duration = Duration::from_secs(25 * 3_600);
/// The whole of an event file that is shorter than this fits into one line of the script.
const ONE_LINE: u64 = 262_144;

/// What a watch is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchAsk {
    /// The events wanted, as for a poll.
    pub events: EventsAsk,
    /// How often the station looks at its files. Default 500 ms; at least 100 ms.
    pub every: Duration,
    /// How often the station says that it is there though nothing has changed. Default 30 s; at least 1 s.
    pub alive: Duration,
    /// How long the first word of the script may take: an interpreter has to start. Default 30 s.
    pub first_word: Duration,
    /// How long each of the polls before it may take. Default 30 s.
    pub poll_deadline: Duration,
}

impl WatchAsk {
    /// A watch with the usual times.
    #[must_use]
    pub fn new(events: EventsAsk) -> Self {
        Self {
            events,
            every: Duration::from_millis(500),
            alive: Duration::from_secs(30),
            first_word: Duration::from_secs(30),
            poll_deadline: Duration::from_secs(30),
        }
    }
}

/// A station under watch, from [`StationControl::watch`](crate::StationControl::watch).
///
/// It takes one of the two commands that a station takes at once: what only looks at the host stands in line with what
/// acts on it as long as the watch lasts. Dropping it ends the command on the host, in the background.
pub struct Watch {
    inner: Arc<Inner>,
    host: HostName,
    ask: WatchAsk,
    state: State,
    /// As last heard, to be told again with every news.
    last: Option<HeartbeatReading>,
    frames: Frames,
}

enum State {
    /// What happened before has not all been read.
    Polling,
    Running(Box<Live>),
    Over,
}

/// The command on the host, and the place that it has.
struct Live {
    // Dropped first: the place is free once the end is on its way.
    running: Running,
    entry: Host,
    place: Place,
    farewell: watch::Receiver<()>,
    heard: Instant,
}

/// The place of a watch on a link.
struct Place(Arc<Link>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.end_watch();
    }
}

impl Watch {
    pub(crate) fn new(inner: Arc<Inner>, host: HostName, ask: WatchAsk) -> Self {
        Self {
            inner,
            host,
            ask,
            state: State::Polling,
            last: None,
            frames: Frames::default(),
        }
    }

    /// The next news of the station: at first what a poll finds, at once; then whenever heartbeat or events change; and
    /// the last heartbeat again when nothing has changed for a while, which says that the host is there.
    ///
    /// Events are told once: a caller who could not keep them drops the watch and asks again from the place it kept.
    ///
    /// # Errors
    /// [`StationError`]; [`Watch::is_over`] says whether the watch ended with it. A heartbeat that cannot be read does
    /// not end it. [`StationError::WatchUnsupported`]: this host cannot be watched; poll it.
    ///
    /// # Cancel safety
    /// Cancel safe: what was not told is told by the next call. While the command is being started, a dropped future ends
    /// it.
    pub async fn next(&mut self) -> Result<HeartbeatReading, StationError> {
        let told = match self.state {
            State::Over => Err(self.lost()),
            State::Polling if self.wants_poll() => self.poll().await,
            _ => self.listen().await,
        };
        if let Err(error) = &told
            && !matches!(error, StationError::HeartbeatUnreadable { .. })
        {
            self.state = State::Over;
            self.frames = Frames::default();
        }
        told
    }

    /// Whether the watch has ended: it gives nothing any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether the station itself is telling now, rather than being asked.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Running(_)) && self.frames.any_read()
    }

    fn wants_poll(&self) -> bool {
        let last = self.last.as_ref();
        last.is_none_or(|last| last.events.as_ref().is_some_and(|batch| batch.more))
    }

    async fn poll(&mut self) -> Result<HeartbeatReading, StationError> {
        let ask = PollAsk {
            events: self.ask.events,
        };
        let (entry, link) = self.inner.host(&self.host).await?;
        let mut reading = self
            .inner
            .poll(&entry, &link, ask, self.ask.poll_deadline)
            .await?;
        if let Some(failed) = reading.events_failed.take() {
            // The place in the file is not known, so there is none to go on from.
            return Err(Arc::into_inner(failed).unwrap_or_else(|| self.lost()));
        }
        self.moved(reading.events.as_ref());
        self.last = Some(reading.clone());
        Ok(reading)
    }

    fn moved(&mut self, batch: Option<&EventBatch>) {
        if let Some(batch) = batch {
            self.ask.events = EventsAsk::From(batch.to);
        }
    }

    async fn listen(&mut self) -> Result<HeartbeatReading, StationError> {
        if matches!(self.state, State::Polling) {
            self.state = State::Running(Box::new(self.start().await?));
        }
        loop {
            match self.frames.next() {
                Ok(Some(frame)) => {
                    if let Some(reading) = self.take(frame)? {
                        return Ok(reading);
                    }
                }
                Ok(None) => self.hear().await?,
                Err(frame::Garbled) => return Err(self.lost()),
            }
        }
    }

    /// Starts the script on the host.
    async fn start(&self) -> Result<Live, StationError> {
        let (entry, link) = self.inner.host(&self.host).await?;
        if !link.begin_watch() {
            return Err(StationError::refused(&self.host, Refusal::Watched));
        }
        let place = Place(Arc::clone(&link));
        let farewell = link.farewell();
        let script = self.script(&entry)?;
        let heard = Instant::now();
        let started = timeout_at(
            heard + self.ask.first_word,
            link.looks.start(&script.command(), LIFETIME),
        )
        .await;
        let running = match started {
            Ok(Ok(running)) => running,
            Ok(Err(error)) => {
                return Err(without_effect(StationError::from_transport(&self.host, error)));
            }
            Err(_) => return Err(self.silent(self.ask.first_word)),
        };
        Ok(Live {
            running,
            entry,
            place,
            farewell,
            heard,
        })
    }

    fn script(&self, entry: &Host) -> Result<PowerShell, StationError> {
        let path = |path: &str| check_path(path).map_err(|why| StationError::refused(&self.host, why));
        let (events, offset) = match self.ask.events {
            EventsAsk::From(cursor) => (path(&entry.events_path)?, cursor.offset),
            EventsAsk::No | EventsAsk::FirstSight { .. } => (String::new(), 0),
        };
        let every = self.ask.every.max(Duration::from_millis(100));
        let alive = self.ask.alive.max(Duration::from_secs(1));
        Ok(PowerShell::script(SCRIPT)
            .value("heartbeat", &path(&entry.heartbeat_path)?)
            .value("events", &events)
            .value("offset", &offset.to_string())
            .value("every", &every.as_millis().to_string())
            .value("alive", &alive.as_millis().to_string()))
    }

    /// Waits for output.
    async fn hear(&mut self) -> Result<(), StationError> {
        let limit = if self.frames.any_read() {
            // Two words may be lost to a busy host, and an answer may be on its way for a while.
            self.ask.alive.max(Duration::from_secs(1)) * 2 + Duration::from_secs(15)
        } else {
            self.ask.first_word
        };
        let State::Running(live) = &mut self.state else {
            return Err(self.lost());
        };
        let heard = tokio::select! {
            biased;
            // The entry of the host has changed, or the host is about to go down.
            _ = live.farewell.changed() => return Err(self.lost()),
            heard = timeout_at(live.heard + limit, live.running.next()) => heard,
        };
        match heard {
            Ok(Some(chunk)) => {
                if chunk.stream == Stream::Stdout {
                    live.heard = Instant::now();
                    self.frames.push(&chunk.bytes);
                }
                Ok(())
            }
            Ok(None) => Err(self.ended().await),
            Err(_) if self.frames.any_read() => Err(self.silent(limit)),
            Err(_) => Err(self.unsupported(None)),
        }
    }

    /// Why there is no more output.
    async fn ended(&mut self) -> StationError {
        let State::Running(live) = std::mem::replace(&mut self.state, State::Over) else {
            return self.lost();
        };
        let Live { running, place, .. } = *live;
        let exit = running.exit().await;
        drop(place);
        match exit {
            Err(error) => without_effect(StationError::from_transport(&self.host, error)),
            Ok(output) if !self.frames.any_read() => {
                tracing::debug!(host.name = %self.host, exit_code = ?output.exit_code, "the watch did not begin");
                self.unsupported(output.exit_code)
            }
            Ok(_) => self.lost(),
        }
    }

    /// What a line means; nothing when it says nothing new.
    fn take(&mut self, frame: Frame) -> Result<Option<HeartbeatReading>, StationError> {
        let observed_at = self.inner.clock.now();
        let events = match frame {
            Frame::Heartbeat(bytes) => return self.heartbeat(&bytes, observed_at),
            Frame::TooLong { length } => {
                let limit = labstation_commands::DOCUMENT_LIMIT;
                return Err(self.unreadable(HeartbeatError::TooLarge { length, limit }));
            }
            Frame::NoHeartbeat => return Err(self.missing()),
            Frame::Alive => None,
            Frame::Events { at, length, bytes } => match self.events(at, length, &bytes)? {
                None => return Ok(None),
                batch => batch,
            },
        };
        Ok(self.last.as_mut().map(|last| {
            last.observed_at = observed_at;
            last.duration = Duration::ZERO;
            HeartbeatReading {
                events,
                ..last.clone()
            }
        }))
    }

    fn heartbeat(
        &mut self,
        bytes: &[u8],
        observed_at: chrono::DateTime<chrono::Utc>,
    ) -> Result<Option<HeartbeatReading>, StationError> {
        let (heartbeat, document) = match parse_heartbeat_document(bytes) {
            Ok(parsed) => parsed,
            // It is just being replaced, and will be told again.
            Err(HeartbeatError::Empty) => return Ok(None),
            Err(why) => return Err(self.unreadable(why)),
        };
        let reading = HeartbeatReading {
            heartbeat,
            document,
            last_event: None,
            events: None,
            events_failed: None,
            booted_at: None,
            duration: Duration::ZERO,
            observed_at,
        };
        self.last = Some(reading.clone());
        Ok(Some(reading))
    }

    fn events(&mut self, at: u64, length: u64, bytes: &[u8]) -> Result<Option<EventBatch>, StationError> {
        let EventsAsk::From(cursor) = self.ask.events else {
            return Ok(None);
        };
        let piece = Piece {
            at,
            bytes,
            is_end: true,
        };
        // At the head of another file nothing proves that it is still that one.
        let is_at_head_of_other = cursor.anchor.is_none() && cursor.repeats_until > 0;
        let place = match is_at_head_of_other {
            true => cursor.in_other_file(None, length),
            false => cursor,
        };
        let batch = match place.advance(piece) {
            Ok(batch) => EventBatch {
                from: Some(cursor),
                ..batch
            },
            // Only where the whole file is here can it be told what of it is new. A poll can do it otherwise.
            Err(why) if at == 0 && length <= ONE_LINE => {
                let place = cursor.in_other_file(cursor.find_again(piece), length);
                let batch = place.advance(piece).map_err(|_| self.lost())?;
                EventBatch {
                    from: Some(cursor),
                    resync: Some(why),
                    ..batch
                }
            }
            Err(_) => return Err(self.lost()),
        };
        self.moved(Some(&batch));
        Ok((batch.to != cursor || batch.bad_lines > 0).then_some(batch))
    }

    fn lost(&self) -> StationError {
        StationError::WatchEnded {
            host: self.host.clone(),
        }
    }

    fn silent(&self, waited: Duration) -> StationError {
        StationError::TimedOut {
            host: self.host.clone(),
            waited,
            during: Stage::Receive,
            effect: Effect::None,
        }
    }

    fn unsupported(&self, exit_code: Option<i32>) -> StationError {
        StationError::WatchUnsupported {
            host: self.host.clone(),
            exit_code,
        }
    }

    fn unreadable(&self, source: HeartbeatError) -> StationError {
        StationError::HeartbeatUnreadable {
            host: self.host.clone(),
            source,
        }
    }

    fn missing(&self) -> StationError {
        let path = match &self.state {
            State::Running(live) => live.entry.heartbeat_path.clone(),
            State::Polling | State::Over => String::new(),
        };
        StationError::FileMissing {
            host: self.host.clone(),
            path,
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("host", &self.host)
            .field("ask", &self.ask)
            .field("is_live", &self.is_live())
            .finish_non_exhaustive()
    }
}
