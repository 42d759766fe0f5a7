//! What is known of a worker.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::shard::Duty;

/// What a worker says it can do; other releases may say more, which is kept but not understood.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Which duties it takes shards of.
    #[serde(default, deserialize_with = "known_duties")]
    pub duties: Vec<Duty>,
    /// Everything else.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

impl Capabilities {
    /// Only duties.
    #[must_use]
    pub fn new(duties: impl IntoIterator<Item = Duty>) -> Self {
        Self {
            duties: duties.into_iter().collect(),
            more: serde_json::Map::new(),
        }
    }
}

/// Leaves out duties that only another release knows.
fn known_duties<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Duty>, D::Error> {
    let words = Vec::<serde_json::Value>::deserialize(deserializer)?;
    Ok(words
        .into_iter()
        .filter_map(|word| serde_json::from_value(word).ok())
        .collect())
}

/// Who registers.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Unique among all workers: `<role>@<worker name>`, so that two services of one machine can share one name.
    pub name: String,
    /// What kind of program it is.
    pub role: String,
    /// The machine it runs on.
    pub host: String,
    /// New at every start.
    pub instance: Uuid,
    /// The release.
    pub version: String,
    /// What it can do.
    pub capabilities: Capabilities,
}

impl Registration {
    /// A new instance on this machine, named `<role>@<name>`.
    #[must_use]
    pub fn new(role: &str, name: &str, capabilities: Capabilities, version: &str) -> Self {
        // Only shown: a system without the file leaves the field blank.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            name: format!("{role}@{name}"),
            role: role.to_owned(),
            host: host.trim().to_owned(),
            instance: Uuid::new_v4(),
            version: version.to_owned(),
            capabilities,
        }
    }
}

/// How a worker stands. Whether it is alive is another question, which its lease answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// At work.
    Active,
    /// Ends what is under way and takes nothing new.
    Draining,
    /// An operator keeps work from it; survives restarts.
    Cordoned,
    /// Stopped in good order.
    Inactive,
    /// Fell silent.
    Stale,
    /// A word of another release; takes no work as far as this one knows.
    Unknown,
}

impl Status {
    /// The word that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Cordoned => "cordoned",
            Self::Inactive => "inactive",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) fn parse(word: &str) -> Self {
        let all = [
            Self::Active,
            Self::Draining,
            Self::Cordoned,
            Self::Inactive,
            Self::Stale,
        ];
        all.into_iter()
            .find(|status| status.as_str() == word)
            .unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One worker, as the database has it. Ages and what is left are by the database's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerRecord {
    /// Row id.
    pub id: i64,
    /// Unique name.
    pub name: String,
    /// What kind of program it is.
    pub role: String,
    /// The machine it runs on.
    pub host: String,
    /// Which start of it.
    pub instance: String,
    /// How it stands.
    pub status: Status,
    /// Why, where somebody said so.
    pub status_reason: Option<String>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// On how many hosts it is at work.
    pub running_jobs: u32,
    /// Its release.
    pub version: String,
    /// When it registered.
    pub started_at: DateTime<Utc>,
    /// When it was last heard of.
    pub last_heartbeat_at: DateTime<Utc>,
    /// How long ago that was.
    pub heartbeat_age: Duration,
    /// How long ago its main loops last moved, all of them.
    pub progress_age: Duration,
    /// How much of its lease is left; `None` means that it counts as dead.
    pub lease_left: Option<Duration>,
}

impl WorkerRecord {
    /// Whether its lease still runs.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.lease_left.is_some()
    }

    /// Whether it may take shards of a duty.
    pub(crate) fn takes(&self, duty: Duty) -> bool {
        self.alive() && self.status == Status::Active && self.capabilities.duties.contains(&duty)
    }

    pub(crate) fn holder(&self) -> String {
        holder(self.id, &self.instance)
    }

    pub(crate) fn incumbent(&self) -> Incumbent {
        Incumbent {
            name: self.name.clone(),
            host: self.host.clone(),
            instance: self.instance.clone(),
            started_at: self.started_at,
            last_heartbeat_at: self.last_heartbeat_at,
        }
    }
}

/// How a worker is named in leases.
pub(crate) fn holder(id: i64, instance: &str) -> String {
    format!("worker:{id}:{instance}")
}

/// The process that has a name somebody else asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incumbent {
    /// The name.
    pub name: String,
    /// The machine it runs on.
    pub host: String,
    /// Which start of it.
    pub instance: String,
    /// When it registered.
    pub started_at: DateTime<Utc>,
    /// When it was last heard of.
    pub last_heartbeat_at: DateTime<Utc>,
}

impl fmt::Display for Incumbent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let started = self.started_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        write!(f, "{:?} runs on {:?} since {started}", self.name, self.host)
    }
}

/// How many shards of each duty a worker holds, by [`Duty::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardCounts(pub [usize; 2]);

impl ShardCounts {
    /// Of one duty.
    #[must_use]
    pub fn of(self, duty: Duty) -> usize {
        self.0[duty.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_of_another_release_are_kept_and_unknown_duties_left_out() {
        let text = r#"{"duties": ["polls", "dreams", 7], "journal": 3}"#;
        let read: Capabilities = serde_json::from_str(text).unwrap();
        assert_eq!(read.duties, [Duty::Polls]);
        assert_eq!(read.more["journal"], 3);
        assert_eq!(
            serde_json::from_str::<Capabilities>("{}").unwrap(),
            Capabilities::default()
        );
    }

    #[test]
    fn an_incumbent_is_named_with_host_and_start() {
        let at = "2026-03-01T09:00:00.5Z".parse().unwrap();
        let incumbent = Incumbent {
            name: "scheduler@gw".into(),
            host: "gateway".into(),
            instance: "i".into(),
            started_at: at,
            last_heartbeat_at: at,
        };
        assert_eq!(
            incumbent.to_string(),
            r#""scheduler@gw" runs on "gateway" since 2026-03-01T09:00:00Z"#
        );
    }

    #[test]
    fn words_of_a_status_are_read_back_and_others_are_unknown() {
        assert_eq!(Status::parse(Status::Cordoned.as_str()), Status::Cordoned);
        assert_eq!(Status::parse("asleep"), Status::Unknown);
    }
}
