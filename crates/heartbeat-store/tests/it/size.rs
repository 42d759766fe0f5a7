//! The size formula against a simulated day: the same polls through the recorder, and what the databases say it took.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use heartbeat_store::{
    Heard, HeartbeatStore, HostDay, HostRecord, Keep, PollOutcome, PollReport, Recorder, RecorderSettings,
};
use lab_model::HostName;
use labstation_commands::parse_heartbeat;
use sea_orm::ConnectionTrait as _;
use serde_json::json;
use store_support::{Backend, Database, each_backend};

use crate::rows::{EVENTS, event, insert};
use crate::{at, count};

const HOSTS: u32 = 12;
/// How far what was measured may be from the formula, as a share of it.
const TOLERANCE: f64 = 0.25;
/// What a database takes for a table in steps, whatever is in it: InnoDB's extents, or some pages of SQLite.
const STEP: f64 = 1_048_576.0;

fn day() -> HostDay {
    HostDay {
        keep: Keep::Changes {
            keep_alive: Duration::from_secs(300),
        },
        document_bytes: 4_096,
        document_changes: 24,
        // Each hour readiness, and at first sight the other fields that are known.
        field_changes: 27,
        events: 24,
        event_bytes: 200,
        interval: Duration::from_secs(60),
    }
}

fn begin() -> DateTime<Utc> {
    at("2026-03-01T00:00:00Z")
}

fn host(n: u32) -> HostRecord {
    HostRecord {
        name: HostName::parse(&format!("lab-ws-{n:03}")).unwrap(),
        address: "10.0.0.11".to_owned(),
        mac: Some("00:11:22:33:44:55".to_owned()),
    }
}

/// A document of 4 KiB whose readiness changes with each hour.
fn heard(minute: u32) -> Heard {
    let stamp = begin() + TimeDelta::minutes(i64::from(minute));
    let mut document = json!({
        "timestamp": stamp.to_rfc3339(),
        "schemaVersion": "1.0.0",
        "summary": {"state": "ready", "ready": (minute / 60).is_multiple_of(2), "issues": []},
        "status": {"localModeEnabled": false, "localSessionActive": false, "timestamp": stamp.to_rfc3339()},
        "operations": {
            "lastForcedLogoff": {"timestamp": "2026-02-28T08:30:00Z", "user": "LAB\\student"},
            "lastPowerAction": {"timestamp": "2026-02-28T20:00:00Z", "mode": "shutdown"},
        },
        "padding": "",
    });
    let short = document.to_string().len();
    document["padding"] = "x".repeat(day().document_bytes as usize - short).into();
    let document = document.to_string();
    Heard {
        heartbeat: parse_heartbeat(document.as_bytes()).unwrap(),
        document,
        events: None,
        booted_at: None,
    }
}

/// Bytes of a table and its indexes.
async fn bytes(db: &Database, table: &str) -> f64 {
    let sql = match db.backend() {
        Backend::MySql => {
            db.connection()
                .execute_unprepared(&format!("ANALYZE TABLE {table}"))
                .await
                .unwrap();
            format!(
                "SELECT CAST(data_length + index_length AS SIGNED) FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_name = '{table}'"
            )
        }
        Backend::Sqlite => format!(
            "SELECT SUM(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name = '{table}')"
        ),
    };
    count(db, &sql).await as f64
}

each_backend! {
    async fn a_simulated_day_takes_what_the_formula_says(test) {
        let db = test.database();
        migrations::run(db.connection()).await.unwrap();
        let store = HeartbeatStore::new(db.clone());
        let settings = RecorderSettings { keep: day().keep, ..RecorderSettings::default() };
        let (recorder, writer) = Recorder::start(store.clone(), settings);
        let mut last = Vec::new();
        for minute in 0..1_440 {
            let said = heard(minute);
            last.clear();
            for n in 0..HOSTS {
                let report = PollReport {
                    host: host(n),
                    observed_at: begin() + TimeDelta::milliseconds(i64::from(minute) * 60_000 + i64::from(n) * 7),
                    took: Duration::from_millis(12),
                    outcome: PollOutcome::Heard(Box::new(said.clone())),
                };
                last.push(recorder.record(report).await.unwrap());
            }
        }
        for receipt in last {
            receipt.await.unwrap();
        }
        assert!(writer.close(Duration::from_secs(60)).await, "everything is written");
        let payload = json!({"user": "x".repeat(day().event_bytes as usize - 11)}).to_string();
        assert_eq!(payload.len(), day().event_bytes as usize);
        let events: Vec<_> = (0..day().events)
            .flat_map(|n| (1..=i64::from(HOSTS)).map(move |host| (host, begin() + TimeDelta::hours(i64::from(n)))))
            .map(|(host, at)| event(host, at, &payload))
            .collect();
        insert(db, EVENTS, &events).await;

        let (wanted, of_row) = (day().rows(), day().row_bytes(db.backend()));
        let mut said = Vec::new();
        let mut sums = (0.0, 0.0);
        for (table, rows_per_host, row_bytes) in [
            ("lab_host_heartbeat", wanted.heartbeats, of_row.heartbeats),
            ("lab_host_events", wanted.events, of_row.events),
            ("ops_host_changes", wanted.changes, of_row.changes),
            ("ops_host_hours", wanted.hours, of_row.hours),
        ] {
            let stored = count(db, &format!("SELECT COUNT(*) FROM {table}")).await as f64;
            let expected = rows_per_host * f64::from(HOSTS);
            assert!((stored - expected).abs() <= 0.1 * expected, "{table}: {stored} rows, {expected} by the formula");
            let (measured, formula) = (bytes(db, table).await, stored * row_bytes);
            said.push(format!("{table}: {stored} rows, {measured} bytes, {formula:.0} by the formula"));
            let room = TOLERANCE * formula + STEP;
            assert!((measured - formula).abs() <= room, "{said:#?}");
            sums = (sums.0 + measured, sums.1 + expected * row_bytes);
        }
        assert!((sums.0 - sums.1).abs() <= TOLERANCE * sums.1, "{sums:?} {said:#?}");
        println(&said);
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the figures of docs/heartbeats.md are read from here"
)]
fn println(lines: &[String]) {
    println!("{}", lines.join("\n"));
}
