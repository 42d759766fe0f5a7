//! Tests that every question is answered from an index, among few rows as among many, as the databases themselves say.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::HostName;
use sea_orm::{ConnectionTrait as _, QueryResult, Statement, Value};
use store_support::{Backend, Database, each_backend};

use crate::history::{Field, HistoryAsk};
use crate::store::HeartbeatStore;
use crate::{event_log, history, hours_read, retention};

const HOSTS: i64 = 50;
/// Rows of each host in each table: as many as the optimizer needs to have a choice, and twenty times as many.
const SIZES: [i64; 2] = [20, 400];

fn noon() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn name(n: i64) -> String {
    format!("h-{n}")
}

async fn run(db: &Database, sql: &str, values: Vec<Value>) {
    let done = db.connection().execute_raw(db.statement(sql, values)).await;
    done.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// Rows of one table, made from a number, 500 in a statement.
async fn fill(db: &Database, into: &str, rows: i64, row: impl Fn(i64) -> Vec<Value>) {
    let numbers: Vec<i64> = (0..rows).collect();
    for part in numbers.chunks(500) {
        let rows: Vec<Vec<Value>> = part.iter().map(|n| row(*n)).collect();
        let marks = format!("({})", vec!["?"; rows[0].len()].join(", "));
        let sql = format!("INSERT INTO {into} VALUES {}", vec![marks; rows.len()].join(", "));
        run(db, &sql, rows.into_iter().flatten().collect()).await;
    }
}

/// Each table with `each` rows of each host, in the order in which they would have come.
async fn a_store_with(db: &Database, each: i64) -> HeartbeatStore {
    migrations::run(db.connection()).await.unwrap();
    let at = |n: i64| (noon() - TimeDelta::hours(each) + TimeDelta::hours(n / HOSTS)).naive_utc();
    let host = |n: i64| n % HOSTS;
    fill(db, "lab_hosts (id, name, address)", HOSTS, |n| {
        vec![(n + 1).into(), name(n).into(), "10.0.0.1".into()]
    })
    .await;
    fill(
        db,
        "ops_host_state (host_name, last_heartbeat_id, updated_at)",
        HOSTS,
        |n| vec![name(n).into(), (n + 1).into(), at(0).into()],
    )
    .await;
    let rows = HOSTS * each;
    fill(
        db,
        "lab_host_heartbeat (host_id, timestamp_utc, raw_json, created_at)",
        rows,
        |n| vec![(host(n) + 1).into(), at(n).into(), "{}".into(), at(n).into()],
    )
    .await;
    fill(
        db,
        "lab_host_events (host_id, kind, timestamp_utc, payload, created_at)",
        rows,
        |n| {
            vec![
                (host(n) + 1).into(),
                "session-guard".into(),
                at(n).into(),
                "{}".into(),
                at(n).into(),
            ]
        },
    )
    .await;
    fill(
        db,
        "ops_host_changes (host_name, at, field, new_value)",
        rows,
        |n| {
            let field = Field::ALL[(n / HOSTS) as usize % 5].as_str();
            vec![name(host(n)).into(), at(n).into(), field.into(), "true".into()]
        },
    )
    .await;
    fill(db, "ops_host_hours (host_name, hour, polls)", rows, |n| {
        vec![name(host(n)).into(), at(n).into(), 60.into()]
    })
    .await;
    for table in [
        "lab_hosts",
        "lab_host_heartbeat",
        "lab_host_events",
        "ops_host_state",
        "ops_host_changes",
        "ops_host_hours",
    ] {
        let mysql = if db.backend() == Backend::MySql {
            "TABLE "
        } else {
            ""
        };
        run(db, &format!("ANALYZE {mysql}{table}"), vec![]).await;
    }
    HeartbeatStore::new(db.clone())
}

/// One line for each table that a statement reads.
async fn plan(db: &Database, statement: Statement) -> Vec<String> {
    let mysql = db.backend() == Backend::MySql;
    let explain = if mysql { "EXPLAIN" } else { "EXPLAIN QUERY PLAN" };
    let explained = Statement {
        sql: format!("{explain} {}", statement.sql),
        ..statement
    };
    let rows = db.connection().query_all_raw(explained).await.unwrap();
    let line = |row: &QueryResult| {
        if !mysql {
            return row.try_get::<String>("", "detail").unwrap();
        }
        let text = |column: &str| {
            row.try_get::<Option<String>>("", column)
                .unwrap()
                .unwrap_or_default()
        };
        let (table, kind, key) = (text("table"), text("type"), text("key"));
        format!("{table} type={kind} key={key} {}", text("Extra"))
    };
    rows.iter().map(line).collect()
}

/// Neither reads a table from end to end nor sorts.
fn is_flat(plan: &[String]) {
    for line in plan {
        let sorts = line.contains("filesort") || line.contains("TEMP B-TREE") || line.contains("temporary");
        let whole = line.contains("type=ALL") || line.contains("type=index ") || line.starts_with("SCAN");
        assert!(!sorts && !whole, "{line} in {plan:#?}");
    }
}

fn uses(plan: &[String], index: &str) {
    assert!(
        plan.iter().any(|line| line.contains(index)),
        "{index} in {plan:#?}"
    );
}

/// `PRIMARY` as each database spells it.
fn primary(db: &Database) -> &'static str {
    match db.backend() {
        Backend::MySql => "key=PRIMARY",
        Backend::Sqlite => "INTEGER PRIMARY KEY",
    }
}

