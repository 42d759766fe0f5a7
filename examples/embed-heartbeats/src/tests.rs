use sea_orm::ConnectionTrait as _;
use store_support::{Backend, Database, each_backend};

use crate::story;

async fn tables(db: &Database) -> Vec<String> {
    let sql = match db.backend() {
        Backend::MySql => {
            "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1"
        }
        Backend::Sqlite => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1"
        }
    };
    let rows = db
        .connection()
        .query_all_raw(db.statement(sql, []))
        .await
        .unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

each_backend! {
    async fn heartbeats_live_beside_the_tables_of_another_service(test) {
        let db = test.database();
        // The service has tables of its own, one of them named as ours are elsewhere.
        for sql in ["CREATE TABLE orders (id INT)", "CREATE TABLE lab_hosts (something VARCHAR(9))"] {
            db.connection().execute_unprepared(sql).await.unwrap();
        }
        let lines = story(db, "acme_").await.unwrap();
        let expected = [
            "bench-1: ready Some(false), 0 polls failed in a row",
            "bench-2: ready None, 60 polls failed in a row",
            "09:00: ready for 100 %",
            "09:30: ready for 52 %",
            "2 hosts: 120 polls, 60 failed",
            r#"the newest report: {"ready":false}"#,
        ];
        assert_eq!(lines[..6], expected);
        assert!(lines[6].ends_with("reports forgotten"), "{lines:?}");
        let (own, others): (Vec<_>, Vec<_>) =
            tables(db).await.into_iter().partition(|table| table.starts_with("acme_"));
        assert_eq!(others, ["lab_hosts", "orders"], "nothing else was made");
        assert!(own.contains(&"acme_host_heartbeat".to_owned()), "{own:?}");
        // Installed again, as at the next start, it goes on with what is there.
        story(db, "acme_").await.unwrap();
    }
}
