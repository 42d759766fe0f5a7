//! Tests that no statement reads a table from end to end, as the databases themselves say.

use sea_orm::{ConnectionTrait as _, QueryTrait as _, Statement};
use store_support::{Backend, Database, each_backend};

use crate::audit::page;
use crate::calls::{BY_ID, BY_KEY};
use crate::retention::{AUDIT, CALLS, oldest_sql};
use crate::{AuditFilter, AuditId, CallJournal};

/// Enough rows that the optimizer has a choice.
async fn a_large_journal(db: &Database) -> CallJournal {
    migrations::run(db.connection()).await.unwrap();
    let run = async |sql: String| {
        db.connection().execute_unprepared(&sql).await.unwrap();
    };
    let calls = (0..4_000).map(|n| {
        let state = if n % 400 == 0 { "running" } else { "succeeded" };
        let (caller, at) = (n % 40, "2026-02-01 09:00:00");
        format!("('{n:036}', 'wol', 'c{caller}', 'k{n}', '', '{state}', 'w', {n}, '{at}')")
    });
    let calls: Vec<String> = calls.collect();
    let audit = (0..4_000).map(|n| {
        let (caller, subject) = (n % 40, n % 50);
        format!("('2026-02-01 09:00:00', 'r', 'c{caller}', 'admin', '', 'a', 's{subject}')")
    });
    let audit: Vec<String> = audit.collect();
    for (into, rows) in [
        (
            "ops_calls (id, kind, caller, idempotency_key, digest, state, worker, lease_until, created_at)",
            calls,
        ),
        (
            "ops_audit (at, request_id, caller, role, from_address, action, subject)",
            audit,
        ),
    ] {
        for rows in rows.chunks(500) {
            run(format!("INSERT INTO {into} VALUES {}", rows.join(", "))).await;
        }
    }
    for table in ["ops_calls", "ops_audit"] {
        let mysql = if db.backend() == Backend::MySql {
            "TABLE "
        } else {
            ""
        };
        run(format!("ANALYZE {mysql}{table}")).await;
    }
    CallJournal::new(db.clone())
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
    let line = |row: &sea_orm::QueryResult| {
        if !mysql {
            return row.try_get::<String>("", "detail").unwrap();
        }
        let text = |column: &str| {
            row.try_get::<Option<String>>("", column)
                .unwrap()
                .unwrap_or_default()
        };
        format!("type={} key={} {}", text("type"), text("key"), text("Extra"))
    };
    rows.iter().map(line).collect()
}

/// `in_order`: an index is walked from one end, as far as the limit goes.
fn is_bounded(plan: &[String], in_order: bool) {
    for line in plan {
        let sorts = line.contains("filesort") || line.contains("TEMP B-TREE");
        let whole = line.contains("type=ALL") || line.contains("key= ") || line.starts_with("SCAN");
        let walks = line.contains("type=index ");
        assert!(!sorts && (in_order || !(whole || walks)), "{line} in {plan:#?}");
    }
}

each_backend! {
    async fn every_statement_about_calls_walks_an_index(test) {
        let db = test.database();
        let journal = a_large_journal(db).await;
        let id = format!("{:036}", 17);
        let interrupt = format!("{} AND id = ?", journal.interrupt_lost_sql());
        let noon = "2026-02-01 12:00:00";
        for (sql, values) in [
            (journal.read_sql(BY_ID), vec![id.as_str()]),
            (journal.read_sql(BY_KEY), vec!["c1", "k1"]),
            (journal.interrupt_lost_sql(), vec![noon]),
            (interrupt, vec![noon, id.as_str()]),
        ] {
            let values = values.into_iter().map(sea_orm::Value::from);
            is_bounded(&plan(db, db.statement(&sql, values)).await, false);
        }
        for table in [&CALLS, &AUDIT] {
            is_bounded(&plan(db, db.statement(&oldest_sql(table), [])).await, true);
        }
    }

    async fn a_page_of_the_audit_trail_is_read_in_order_from_an_index(test) {
        let db = test.database();
        a_large_journal(db).await;
        let caller = || Some("c1".to_owned());
        let subject = || Some("s1".to_owned());
        for (filter, index) in [
            (AuditFilter { caller: caller(), subject: None }, "idx_ops_audit_caller"),
            (AuditFilter { caller: None, subject: subject() }, "idx_ops_audit_subject"),
        ] {
            let plan = plan(db, page(&filter, Some(AuditId(3_000)), 101).build(db.backend().driver())).await;
            is_bounded(&plan, false);
            assert!(plan.iter().any(|line| line.contains(index)), "{plan:#?}");
        }
        let all = page(&AuditFilter::default(), None, 101).build(db.backend().driver());
        is_bounded(&plan(db, all).await, true);
    }
}
