//! The outbox and its deliveries on real databases, with receivers of our own.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

mod alerts;
mod delivery;
mod outbox;
mod receiver;
mod silence;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId, SharedClock, SystemClock};
use notifications::{Notice, NoticeKind, NotificationSettings, Outbox, Sender, Webhook};
use reservation_engine::Reason;
use sea_orm::{ConnectionTrait as _, QueryResult};
use store_support::Database;
use store_support::test_support::TestDatabase;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use receiver::Receiver;

/// Only a test that fails waits for it.
const LIMIT: Duration = Duration::from_secs(60);

fn now() -> DateTime<Utc> {
    "2026-03-01T09:00:00Z".parse().unwrap()
}

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn id(text: &str) -> ReservationId {
    ReservationId::parse(text).unwrap()
}

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

/// A wake that failed for reservation `0xa1`.
fn a_failure(name: &str) -> Notice {
    let reason = Reason::new("wake_no_answer", "nothing answers").at_rung("tcp_port");
    Notice::new(NoticeKind::StepFailed, now(), "wake failed")
        .on(&host(name))
        .of(&id("0xa1"))
        .because(Some(&reason))
        .with("step", "wake")
}

async fn migrated(test: &TestDatabase) -> &Database {
    migrations::run(test.database().connection()).await.unwrap();
    test.database()
}

/// Settings with one webhook for each receiver, signed.
fn settings(receivers: &[&Receiver]) -> NotificationSettings {
    let hooks = receivers
        .iter()
        .map(|receiver| Webhook::parse(&receiver.url(), &[]).unwrap());
    NotificationSettings {
        webhooks: hooks.collect(),
        secret: Some("between us".into()),
        ..NotificationSettings::default()
    }
}

fn outbox(db: &Database, settings: &NotificationSettings) -> Outbox {
    Outbox::new(db.clone(), "the-test", &settings.webhooks)
}

/// Starts a sender over connections of its own, as another process would.
async fn a_sender(test: &TestDatabase, settings: &NotificationSettings) -> DropGuard {
    run_sender(outbox(&test.reopen().await, settings), settings)
}

fn run_sender(outbox: Outbox, settings: &NotificationSettings) -> DropGuard {
    let stop = CancellationToken::new();
    let sender = Sender::new(outbox, settings, clock()).unwrap();
    tokio::spawn(sender.run(stop.clone()));
    stop.drop_guard()
}

/// How many requests a receiver that hangs can have got since then: four, and four more whenever these were given up.
fn at_most(since: Instant) -> usize {
    4 * (1 + usize::try_from(since.elapsed().as_secs() / notifications::DELIVERY_TIMEOUT.as_secs()).unwrap())
}

async fn rows(db: &Database, sql: &str) -> Vec<QueryResult> {
    db.connection()
        .query_all_raw(db.statement(sql, []))
        .await
        .unwrap()
}

async fn count(db: &Database, sql: &str) -> i64 {
    rows(db, sql).await[0].try_get_by_index(0).unwrap()
}

async fn run(db: &Database, sql: &str) {
    db.connection().execute_unprepared(sql).await.unwrap();
}

/// Waits until `ready` gives something. Only a test that fails waits for the limit.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, ready: impl Fn() -> F) -> T {
    let waiting = async {
        loop {
            if let Some(found) = ready().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(LIMIT, waiting).await {
        Ok(found) => found,
        Err(_) => panic!("not within {LIMIT:?}: {what}"),
    }
}

async fn states_are(db: &Database, wanted: &[&str]) {
    until(&format!("deliveries are {wanted:?}"), || async {
        let rows = rows(db, "SELECT state FROM ops_notices ORDER BY id").await;
        let states: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
        (states == wanted).then_some(())
    })
    .await;
}
