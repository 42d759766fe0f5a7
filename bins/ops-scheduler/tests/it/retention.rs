//! What is old is forgotten by a running scheduler: by one of two, and by the other once that one has gone.

use chrono::{DurationRound as _, NaiveDateTime, TimeDelta};
use sea_orm::{ConnectionTrait as _, Value};
use store_support::{Database, each_backend};

use crate::SCHEDULER;
use crate::harness::{Lab, Process, awake, count, migrate, now, until};

const HOSTS: i64 = 3;
const HOURS: i64 = 4;
/// Reports of each host in each hour.
const REPORTS: i64 = 6;
const ROWS: &str = "SELECT COUNT(*) FROM lab_host_heartbeat";
const FORGOT: &str = "forgot what is old";
const BEGINS: &str = "looks for what is old";
const LEFT: &str = "left to whoever has the first shard";

async fn insert(db: &Database, sql: &str, values: Vec<Value>) {
    let inserted = db.connection().execute_raw(db.statement(sql, values)).await;
    inserted.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// Some hours of reports that came so many days ago, from each of the hosts.
async fn a_past_of(db: &Database, days: i64) {
    let begin = (now() - TimeDelta::days(days))
        .duration_trunc(TimeDelta::hours(1))
        .unwrap();
    for number in 0..HOSTS * HOURS * REPORTS {
        let (host, report) = (1 + number % HOSTS, number / HOSTS);
        let at: NaiveDateTime = (begin + TimeDelta::minutes(report * 60 / REPORTS)).naive_utc();
        let sql = "INSERT INTO lab_host_heartbeat (host_id, timestamp_utc, raw_json, created_at) VALUES (?, ?, ?, ?)";
        insert(
            db,
            sql,
            vec![
                host.into(),
                at.into(),
                format!("{{\"report\": {report}}}").into(),
                at.into(),
            ],
        )
        .await;
    }
}

async fn has_rows(db: &Database, rows: i64) {
    until(&format!("{rows} reports are left"), async || {
        (count(db, ROWS).await == rows).then_some(())
    })
    .await;
}

/// Whether it saw to it when it last looked, by its log; `None` before that.
fn does_it(process: &Process) -> Option<bool> {
    let said = process.said();
    let begins = said.rfind(BEGINS);
    let left = said.rfind(LEFT);
    (begins.is_some() || left.is_some()).then_some(begins > left)
}

each_backend! {
    async fn a_past_month_is_thinned_by_one_of_two_schedulers_and_by_the_other_when_that_one_has_gone(test) {
        let db = test.database();
        migrate(db).await;
        for host in 1..=HOSTS {
            let sql = "INSERT INTO lab_hosts (id, name, address) VALUES (?, ?, '127.0.0.1')";
            insert(db, sql, vec![host.into(), format!("old-{host}").into()]).await;
        }
        let (thinned, all) = (HOSTS * HOURS, HOSTS * HOURS * REPORTS);
        a_past_of(db, 200).await;
        a_past_of(db, 40).await;
        a_past_of(db, 3).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        let lab = lab.without("OPS_WORKER_NAME").with("OPS_POLL_ENABLED", "no").with("OPS_LOG_LEVEL", "ops_scheduler=debug,info");
        let mut schedulers = vec![lab.run(SCHEDULER, &[]), lab.run(SCHEDULER, &[])];
        has_rows(db, thinned + all).await;
        let last = format!("{ROWS} WHERE raw_json NOT LIKE '%: 5}}' AND raw_json NOT LIKE '%: 11}}' \
            AND raw_json NOT LIKE '%: 17}}' AND raw_json NOT LIKE '%: 23}}'");
        assert_eq!(count(db, &last).await, all - thinned, "of each hour the last is left, and of last week all");
        let at_work = until("one of them sees to it, and the other leaves it to it", async || {
            let [first, second] = [does_it(&schedulers[0]), does_it(&schedulers[1])];
            (first.is_some() && second.is_some() && first != second).then_some(usize::from(second == Some(true)))
        })
        .await;
        // It is through: the next pass is a quarter of an hour away.
        until("what was forgotten is told", async || {
            schedulers.iter().any(|one| one.said().contains(FORGOT)).then_some(())
        })
        .await;
        let first = schedulers.remove(at_work);

        // More of the past, as from an import; whoever did it before is not there any more.
        a_past_of(db, 60).await;
        assert_eq!(first.terminate().await.0.code(), Some(0));
        has_rows(db, 2 * thinned + all).await;
        schedulers[0].says(FORGOT).await;
        for scheduler in schedulers {
            assert_eq!(scheduler.terminate().await.0.code(), Some(0));
        }
    }

    async fn nothing_is_forgotten_when_retention_is_off_and_that_is_said(test) {
        let db = test.database();
        migrate(db).await;
        insert(db, "INSERT INTO lab_hosts (id, name, address) VALUES (1, 'old-1', '127.0.0.1'), (2, 'old-2', '127.0.0.1'), \
            (3, 'old-3', '127.0.0.1')", vec![]).await;
        a_past_of(db, 4_000).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test).with("OPS_RETENTION", "off");
        let mut scheduler = lab.run(SCHEDULER, &[]);
        scheduler.says("heartbeats are kept for ever").await;
        scheduler.says("registered").await;
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
        assert_eq!(count(db, ROWS).await, HOSTS * HOURS * REPORTS);
    }
}
