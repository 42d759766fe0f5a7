//! Reading what the station last reported.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::Host;
use labstation_commands::{
    CommandLine, DOCUMENT_LIMIT, Event, EventBatch, Heartbeat, HeartbeatError, content_length, last_event,
    parse_heartbeat_document, read_file, read_file_length,
};
use tokio::time::{Instant, sleep};
use winrm_transport::{Command, Output};

use crate::control::Inner;
use crate::error::{StationError, without_effect};
use crate::links::Link;

/// The station replaces its files by renaming: for an instant there is none.
const REPLACED_WITHIN: Duration = Duration::from_millis(250);

/// Whether to read the session guard's events beside the heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsRead {
    /// No: one command.
    No,
    /// Only when the heartbeat names a forced log-off that this process has not yet read the event of.
    IfChanged,
    /// Yes: a second command.
    Yes,
}

/// What a station last reported.
#[derive(Debug, Clone)]
pub struct HeartbeatReading {
    /// The heartbeat; its stamps are by the station's clock.
    pub heartbeat: Heartbeat,
    /// The document as JSON text, without a byte order mark.
    pub document: String,
    /// The last event, where [`StationControl::read_heartbeat`](crate::StationControl::read_heartbeat) read events and
    /// there is a whole one.
    pub last_event: Option<Event>,
    /// What was read from the event file: only by [`StationControl::poll`](crate::StationControl::poll) and a watch, and
    /// only where there was reason to look and something to tell.
    pub events: Option<EventBatch>,
    /// Why the event file could not be read, where there was reason to. The heartbeat is good all the same, and the
    /// next poll tries again.
    pub events_failed: Option<Arc<StationError>>,
    /// When the host booted, by our clock: asked once for each new connection by a poll or a watch. Answers to
    /// several askings differ by as much as the way to the host takes.
    pub booted_at: Option<DateTime<Utc>>,
    /// How long reading took.
    pub duration: Duration,
    /// When it was read, by our clock.
    pub observed_at: DateTime<Utc>,
}

impl Inner {
    pub(crate) async fn read_heartbeat(
        &self,
        host: &Host,
        link: &Link,
        events: EventsRead,
        deadline: Duration,
    ) -> Result<HeartbeatReading, StationError> {
        let started = Instant::now();
        let until = started + deadline;
        let (heartbeat, document) = self.read_document(host, link, until).await?;
        let observed_at = self.clock.now();
        link.remember_name(&heartbeat);
        let forced = heartbeat.last_forced_logoff.as_ref().and_then(|logoff| logoff.at);
        let wanted = match events {
            EventsRead::No => false,
            EventsRead::IfChanged => forced.is_some() && link.memory().events_read_to != forced,
            EventsRead::Yes => true,
        };
        let mut last_event = None;
        if wanted && let Ok(event) = self.read_last_event(host, link, until).await {
            last_event = event;
            link.memory().events_read_to = forced;
        }
        Ok(HeartbeatReading {
            heartbeat,
            document,
            last_event,
            events: None,
            events_failed: None,
            booted_at: None,
            duration: started.elapsed(),
            observed_at,
        })
    }

