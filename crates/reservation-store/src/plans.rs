//! Tests that the statements of every pass and of the timeline walk an index, as the databases themselves
//! say.

use chrono::NaiveDateTime;
use lab_model::ReservationId;
use reservation_engine::OperationId;
use sea_orm::{ConnectionTrait as _, QueryTrait as _, Statement};
use store_support::{Backend, Database, each_backend};

use crate::due::Slice;
use crate::{
    HistoryFilter, JournalKey, ReservationFilter, abandoned, due, journal_view, lists, orphans, queries,
    queries_fleet, work,
};

/// Another service's table, in another collation than ours, with enough rows that the optimizer has a choice.
async fn a_large_database(db: &Database) {
    if db.backend() == Backend::MySql {
        run(
            db,
            "CREATE TABLE lab_reservations (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
             transaction_hash VARCHAR(66) UNIQUE, user_id BIGINT, wallet_address VARCHAR(42), lab_id VARCHAR(128), \
             start_time TIMESTAMP NOT NULL, end_time TIMESTAMP NOT NULL, \
             status ENUM('PENDING','CONFIRMED','ACTIVE','COMPLETED','CANCELLED') NOT NULL DEFAULT 'PENDING', \
             created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
             updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
             INDEX idx_status (status), INDEX idx_status_window (status, start_time, end_time)) \
             ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci",
        )
        .await;
    }
    migrations::run(db.connection()).await.unwrap();
    for block in 0..20 {
        let mut reservations = Vec::new();
        let mut operations = Vec::new();
        let mut history = Vec::new();
        for n in block * 200..(block + 1) * 200 {
            let status = if n % 40 == 0 { "CONFIRMED" } else { "COMPLETED" };
            let day = 1 + n % 28;
            reservations.push(format!(
                "('0x{n:064x}', '7', '2026-02-{day:02} 09:00:00', '2026-02-{day:02} 10:00:00', '{status}')"
            ));
            let state = if n % 50 == 0 { "waiting" } else { "done" };
            let owes = i32::from(n % 50 == 0);
            operations.push(format!(
                "('start:{n}', 'start', '0x{n:064x}', 'h', '{state}', '{{}}', {owes}, '2026-02-{day:02} 09:00:00', \
                 '2026-02-01 09:00:00', '2026-02-01 09:00:00')"
            ));
            history.push(format!(
                "('0x{:064x}', 'h', 'wake', 'completed', '2026-02-{day:02} 09:00:00')",
                n % 8
            ));
        }
        for (into, rows) in [
            (
                "lab_reservations (transaction_hash, lab_id, start_time, end_time, status)",
                reservations,
            ),
            (
                "ops_operations (op_key, kind, reservation_id, host, state, state_json, owes_release, due_at, \
                 created_at, updated_at)",
                operations,
            ),
            (
                "reservation_operations (reservation_id, host, action, status, created_at)",
                history,
            ),
        ] {
            run(db, &format!("INSERT INTO {into} VALUES {}", rows.join(", "))).await;
        }
    }
    run(
        db,
        "INSERT INTO ops_attempts (operation_id, step, attempt, token, intent_at, outcome, outcome_at) \
         SELECT id, CASE WHEN id % 40 = 0 THEN 'power' ELSE 'prepare' END, 1, 1, due_at, 'done', due_at \
         FROM ops_operations",
    )
    .await;
    run(db, "UPDATE lab_reservations SET lab_id = CAST(id % 40 AS CHAR)").await;
    for table in [
        "lab_reservations",
        "ops_operations",
        "ops_attempts",
        "reservation_operations",
    ] {
        let mysql = if db.backend() == Backend::MySql {
            "TABLE "
        } else {
            ""
        };
        run(db, &format!("ANALYZE {mysql}{table}")).await;
    }
}

async fn run(db: &Database, sql: &str) {
    db.connection().execute_unprepared(sql).await.unwrap();
}

/// One line for each table that a statement reads: `table key extra`, or SQLite's own words.
async fn plan(db: &Database, statement: Statement) -> Vec<String> {
    let explain = if db.backend() == Backend::MySql {
        "EXPLAIN"
    } else {
        "EXPLAIN QUERY PLAN"
    };
    let explained = Statement {
        sql: format!("{explain} {}", statement.sql),
        ..statement
    };
    let rows = db.connection().query_all_raw(explained).await.unwrap();
    let line = |row: &sea_orm::QueryResult| {
        if db.backend() == Backend::Sqlite {
            return row.try_get::<String>("", "detail").unwrap();
        }
        let text = |column: &str| {
            row.try_get::<Option<String>>("", column)
                .unwrap()
                .unwrap_or_default()
        };
        format!(
            "{} type={} key={} {}",
            text("table"),
            text("type"),
            text("key"),
            text("Extra")
        )
    };
    rows.iter().map(line).collect()
}

