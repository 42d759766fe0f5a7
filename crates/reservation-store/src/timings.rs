//! `ops_host_timings`: how long each host took lately, one row per host.
//!
//! Whoever holds the claim on a host is the only one who writes its row.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::HostName;
use reservation_engine::{Claim, TimingSample, Timings};
use sea_orm::{ConnectionTrait as _, QueryResult, Value};
use store_support::{Backend, Database, DbErr, retried};

use crate::claims::{HELD, held_by};
use crate::columns::microseconds;
use crate::fault::{Corrupt, Fault};
use crate::work::CHUNK;

/// A row, and when it was last written.
struct Stored {
    host: String,
    timings: Timings,
    updated_at: chrono::NaiveDateTime,
}

pub(crate) async fn read(db: &Database, hosts: &[HostName]) -> Result<HashMap<HostName, Timings>, Fault> {
    let mut found = HashMap::new();
    for hosts in hosts.chunks(CHUNK) {
        let by_key: HashMap<&str, &HostName> = hosts.iter().map(|host| (host.key(), host)).collect();
        for row in rows(db, hosts).await? {
            if let Some(host) = by_key.get(row.host.as_str()) {
                found.insert((*host).clone(), row.timings);
            }
        }
    }
    Ok(found)
}

/// Adds samples under the claim; nothing when the row was written at this very instant, for then this is the second
/// try after a lost answer.
pub(crate) async fn record(
    db: &Database,
    claim: &Claim,
    samples: &[TimingSample],
    lead: Duration,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let now = microseconds(now);
    let stored = rows(db, std::slice::from_ref(&claim.host)).await?.pop();
    let mut timings = match stored {
        Some(stored) if stored.updated_at == now => return Ok(()),
        Some(stored) => stored.timings,
        None => Timings::default(),
    };
    for sample in samples {
        timings.add(*sample);
    }
    let mut values: Vec<Value> = vec![
        claim.host.key().into(),
        millis(&timings.cold_wakes)?.into(),
        millis(&timings.prepares)?.into(),
        whole_millis(lead).into(),
        now.into(),
    ];
    values.extend(held_by(claim));
    let sql = upsert(db);
    let call = retried(|| {
        let upsert = db.statement(&sql, values.clone());
        async { db.connection().execute_raw(upsert).await }
    });
    match db.bounded(call).await?.rows_affected() {
        0 => Err(Fault::Fenced(claim.host.clone())),
        _ => Ok(()),
    }
}

fn upsert(db: &Database) -> String {
    let (head, new) = match db.backend() {
        Backend::MySql => ("ON DUPLICATE KEY UPDATE", ["VALUES(", ")"]),
        Backend::Sqlite => ("ON CONFLICT (host) DO UPDATE SET", ["excluded.", ""]),
    };
    let sets = ["wake_ms", "prepare_ms", "lead_ms", "updated_at"]
        .map(|column| format!("{column} = {}{column}{}", new[0], new[1]));
    format!(
        "INSERT INTO ops_host_timings (host, wake_ms, prepare_ms, lead_ms, updated_at) \
         SELECT ?, ?, ?, ?, ? FROM ops_leases WHERE {} AND lease_until > {} {head} {}",
        HELD.replace('@', ""),
        db.backend().now_ms(),
        sets.join(", ")
    )
}

async fn rows(db: &Database, hosts: &[HostName]) -> Result<Vec<Stored>, DbErr> {
    if hosts.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT host, wake_ms, prepare_ms, lead_ms, updated_at FROM ops_host_timings WHERE host IN ({})",
        vec!["?"; hosts.len()].join(", ")
    );
    let call = retried(|| {
        let read = db.statement(&sql, hosts.iter().map(|host| Value::from(host.key())));
        async { db.connection().query_all_raw(read).await }
    });
    let rows = db.bounded(call).await?;
    rows.iter().map(stored).collect()
}

/// Samples that cannot be read are forgotten: others follow.
fn stored(row: &QueryResult) -> Result<Stored, DbErr> {
    let list = |column| -> Result<Vec<Duration>, DbErr> {
        let text: String = row.try_get("", column)?;
        let millis: Vec<u64> = serde_json::from_str(&text).unwrap_or_default();
        Ok(millis.into_iter().map(Duration::from_millis).collect())
    };
    let lead: i64 = row.try_get("", "lead_ms")?;
    Ok(Stored {
        host: row.try_get("", "host")?,
        timings: Timings {
            cold_wakes: list("wake_ms")?,
            prepares: list("prepare_ms")?,
            lead: u64::try_from(lead).ok().map(Duration::from_millis),
        },
        updated_at: row.try_get("", "updated_at")?,
    })
}

fn millis(samples: &[Duration]) -> Result<String, Corrupt> {
    let millis: Vec<i64> = samples.iter().map(|sample| whole_millis(*sample)).collect();
    serde_json::to_string(&millis).map_err(Corrupt::State)
}

fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