    pub(crate) async fn read_document(
        &self,
        host: &Host,
        link: &Link,
        until: Instant,
    ) -> Result<(Heartbeat, String), StationError> {
        let unreadable = |source| StationError::HeartbeatUnreadable {
            host: host.name.clone(),
            source,
        };
        if link.memory().heartbeat_too_large {
            self.check_length(host, link, until).await.map_err(unreadable)?;
        }
        let mut again = true;
        loop {
            let read = self.read_file(host, link, &host.heartbeat_path, until).await;
            let parsed = match &read {
                Ok(output) => self.parse(output).map_err(unreadable),
                Err(_) => Err(StationError::FileMissing {
                    host: host.name.clone(),
                    path: host.heartbeat_path.clone(),
                }),
            };
            match (read, parsed) {
                (Ok(_), Ok(read)) => return Ok(read),
                (Err(error), _) if !matches!(error, StationError::FileMissing { .. }) => return Err(error),
                (_, Err(error)) if again && is_momentary(&error) => again = false,
                (Ok(_), Err(error)) if is_too_large(&error) => {
                    link.memory().heartbeat_too_large = true;
                    return Err(error);
                }
                (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
            }
            sleep(REPLACED_WITHIN).await;
        }
    }

    fn parse(&self, output: &Output) -> Result<(Heartbeat, String), HeartbeatError> {
        let (length, limit) = (output.stdout.len(), self.settings.max_output);
        if output.truncated && length >= limit {
            // At least so many.
            return Err(HeartbeatError::TooLarge {
                length: length + 1,
                limit,
            });
        }
        parse_heartbeat_document(&output.stdout)
    }

    /// A document that was too large once is not fetched again before it is smaller: that could be for ever, at
    /// every poll.
    async fn check_length(&self, host: &Host, link: &Link, until: Instant) -> Result<(), HeartbeatError> {
        let limit = DOCUMENT_LIMIT.min(self.settings.max_output);
        let length = match read_file_length(&host.heartbeat_path) {
            Ok(line) => self.look_by(host, link, line, until).await,
            Err(_) => return Ok(()),
        };
        let length = length.ok().and_then(|(_, output)| content_length(&output.stdout));
        match length.and_then(|length| usize::try_from(length).ok()) {
            Some(length) if length > limit => Err(HeartbeatError::TooLarge { length, limit }),
            _ => {
                link.memory().heartbeat_too_large = false;
                Ok(())
            }
        }
    }

    async fn read_last_event(
        &self,
        host: &Host,
        link: &Link,
        until: Instant,
    ) -> Result<Option<Event>, StationError> {
        let read = self.read_file(host, link, &host.events_path, until).await;
        if let Err(error) = &read {
            tracing::debug!(host.name = %host.name, error = error.sentence(), "events not read");
        }
        let output = match read {
            // No event yet: the station makes the file with the first one.
            Err(StationError::FileMissing { .. }) => return Ok(None),
            other => other?,
        };
        // Without its end the file says nothing about its last line.
        Ok(if output.truncated {
            None
        } else {
            last_event(&output.stdout)
        })
    }

    /// Prints a file of the host. Told by the exit code, since the text comes in the host's language.
    pub(crate) async fn read_file(
        &self,
        host: &Host,
        link: &Link,
        path: &str,
        until: Instant,
    ) -> Result<Output, StationError> {
        let line = read_file(path).map_err(|why| StationError::refused(&host.name, why))?;
        let (code, output) = self.look_by(host, link, line, until).await?;
        match code {
            0 => Ok(output),
            _ => Err(StationError::FileMissing {
                host: host.name.clone(),
                path: path.to_owned(),
            }),
        }
    }

    /// Runs a program that only looks; gives its exit code beside its output.
    pub(crate) async fn look_by(
        &self,
        host: &Host,
        link: &Link,
        line: CommandLine,
        until: Instant,
    ) -> Result<(i32, Output), StationError> {
        // At most one blank of a file's URL is written with `%`, which alone means nothing to `cmd.exe`.
        let is_url = line.args.last().is_some_and(|arg| arg.starts_with("file:///"));
        let command = Command::new(line.program)
            .args(line.args)
            .allow_cmd_metacharacters(is_url);
        let left = until.saturating_duration_since(Instant::now());
        let ended = link.looks().run(&command, left).await;
        let output =
            ended.map_err(|error| without_effect(StationError::from_transport(&host.name, error)))?;
        match output.exit_code {
            Some(code) => Ok((code, output)),
            None => Err(without_effect(StationError::no_exit_code(&host.name))),
        }
    }
}

fn is_too_large(error: &StationError) -> bool {
    matches!(
        error,
        StationError::HeartbeatUnreadable {
            source: HeartbeatError::TooLarge { .. },
            ..
        }
    )
}

fn is_momentary(error: &StationError) -> bool {
    match error {
        StationError::FileMissing { .. } => true,
        StationError::HeartbeatUnreadable { source, .. } => matches!(source, HeartbeatError::Empty),
        _ => false,
    }
}