fn reads_an_index_only(db: &Database, plan: &[String]) {
    // The few rows that an inner select gave are read from end to end.
    let given = |line: &&String| {
        line.starts_with("<derived")
            || ["s0", "s1", "a", "open_ones", "owed"].iter().any(|name| {
                let rest = line
                    .strip_prefix("SCAN ")
                    .and_then(|table| table.strip_prefix(name));
                rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
            })
    };
    for line in plan.iter().filter(|line| !given(line)) {
        let whole = match db.backend() {
            Backend::MySql => {
                line.contains("type=ALL") || line.contains("key= ") || line.contains("type=index ")
            }
            Backend::Sqlite => line.starts_with("SCAN") && !line.contains("CONSTANT"),
        };
        assert!(!whole, "{line} in {plan:#?}");
    }
}

fn sorts_nothing(plan: &[String]) {
    for line in plan {
        assert!(
            !line.contains("filesort") && !line.contains("TEMP B-TREE"),
            "{line} in {plan:#?}"
        );
    }
}

each_backend! {
    async fn a_pass_reads_no_table_from_end_to_end(test) {
        let db = test.database();
        a_large_database(db).await;
        let at = |text| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap();
        let (lately, horizon) = (at("2026-02-18 09:00:00"), at("2026-02-20 09:00:00"));
        let slice = Slice {
            from: Some(at("2026-02-03 09:00:00")),
            to: lately,
        };
        for statement in [
            due::bounds(db, [lately; 2]),
            due::statuses(db, [slice; 2], lately, horizon, 200),
            work::open_or_owed(db, 200),
            abandoned::open().build(db.backend().driver()),
            orphans::open(lately.and_utc()).build(db.backend().driver()),
        ] {
            let plan = plan(db, statement).await;
            reads_an_index_only(db, &plan);
        }
    }

    async fn a_flow_reads_its_reservations_by_their_ids_only(test) {
        let db = test.database();
        a_large_database(db).await;
        let id = |n: u32| ReservationId::parse(&format!("0x{n:064x}")).unwrap();
        for ids in [vec![id(3)], (0..40).map(id).collect()] {
            let plan = plan(db, work::joined(db, &ids)).await;
            reads_an_index_only(db, &plan);
        }
    }

    async fn a_page_of_the_timeline_is_read_in_order_from_its_index(test) {
        let db = test.database();
        a_large_database(db).await;
        let id = ReservationId::parse(&format!("0x{:064x}", 3)).unwrap();
        for statement in [
            db.statement(
                queries::PAGE,
                [id.as_str().into(), 100_i64.into(), 200_i64.into()],
            ),
            queries::newest(&id, 500).build(db.backend().driver()),
        ] {
            let plan = plan(db, statement).await;
            reads_an_index_only(db, &plan);
            sorts_nothing(&plan);
        }
    }

    async fn the_newest_of_the_history_is_read_in_order_from_an_index(test) {
        let db = test.database();
        a_large_database(db).await;
        let reservation = ReservationId::parse(&format!("0x{:064x}", 3)).unwrap();
        let host = || Some("h".to_owned());
        for filter in [
            HistoryFilter::default(),
            HistoryFilter { host: host(), reservation: None },
            HistoryFilter { host: None, reservation: Some(reservation) },
        ] {
            let plan = plan(db, lists::recent(db, &filter, 100, 0)).await;
            // Without a condition the whole index is walked, from its end, as far as the page goes.
            if filter != HistoryFilter::default() {
                reads_an_index_only(db, &plan);
            }
            let index = "idx_reservation_operations";
            assert!(plan.iter().any(|line| line.contains(index)), "{plan:#?}");
            sorts_nothing(&plan);
        }
    }

    async fn reservations_are_listed_and_operations_found_without_a_sort(test) {
        let db = test.database();
        a_large_database(db).await;
        let plan_of = |labs| {
            let filter = ReservationFilter::default();
            plan(db, lists::listed(&filter, labs, Some(3_000), 100).build(db.backend().driver()))
        };
        sorts_nothing(&plan_of(None).await);
        let of_lab = plan_of(Some(vec!["8".to_owned()])).await;
        assert!(of_lab.iter().any(|line| line.contains("idx_lab_reservations_lab")), "{of_lab:#?}");
        sorts_nothing(&of_lab);
        let labs = plan(db, lists::stored_labs(db)).await;
        let steps = |line: &String| line.contains("Using index for group-by") || line.contains("SEARCH lab_reservations");
        assert!(labs.iter().any(steps), "{labs:#?}");
        let since = NaiveDateTime::parse_from_str("2026-02-18 09:00:00", "%Y-%m-%d %H:%M:%S").unwrap();
        let powered_off = plan(db, queries_fleet::powered_off(db, since)).await;
        reads_an_index_only(db, &powered_off);
        assert!(powered_off.iter().any(|line| line.contains("idx_ops_attempts_step")), "{powered_off:#?}");
        for key in [JournalKey::Id(OperationId(17)), JournalKey::Key("start:17")] {
            let plan = plan(db, journal_view::joined(db, key)).await;
            reads_an_index_only(db, &plan);
        }
    }
}
