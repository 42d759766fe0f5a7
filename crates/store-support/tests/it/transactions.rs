use std::sync::atomic::{AtomicU32, Ordering};

use sea_orm::ConnectionTrait as _;
use store_support::test_support::TestDatabase;
use store_support::{Backend, Database, DbErr, TransactionFailure, each_backend, transaction};

/// What a closure says when it stops by itself.
#[derive(Debug)]
enum Stop {
    Wanted,
    Database(DbErr),
}
impl From<DbErr> for Stop {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}
impl TransactionFailure for Stop {
    fn database_error(&self) -> Option<&DbErr> {
        match self {
            Self::Wanted => None,
            Self::Database(error) => Some(error),
        }
    }
}

async fn things(test: &TestDatabase) -> Database {
    let db = test.database().clone();
    let made = db
        .connection()
        .execute_unprepared("CREATE TABLE things (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)");
    made.await.unwrap();
    db.connection()
        .execute_unprepared("INSERT INTO things VALUES (1, 0), (2, 0)")
        .await
        .unwrap();
    db
}

async fn total(db: &Database) -> i64 {
    let sql = match db.backend() {
        Backend::MySql => "SELECT CAST(SUM(n) AS SIGNED) FROM things",
        Backend::Sqlite => "SELECT SUM(n) FROM things",
    };
    let row = db
        .connection()
        .query_one_raw(db.statement(sql, []))
        .await
        .unwrap()
        .unwrap();
    row.try_get_by_index(0).unwrap()
}

each_backend! {
    async fn an_error_rolls_everything_back_and_is_not_retried(test) {
        let db = things(&test).await;
        let runs = AtomicU32::new(0);
        let runs = &runs;
        let outcome: Result<(), Stop> = transaction(&db, |tx| {
            Box::pin(async move {
                runs.fetch_add(1, Ordering::SeqCst);
                tx.execute_unprepared("UPDATE things SET n = 5").await?;
                Err(Stop::Wanted)
            })
        })
        .await;
        assert!(matches!(outcome, Err(Stop::Wanted)));
        assert_eq!((runs.load(Ordering::SeqCst), total(&db).await), (1, 0));
    }

    async fn writers_that_lock_in_opposite_orders_all_succeed_by_running_again(test) {
        let db = things(&test).await;
        let writers: Vec<_> = (0..8)
            .map(|n| {
                let db = db.clone();
                tokio::spawn(async move {
                    let (first, second) = if n % 2 == 0 { (1, 2) } else { (2, 1) };
                    for _ in 0..10 {
                        transaction(&db, |tx| {
                            Box::pin(async move {
                                for id in [first, second] {
                                    tx.execute_unprepared(&format!(
                                        "UPDATE things SET n = n + 1 WHERE id = {id}"
                                    ))
                                    .await?;
                                    tokio::task::yield_now().await;
                                }
                                Ok::<_, DbErr>(())
                            })
                        })
                        .await?;
                    }
                    Ok::<_, DbErr>(())
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
        assert_eq!(total(&db).await, 2 * 8 * 10);
    }

    async fn a_read_inside_sees_the_newest_committed_state_when_it_writes(test) {
        let db = things(&test).await;
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move {
                    let backend = db.backend();
                    transaction(&db, |tx| {
                        Box::pin(async move {
                            let lock = if backend == Backend::MySql {
                                " FOR UPDATE"
                            } else {
                                ""
                            };
                            let read = format!("SELECT n FROM things WHERE id = 1{lock}");
                            let read = sea_orm::Statement::from_string(backend.driver(), read);
                            let n: i64 = tx.query_one_raw(read).await?.unwrap().try_get_by_index(0)?;
                            tx.execute_unprepared(&format!("UPDATE things SET n = {} WHERE id = 1", n + 1))
                                .await?;
                            Ok::<_, DbErr>(())
                        })
                    })
                    .await
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
        assert_eq!(total(&db).await, 4);
    }
}
