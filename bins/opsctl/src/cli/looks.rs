//! What commands take that only look.

use std::time::Duration;

use clap::Args;

use crate::when;

/// Which hosts.
#[derive(Debug, Args)]
pub(crate) struct HostsArgs {
    /// Only those that serve this lab
    #[arg(long)]
    pub(crate) lab: Option<String>,
    /// Only those with this liveness
    #[arg(long, value_parser = ["fresh", "stale", "silent", "expected-off", "never-seen", "unknown"])]
    pub(crate) verdict: Option<String>,
    /// Only those whose name, address or lab holds this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) query: Option<String>,
    /// Ask again and again until Ctrl-C
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// How often to ask with --watch
    #[arg(long, default_value = "5s", value_parser = when::duration, requires = "watch")]
    pub(crate) interval: Duration,
    /// Stop after so many answers with --watch
    #[arg(long, requires = "watch")]
    pub(crate) count: Option<u64>,
}

/// Which reservations.
#[derive(Debug, Args)]
pub(crate) struct ReservationsArgs {
    /// Of this host
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Of this lab
    #[arg(long)]
    pub(crate) lab: Option<String>,
    /// In this state, such as CONFIRMED
    #[arg(long, ignore_case = true, value_parser = ["PENDING", "CONFIRMED", "ACTIVE", "COMPLETED", "CANCELLED"])]
    pub(crate) status: Option<String>,
    /// That end after this instant: 2026-03-01T09:00:00Z, "2026-03-01 09:00", 09:00, -2h
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// That start before this instant
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) to: Option<String>,
    /// At most so many
    #[arg(long)]
    pub(crate) limit: Option<u32>,
    /// Go on after this page mark
    #[arg(long)]
    pub(crate) after: Option<String>,
}

/// Which rows of a long list.
#[derive(Debug, Args)]
pub(crate) struct Page {
    /// At most so many rows
    #[arg(long)]
    pub(crate) limit: Option<u32>,
    /// Leave out so many rows first
    #[arg(long)]
    pub(crate) offset: Option<u64>,
}

/// What is to be explained.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ExplainArgs {
    /// The reservation's id
    pub(crate) id: Option<String>,
    /// A host instead
    #[arg(long)]
    pub(crate) host: Option<String>,
}

/// Which heartbeats.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Only of these hosts; all when none is named
    #[arg(num_args = 0..=16)]
    pub(crate) hosts: Vec<String>,
    /// Leave out the stations' events
    #[arg(long)]
    pub(crate) no_events: bool,
    /// Stop after so many heartbeats
    #[arg(long)]
    pub(crate) count: Option<u64>,
}

/// Which operations.
#[derive(Debug, Args)]
pub(crate) struct OperationsArgs {
    /// Of this host
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Of this reservation
    #[arg(long)]
    pub(crate) reservation: Option<String>,
    #[command(flatten)]
    pub(crate) page: Page,
}

/// What of a host's past.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The host's name
    pub(crate) host: String,
    /// What to tell of it
    #[arg(value_parser = FIELDS.map(|(word, _)| word))]
    pub(crate) field: String,
    #[command(flatten)]
    pub(crate) window: Window,
    /// How long each step is [default: a 96th of the time]
    #[arg(long, value_name = "DURATION", value_parser = when::duration)]
    pub(crate) step: Option<Duration>,
}

/// What can be told of a host's past: our words, and those of the API.
pub(crate) const FIELDS: [(&str, &str); 5] = [
    ("ready", "ready"),
    ("local-mode", "localMode"),
    ("local-session", "localSession"),
    ("power", "power"),
    ("boot", "boot"),
];

/// From when until when.
#[derive(Debug, Args)]
pub(crate) struct Window {
    /// From this instant: 2026-03-01T09:00:00Z, "2026-03-01 09:00", 09:00, -2h [default: a day before the end]
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// Until this instant [default: now]
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) to: Option<String>,
}

/// Which events.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Of this host
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// After the event with this id [default: from the first that is kept; with --follow those that come from now on]
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) after: Option<i64>,
    /// At most so many at once
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) limit: Option<u32>,
    /// Go on with those that come, until Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How often to ask with --follow
    #[arg(long, default_value = "2s", value_parser = when::duration, requires = "follow")]
    pub(crate) interval: Duration,
    /// Stop after so many events with --follow
    #[arg(long, requires = "follow")]
    pub(crate) count: Option<u64>,
}

/// Which entries of the audit.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Go on after this page mark
    #[arg(long)]
    pub(crate) after: Option<String>,
    /// At most so many
    #[arg(long)]
    pub(crate) limit: Option<u32>,
    /// By this caller
    #[arg(long)]
    pub(crate) caller: Option<String>,
    /// About this host or reservation
    #[arg(long)]
    pub(crate) subject: Option<String>,
}
