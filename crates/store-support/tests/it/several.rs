//! Several questions over one connection, and when a connection that comes back is looked at.

use sea_orm::{ConnectionTrait as _, QueryResult};
use store_support::test_support::{TestDatabase, on_mysql};
use store_support::{Asked, Database, DatabaseSettings, DbFault, Question, classify, each_backend};

async fn with_rows(test: &TestDatabase) {
    let db = test.database().connection();
    for sql in [
        "CREATE TABLE things (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(32))",
        "INSERT INTO things VALUES (1, 'one'), (2, 'two'), (3, NULL)",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
}

fn names(rows: &[QueryResult]) -> Vec<Option<String>> {
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

each_backend! {
    async fn each_question_has_its_own_rows(test) {
        with_rows(&test).await;
        let before = test.database().traffic();
        let by_name = Question {
            sql: "SELECT name FROM things WHERE name = ?",
            values: &[Asked::Text("two")],
        };
        let nobody = Question {
            sql: "SELECT name FROM things WHERE name = ? AND id = ?",
            values: &[Asked::Text("one"), Asked::Number(2)],
        };
        let all = Question {
            sql: "SELECT name FROM things WHERE id <> ? ORDER BY id LIMIT ?",
            values: &[Asked::Number(2), Asked::Number(9)],
        };
        let [first, second, third] = test.database().ask([by_name, nobody, all]).await.unwrap();
        assert_eq!(names(&first), [Some("two".to_owned())]);
        assert!(second.is_empty());
        assert_eq!(names(&third), [Some("one".to_owned()), None]);
        assert_eq!(test.database().traffic().since(before).statements, 3);
    }

    async fn a_question_that_is_refused_says_so_and_the_connection_serves_again(test) {
        with_rows(&test).await;
        let good = Question { sql: "SELECT name FROM things WHERE id = 1", values: &[] };
        let bad = Question { sql: "SELECT colour FROM things", values: &[] };
        for _ in 0..3 {
            let error = test.database().ask([good, bad, good]).await.unwrap_err();
            assert_eq!(classify(&error), DbFault::Refused, "{error}");
        }
        let [rows] = test.database().ask([good]).await.unwrap();
        assert_eq!(names(&rows), [Some("one".to_owned())]);
    }
}

/// How often the session was asked whether it is there.
async fn pings(db: &Database) -> u64 {
    let count = Question {
        sql: "SHOW SESSION STATUS LIKE 'Com_admin_commands'",
        values: &[],
    };
    let [rows] = db.bounded(db.ask([count])).await.unwrap();
    let text: String = rows[0].try_get_by_index(1).unwrap();
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_asked_once_more_only_after_a_call_was_given_up() {
    on_mysql(|test| async move {
        let settings = DatabaseSettings {
            max_connections: 1,
            ..test.settings().clone()
        };
        let db = Database::connect(&settings).await.unwrap();
        let before = pings(&db).await;
        // The driver asks once whenever a connection comes back.
        assert_eq!(pings(&db).await, before + 1);
        assert_eq!(pings(&db).await, before + 2);
        let wait = Question {
            sql: "SELECT SLEEP(0.05)",
            values: &[],
        };
        let asking = tokio::time::timeout(std::time::Duration::ZERO, db.bounded(db.ask([wait])));
        assert!(asking.await.is_err());
        let after = pings(&db).await;
        assert_eq!(pings(&db).await, after + 2);
    })
    .await;
}
