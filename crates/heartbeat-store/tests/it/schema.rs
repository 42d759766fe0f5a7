//! An embedder's tables are the same as ours, under its own names.

use std::collections::BTreeMap;

use heartbeat_store::{HeartbeatStore, TablePrefix, schema};
use store_support::{Backend, Database, each_backend};

use crate::polls::{host, minute, ready};
use crate::{count, rows};

/// How the database describes the tables whose names begin so, with the names as if they had no prefix.
async fn definitions(db: &Database, prefix: &str) -> BTreeMap<String, String> {
    let list = match db.backend() {
        Backend::Sqlite => {
            "SELECT COALESCE(sql, name), name, type FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"
        }
        Backend::MySql => {
            "SELECT table_name, table_name, 'table' FROM information_schema.tables WHERE table_schema = DATABASE()"
        }
    };
    let mut found = BTreeMap::new();
    for row in rows(db, list).await {
        let name: String = row.try_get_by_index(1).unwrap();
        let bare = name.replacen(prefix, "", 1);
        if bare == name {
            continue;
        }
        let definition: String = match db.backend() {
            Backend::Sqlite => row.try_get_by_index(0).unwrap(),
            Backend::MySql => rows(db, &format!("SHOW CREATE TABLE {name}")).await[0]
                .try_get_by_index(1)
                .unwrap(),
        };
        found.insert(bare, definition.replace(prefix, ""));
    }
    found
}

each_backend! {
    async fn tables_under_a_prefix_are_the_same_as_ours(test) {
        let db = test.database();
        migrations::run(db.connection()).await.unwrap();
        schema::install(db, &TablePrefix::parse("acme_").unwrap()).await.unwrap();
        let shared = definitions(db, "lab_").await;
        let ours = definitions(db, "ops_").await;
        let theirs = definitions(db, "acme_").await;
        let mut compared = 0;
        for (name, definition) in &theirs {
            let name = name.replace("heartbeat_retention", "retention");
            let like = shared.get(&name).or_else(|| ours.get(&name));
            let like = like.unwrap_or_else(|| panic!("{name} in {:?} {:?}", shared.keys(), ours.keys()));
            let plain = |text: &str| {
                let text = text.replace("lab_", "").replace("ops_", "").replace("heartbeat_retention", "retention");
                // The only thing that MySQL tells about the rows.
                text.split(" AUTO_INCREMENT=").next().unwrap().to_owned()
            };
            assert_eq!(plain(definition), plain(like));
            compared += 1;
        }
        assert!(compared >= 9, "{:?}", theirs.keys());
    }

    async fn tables_are_made_by_many_at_once_and_used_by_several_prefixes(test) {
        let mut starts = Vec::new();
        for number in 0..4 {
            let db = test.reopen().await;
            let prefix = TablePrefix::parse(if number % 2 == 0 { "a_" } else { "b_" }).unwrap();
            starts.push(tokio::spawn(async move { schema::install(&db, &prefix).await }));
        }
        for start in starts {
            start.await.unwrap().unwrap();
        }
        for prefix in ["a_", "b_"] {
            let store = HeartbeatStore::with_tables(test.database().clone(), &TablePrefix::parse(prefix).unwrap());
            store.record_report(ready(1, minute(0))).await.unwrap();
            assert!(store.latest(&host(1).name).await.unwrap().is_some());
            assert_eq!(count(test.database(), &format!("SELECT COUNT(*) FROM {prefix}host_heartbeat")).await, 1);
        }
    }
}
