//! Questions that are given up while their answer comes in.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sea_orm::ConnectionTrait as _;
use store_support::test_support::{TestDatabase, on_mysql};
use store_support::{Database, DatabaseSettings, DbErr, transaction};
use tokio::time::timeout;

/// Only keeps a test from hanging.
const LIMIT: Duration = Duration::from_secs(90);
const TIMES: usize = 300;
const CONNECTIONS: u32 = 4;

/// Polls a future so often, unless it is done before.
async fn some_polls(future: impl Future, polls: usize) {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 || future.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        Poll::Pending
    })
    .await;
}

async fn with_rows(test: &TestDatabase) -> Database {
    let settings = DatabaseSettings {
        max_connections: CONNECTIONS,
        // Outlasts the test: nothing is cured by waiting for it.
        statement_timeout: Duration::from_secs(900),
        connect_timeout: LIMIT,
        ..test.settings().clone()
    };
    let db = Database::connect(&settings).await.unwrap();
    let make = "CREATE TABLE wide (id BIGINT NOT NULL PRIMARY KEY, a TEXT, b TEXT, c TEXT)";
    db.connection().execute_unprepared(make).await.unwrap();
    let rows: Vec<String> = (0..500)
        .map(|id| {
            format!(
                "({id}, REPEAT('a', {0}), REPEAT('b', {0}), REPEAT('c', {0}))",
                40 + id
            )
        })
        .collect();
    let fill = format!("INSERT INTO wide VALUES {}", rows.join(", "));
    db.connection().execute_unprepared(&fill).await.unwrap();
    db
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_that_are_given_up_cost_the_pool_no_connection() {
    on_mysql(|test| async move {
        let db = with_rows(&test).await;
        for time in 0..TIMES {
            // Another text now and then, which is prepared anew.
            let sql = format!(
                "SELECT id, a, b, c FROM wide WHERE id >= ? AND id <> -{}",
                time / 7
            );
            let read = || db.statement(&sql, [0.into()]);
            if time % 3 == 0 {
                let read = transaction(&db, |tx| {
                    let read = read();
                    Box::pin(async move { tx.query_all_raw(read).await.map(|_| ()) as Result<(), DbErr> })
                });
                some_polls(read, time % 23).await;
            } else {
                some_polls(db.bounded(db.connection().query_all_raw(read())), time % 17).await;
            }
        }
        let all = (0..CONNECTIONS).map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let wait = db.statement("SELECT SLEEP(0.2)", []);
                db.connection().query_one_raw(wait).await.map(|_| ())
            })
        });
        for question in all.collect::<Vec<_>>() {
            timeout(LIMIT, question).await.unwrap().unwrap().unwrap();
        }
        assert!(
            timeout(LIMIT, db.close()).await.is_ok(),
            "a connection did not come back"
        );
    })
    .await;
}
