//! Reading what the station last reported.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::Host;
use labstation_commands::{Event, Heartbeat, HeartbeatError, last_event, parse_heartbeat, read_file};
use serde::de::IgnoredAny;
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
    /// The last event, where events were read and there is a whole one.
    pub last_event: Option<Event>,
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
        if let Some(name) = &heartbeat.host {
            link.memory().computer_name.get_or_insert_with(|| name.clone());
        }
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
            duration: started.elapsed(),
            observed_at,
        })
    }

    async fn read_document(
        &self,
        host: &Host,
        link: &Link,
        until: Instant,
    ) -> Result<(Heartbeat, String), StationError> {
        let unreadable = |source| StationError::HeartbeatUnreadable {
            host: host.name.clone(),
            source,
        };
        let mut again = true;
        loop {
            let read = self.read_file(host, link, &host.heartbeat_path, until).await;
            let parsed = match &read {
                Ok(output) => parse_heartbeat(&output.stdout).map_err(unreadable),
                Err(_) => Err(StationError::FileMissing {
                    host: host.name.clone(),
                    path: host.heartbeat_path.clone(),
                }),
            };
            match (read, parsed) {
                (Ok(output), Ok(heartbeat)) => {
                    let document = json_text(&output, &heartbeat);
                    return Ok((heartbeat, document));
                }
                (Err(error), _) if !matches!(error, StationError::FileMissing { .. }) => return Err(error),
                (_, Err(error)) if again && is_momentary(&error) => again = false,
                (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
            }
            sleep(REPLACED_WITHIN).await;
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
    async fn read_file(
        &self,
        host: &Host,
        link: &Link,
        path: &str,
        until: Instant,
    ) -> Result<Output, StationError> {
        let line = read_file(path).map_err(|why| StationError::refused(&host.name, why))?;
        let command = Command::new(line.program).args(line.args);
        let left = until.saturating_duration_since(Instant::now());
        let ended = link.looks.run(&command, left).await;
        let output =
            ended.map_err(|error| without_effect(StationError::from_transport(&host.name, error)))?;
        match output.exit_code {
            Some(0) => Ok(output),
            Some(_) => Err(StationError::FileMissing {
                host: host.name.clone(),
                path: path.to_owned(),
            }),
            None => Err(without_effect(StationError::no_exit_code(&host.name))),
        }
    }
}

fn is_momentary(error: &StationError) -> bool {
    match error {
        StationError::FileMissing { .. } => true,
        StationError::HeartbeatUnreadable { source, .. } => matches!(source, HeartbeatError::Empty),
        _ => false,
    }
}

/// The document as it came where that is JSON; else as it was understood, since others will parse it strictly.
fn json_text(output: &Output, heartbeat: &Heartbeat) -> String {
    let text = output.stdout_text();
    match serde_json::from_str::<IgnoredAny>(&text) {
        Ok(_) => text.into_owned(),
        Err(_) => heartbeat.raw.to_string(),
    }
}
