//! A service of its own that keeps heartbeats in its own database: tables with its prefix beside its own, reports through
//! the recorder, and the questions it asks. No HTTP, no WinRM, no migrations of ours.
//!
//! `embed-heartbeats mysql://user:password@host/database` works there; without an address it works in memory.
#[cfg(test)]
mod tests;

use std::error::Error;
use std::io::{self, Write as _};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use heartbeat_store::{
    Field, Heard, HeartbeatStore, HistoryAsk, HostRecord, Keep, PollOutcome, PollReport, Recorder,
    RecorderSettings, RetentionSettings, TablePrefix, schema,
};
use lab_model::HostName;
use labstation_commands::parse_heartbeat;
use store_support::{Database, DatabaseSettings, DatabaseUrl};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = match std::env::args().nth(1) {
        Some(url) => DatabaseUrl::parse(&url)?,
        None => DatabaseUrl::in_memory(),
    };
    let db = Database::connect(&DatabaseSettings::new(url)).await?;
    for line in story(&db, "acme_").await? {
        writeln!(io::stdout(), "{line}")?;
    }
    db.close().await;
    Ok(())
}

/// Stores an hour of two hosts, and tells what can be asked of it.
async fn story(db: &Database, prefix: &str) -> Result<Vec<String>, Failure> {
    let prefix = TablePrefix::parse(prefix)?;
    schema::install(db, &prefix).await?;
    let store = HeartbeatStore::with_tables(db.clone(), &prefix);
    let begin = DateTime::UNIX_EPOCH + TimeDelta::days(20_513) + TimeDelta::hours(9);
    let settings = RecorderSettings {
        keep: Keep::Changes {
            keep_alive: Duration::from_secs(600),
        },
        ..RecorderSettings::default()
    };
    let (recorder, writer) = Recorder::start(store.clone(), settings);
    let mut receipts = Vec::new();
    for minute in 0..60 {
        let at = begin + TimeDelta::minutes(minute);
        // Bench 1 is ready for three quarters of the hour; bench 2 does not answer.
        let ready = recorder
            .record(report("bench-1", at, heard(at, minute < 45)?)?)
            .await?;
        let silent = PollOutcome::Failed {
            code: "connect".to_owned(),
            text: "nobody answers".to_owned(),
        };
        let silent = recorder.record(report("bench-2", at, silent)?).await?;
        receipts.extend([ready, silent]);
    }
    for receipt in receipts {
        receipt.await?;
    }
    writer.close(Duration::from_secs(5)).await;
    let mut lines = told(&store, begin).await?;
    let kept = RetentionSettings::default();
    let years_later = begin + TimeDelta::days(1_000);
    let gone = store.retain(&kept, years_later).await?;
    lines.push(format!(
        "after {} days: {} reports forgotten",
        1_000, gone.heartbeats
    ));
    Ok(lines)
}

/// What the fleet, a history, the hours and the newest report say.
async fn told(store: &HeartbeatStore, begin: DateTime<Utc>) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for state in store.host_states().await? {
        let (host, ready, failures) = (state.host, state.ready, state.failures_in_row);
        lines.push(format!(
            "{host}: ready {ready:?}, {failures} polls failed in a row"
        ));
    }
    let bench = HostName::parse("bench-1")?;
    let hour = HistoryAsk {
        field: Field::Ready,
        from: begin,
        to: begin + TimeDelta::hours(1),
        step: Duration::from_secs(1_800),
    };
    for point in store.history(&bench, &hour).await? {
        let share = point.share().unwrap_or_default() * 100.0;
        lines.push(format!("{}: ready for {share:.0} %", point.at.format("%H:%M")));
    }
    for hour in store.hours(None, begin, begin + TimeDelta::hours(1)).await? {
        let (hosts, polls, failures) = (hour.hosts, hour.polls, hour.failures);
        lines.push(format!("{hosts} hosts: {polls} polls, {failures} failed"));
    }
    let latest = store.latest(&bench).await?.ok_or("bench-1 never reported")?;
    lines.push(format!("the newest report: {}", latest.raw["summary"]));
    Ok(lines)
}

fn report(host: &str, observed_at: DateTime<Utc>, outcome: PollOutcome) -> Result<PollReport, Failure> {
    Ok(PollReport {
        host: HostRecord {
            name: HostName::parse(host)?,
            address: "10.0.0.11".to_owned(),
            mac: None,
        },
        observed_at,
        took: Duration::from_millis(12),
        outcome,
    })
}

fn heard(at: DateTime<Utc>, ready: bool) -> Result<PollOutcome, Failure> {
    let stamp = at.to_rfc3339();
    let document = format!(r#"{{"timestamp": "{stamp}", "summary": {{"ready": {ready}}}}}"#);
    Ok(PollOutcome::Heard(Box::new(Heard {
        heartbeat: parse_heartbeat(document.as_bytes())?,
        document,
        events: None,
        booted_at: None,
    })))
}
