//! The engine's store port on real databases.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

mod api;
mod claims;
mod clocks;
mod conformance;
mod cost;
mod fleet;
mod galera;
mod journal;
mod left;
mod lost;
mod maintenance;
mod proxy;
mod repeated;
mod settled;
mod sqlite;
mod status;
mod work;

use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, LabId, ReservationId};
use reservation_engine::{
    AttemptEnd, AttemptId, AttemptOutcome, Claim, HistoryRow, NewOperation, Operation, OperationKind, Reason,
    State, Step, Store as _, WorkItem,
};
use reservation_store::ReservationStore;
use sea_orm::{ConnectionTrait as _, QueryResult};
use serde_json::json;
use store_support::Database;
use store_support::test_support::TestDatabase;

/// Longer than any test takes, on whatever machine.
const LEASE: Duration = Duration::from_secs(600);

async fn a_store(test: &TestDatabase) -> ReservationStore {
    migrations::run(test.database().connection()).await.unwrap();
    ReservationStore::new(test.database().clone())
}

/// For whoever runs the tests to see: what was counted and what it took.
#[expect(clippy::print_stdout, reason = "figures are what these tests are for")]
fn tell(what: &str) {
    println!("{what}");
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    at("2026-03-01T09:00:00.123456Z")
}

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn id(text: &str) -> ReservationId {
    ReservationId::parse(text).unwrap()
}

async fn run(db: &Database, sql: &str) -> u64 {
    db.connection()
        .execute_unprepared(sql)
        .await
        .unwrap()
        .rows_affected()
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

/// A reservation from 09:00 plus `minutes`, for one hour.
async fn a_reservation(db: &Database, hash: &str, status: &str, minutes: u32) {
    let start = at("2026-03-01T09:00:00Z") + Duration::from_secs(60 * u64::from(minutes));
    let (start, end) = (start.naive_utc(), (start + Duration::from_secs(3600)).naive_utc());
    let insert = format!(
        "INSERT INTO lab_reservations (transaction_hash, lab_id, start_time, end_time, status) \
         VALUES ('{hash}', ' Bench-7', '{start}', '{end}', '{status}')"
    );
    run(db, &insert).await;
}

async fn a_claim(store: &ReservationStore, name: &str) -> Claim {
    store
        .claim_host(&host(name), "worker-a", LEASE)
        .await
        .unwrap()
        .expect("the host is free")
}

fn new(kind: OperationKind, reservation: &str, name: &str) -> NewOperation {
    NewOperation {
        key: format!("{}:{reservation}", kind.as_str()),
        kind,
        reservation: id(reservation),
        lab: Some(LabId::new("bench-7")),
        host: host(name),
        state: waiting(),
        due_at: at("2026-03-01T08:58:00Z"),
    }
}

/// As the journal stores it. Written as JSON, for the store must not care what else a state holds.
fn state(stored: serde_json::Value) -> State {
    serde_json::from_value(stored).unwrap()
}

fn waiting() -> State {
    let reason = Reason::new("no_answer", "nothing answers").at_rung("tcp_port");
    state(json!({
        "state": "waiting", "step": "wake", "failed": 1, "until": "2026-03-01T09:01:00Z", "reason": reason,
    }))
}

fn running(step: Step, attempt: u32) -> State {
    state(json!({"state": "running", "step": step, "attempt": attempt, "since": now()}))
}

fn done() -> State {
    state(json!({"state": "done", "at": now(), "note": null}))
}

fn needs_attention() -> State {
    let reason = Reason::new("wake_no_answer", "nothing answers").at_rung("tcp_port");
    state(json!({"state": "needs_attention", "step": "wake", "at": now(), "reason": reason}))
}

/// Reads one reservation again.
async fn find(store: &ReservationStore, reservation: &str) -> Option<WorkItem> {
    let mut found = store.find_work(&[id(reservation)]).await.unwrap();
    assert!(found.len() <= 1);
    found.pop()
}

/// The end of a try, as the flow commits it.
fn ending<'a>(
    operation: &'a Operation,
    attempt: AttemptId,
    outcome: AttemptOutcome,
    history: &'a [HistoryRow],
) -> AttemptEnd<'a> {
    AttemptEnd {
        operation,
        attempt,
        outcome,
        reason: None,
        history,
        now: now(),
    }
}

async fn an_operation(
    store: &ReservationStore,
    claim: &Claim,
    kind: OperationKind,
    reservation: &str,
) -> Operation {
    store
        .open_operation(claim, new(kind, reservation, claim.host.as_str()), now())
        .await
        .unwrap()
}

/// Opens an operation and brings it into `state`; a start counts as prepared where `prepared` says so.
async fn an_operation_in(
    store: &ReservationStore,
    claim: &Claim,
    kind: OperationKind,
    reservation: &str,
    state: State,
    prepared: bool,
) -> Operation {
    let mut operation = an_operation(store, claim, kind, reservation).await;
    if prepared {
        operation.state = running(Step::Prepare, 1);
        operation.prepare_began_at = Some(now());
        store
            .begin_attempt(claim, &operation, Step::Prepare, 1, now())
            .await
            .unwrap();
    }
    operation.state = state;
    store.save_operation(claim, &operation, &[], now()).await.unwrap();
    operation
}

fn a_history_row(action: &str) -> HistoryRow {
    HistoryRow {
        reservation: id("0xaa"),
        lab: Some(LabId::new("bench-7")),
        host: "Lab-WS-01".to_owned(),
        action: action.to_owned(),
        status: "completed",
        success: true,
        response_code: Some(200),
        duration_ms: Some(812),
        payload: Some(json!({"mac": "00:11:22:33:44:55", "note": "ü"})),
        message: Some("Host reachable".to_owned()),
        at: at("2026-03-01T09:00:00.987Z"),
    }
}

/// Writes a row of the history, as the end of a try does.
async fn add_history(store: &ReservationStore, row: &HistoryRow) {
    let claim = a_claim(store, "history").await;
    let opened = NewOperation {
        key: format!("history:{}", claim.token.0),
        ..new(OperationKind::ManualStart, row.reservation.as_str(), "history")
    };
    let mut operation = store.open_operation(&claim, opened, now()).await.unwrap();
    operation.state = done();
    let rows = std::slice::from_ref(row);
    store
        .save_operation(&claim, &operation, rows, now())
        .await
        .unwrap();
    store.give_back(&claim).await.unwrap();
}