each_backend! {
    /// One test, since filling the tables takes longer than all questions.
    async fn every_question_is_answered_along_an_index(test) {
        let db = test.database();
        for each in SIZES {
            emptied(db).await;
            let store = a_store_with(db, each).await;
            history_walks_its_index(&store).await;
            hours_are_a_range(&store).await;
            events_are_read_in_order_from_where_a_page_begins(&store, each).await;
            retention_goes_along_keys(&store).await;
        }
    }

    async fn the_fleet_is_one_statement_however_many_hosts_there_are(test) {
        let db = test.database();
        let store = a_store_with(db, 1).await;
        let before = db.traffic();
        assert_eq!(store.host_states().await.unwrap().len() as i64, HOSTS);
        assert_eq!(db.traffic().since(before).statements, 1);
    }
}

async fn history_walks_its_index(store: &HeartbeatStore) {
    let (db, host) = (&store.db, HostName::parse("h-7").unwrap());
    let ask = HistoryAsk {
        field: Field::Ready,
        from: noon() - TimeDelta::hours(15),
        to: noon() - TimeDelta::hours(10),
        step: Duration::from_secs(600),
    };
    for read in [
        history::before(db, &store.tables, &host, &ask),
        history::within(db, &store.tables, &host, &ask),
    ] {
        let plan = plan(db, read).await;
        is_flat(&plan);
        uses(&plan, "idx_ops_host_changes_field");
    }
}

async fn hours_are_a_range(store: &HeartbeatStore) {
    let (db, host) = (&store.db, HostName::parse("h-7").unwrap());
    let (from, to) = (noon() - TimeDelta::hours(5), noon() - TimeDelta::hours(3));
    let one = plan(db, hours_read::hours(db, &store.tables, Some(&host), from, to)).await;
    is_flat(&one);
    let all = plan(db, hours_read::hours(db, &store.tables, None, from, to)).await;
    is_flat(&all);
    uses(&all, "idx_ops_host_hours_hour");
}

async fn events_are_read_in_order_from_where_a_page_begins(store: &HeartbeatStore, each: i64) {
    let (db, host, after) = (&store.db, HostName::parse("h-7").unwrap(), HOSTS * each / 2);
    let all = plan(db, event_log::page(db, &store.tables, after, None, 100)).await;
    is_flat(&all);
    uses(&all, primary(db));
    let one = plan(db, event_log::page(db, &store.tables, after, Some(&host), 5)).await;
    is_flat(&one);
    uses(&one, "idx_lab_host_events_host");
    is_one_entry(&plan(db, event_log::newest(db, &store.tables, None)).await);
    let newest = plan(db, event_log::newest(db, &store.tables, Some(&host))).await;
    is_flat(&newest);
    uses(&newest, "idx_lab_host_events_host");
}

/// The last entry of a key counts as a walk over it, of which the limit takes one step.
fn is_one_entry(plan: &[String]) {
    let sorts = |line: &String| {
        line.contains("filesort") || line.contains("TEMP B-TREE") || line.contains("type=ALL")
    };
    assert!(plan.len() == 1 && !plan.iter().any(sorts), "{plan:#?}");
}

async fn retention_goes_along_keys(store: &HeartbeatStore) {
    let (db, old) = (&store.db, (noon() - TimeDelta::hours(10)).naive_utc());
    for table in [&store.tables.heartbeats, &store.tables.events] {
        let plan = plan(db, retention::batch(db, table, "created_at", HOSTS, 50)).await;
        is_flat(&plan);
        uses(&plan, primary(db));
    }
    let succeeded = plan(db, retention::succeeded(db, &store.tables, &[1, 2, 3], old)).await;
    is_flat(&succeeded);
    let oldest = plan(db, retention::oldest(db, &store.tables, old, 50)).await;
    uses(&oldest, "idx_ops_host_hours_hour");
    let delete = retention::delete(db, &store.tables, old, "h-1".to_owned(), "h-7".to_owned());
    is_flat(&plan(db, delete).await);
}

/// The same database without a row; its ids begin again, as the rows name each other by them.
async fn emptied(db: &Database) {
    migrations::run(db.connection()).await.unwrap();
    for table in [
        "ops_host_hours",
        "ops_host_changes",
        "ops_host_state",
        "lab_host_events",
        "lab_host_heartbeat",
        "lab_hosts",
    ] {
        run(db, &format!("DELETE FROM {table}"), vec![]).await;
        if db.backend() == Backend::MySql && table != "ops_host_state" {
            // Refused where the table has no such column, which is as well.
            let reset = format!("ALTER TABLE {table} AUTO_INCREMENT = 1");
            let _ = db.connection().execute_unprepared(&reset).await;
        }
    }
    if db.backend() == Backend::Sqlite {
        run(db, "DELETE FROM sqlite_sequence", vec![]).await;
    }
}
