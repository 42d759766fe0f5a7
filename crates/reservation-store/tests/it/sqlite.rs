//! One SQLite file and several processes: a stranger that holds the lock, two that contend, one that is killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use reservation_engine::{AttemptOutcome, OperationKind, Step, Store as _, StoreError};
use reservation_store::ReservationStore;
use sea_orm::ConnectionTrait as _;
use store_support::{Database, DatabaseSettings, DatabaseUrl, test_support};
use tokio::time::{Instant, sleep};

use crate::{
    LEASE, a_claim, a_history_row, a_store, an_operation, count, done, ending, host, id, new, now, rows,
    running, tell,
};

const FOLDER: &str = "LAB_OPS_TEST_FOLDER";
const ROLE: &str = "LAB_OPS_TEST_ROLE";

/// Another process: this very program, running [`other_process`] only.
struct Other {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Other {
    fn start(role: &str, folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sqlite::other_process", "--nocapture"])
            .env(FOLDER, folder)
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line that the process says; `None` when it has ended.
    fn says(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            if let Some((_, said)) = line.trim_end().split_once("said ") {
                return Some(said.to_owned());
            }
            line.clear();
        }
        None
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "said {what}").unwrap();
    out.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "tells another process what to do")]
async fn other_process() {
    let (Ok(folder), Ok(role)) = (std::env::var(FOLDER), std::env::var(ROLE)) else {
        return;
    };
    let mut settings = DatabaseSettings::new(DatabaseUrl::embedded(Path::new(&folder)));
    settings.max_connections = 2;
    let db = Database::connect(&settings).await.unwrap();
    let store = ReservationStore::new(db.clone());
    match role.as_str() {
        "lock" => hold_the_lock(&db).await,
        "contend" => contend(&store).await,
        _ => write_until_killed(&store).await,
    }
}

async fn hold_the_lock(db: &Database) {
    use sea_orm::sqlx::Executor as _;
    let mut connection = db
        .connection()
        .get_sqlite_connection_pool()
        .acquire()
        .await
        .unwrap();
    connection.execute("BEGIN IMMEDIATE").await.unwrap();
    say("locked");
    sleep(Duration::from_secs(10)).await;
    connection.execute("COMMIT").await.unwrap();
    say("free");
}

async fn contend(store: &ReservationStore) {
    let mut won = 0;
    let until = Instant::now() + Duration::from_secs(150);
    while won < 100 && Instant::now() < until {
        let name = format!("other-{}", std::process::id());
        let Some(claim) = store.claim_host(&host("ws"), &name, LEASE).await.unwrap() else {
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        won += 1;
        let key = format!("{name}-{won}");
        store
            .open_operation(&claim, new(OperationKind::Start, &key, "ws"), now())
            .await
            .unwrap();
        say(&claim.token.0.to_string());
        store.give_back(&claim).await.unwrap();
    }
}

async fn write_until_killed(store: &ReservationStore) {
    let name = format!("ws-{}", std::process::id());
    let claim = store
        .claim_host(&host(&name), &name, LEASE)
        .await
        .unwrap()
        .unwrap();
    for n in 0..100_000 {
        let reservation = format!("{name}-{n}");
        let wanted = new(OperationKind::Start, &reservation, &name);
        let mut operation = store.open_operation(&claim, wanted, now()).await.unwrap();
        operation.state = running(Step::Wake, 1);
        let attempt = store
            .begin_attempt(&claim, &operation, Step::Wake, 1, now())
            .await
            .unwrap();
        operation.state = done();
        let mut row = a_history_row("wake");
        row.reservation = id(&reservation);
        let history = [row];
        let end = ending(&operation, attempt, AttemptOutcome::Done, &history);
        store.finish_attempt(&claim, end).await.unwrap();
        say(&reservation);
    }
}

async fn folder_of(test: &test_support::TestDatabase) -> std::path::PathBuf {
    let file: String = rows(test.database(), "PRAGMA database_list").await[0]
        .try_get("", "file")
        .unwrap();
    Path::new(&file).parent().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_holds_the_lock_for_ten_seconds_delays_and_loses_nothing() {
    test_support::on_sqlite(|test| async move {
        a_store(&test).await;
        let settings = DatabaseSettings {
            statement_timeout: Duration::from_secs(3),
            ..test.settings().clone()
        };
        let store = ReservationStore::new(Database::connect(&settings).await.unwrap());
        let claim = a_claim(&store, "ws").await;
        let mut operation = an_operation(&store, &claim, OperationKind::Start, "0xaa").await;
        let mut stranger = Other::start("lock", &folder_of(&test).await);
        assert_eq!(stranger.says().as_deref(), Some("locked"));
        operation.state = done();
        let began = Instant::now();
        let mut refused = 0;
        loop {
            let asked = Instant::now();
            match store
                .save_operation(&claim, &operation, &[a_history_row("wake")], now())
                .await
            {
                Ok(()) => break,
                Err(StoreError::Unavailable(_)) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
            assert!(
                asked.elapsed() < Duration::from_secs(30),
                "a call ends within its bound"
            );
            assert!(began.elapsed() < Duration::from_secs(90));
        }
        tell(&format!(
            "{refused} calls without an answer, saved after {:?}",
            began.elapsed()
        ));
        assert!(refused >= 1);
        assert_eq!(store.open_operations(10).await.unwrap(), []);
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM reservation_operations").await,
            1
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_file_share_a_host_without_an_error() {
    test_support::on_sqlite(|test| async move {
        a_store(&test).await;
        let folder = folder_of(&test).await;
        let others = [(); 2].map(|()| {
            let mut other = Other::start("contend", &folder);
            std::thread::spawn(move || {
                let mut tokens = Vec::new();
                while let Some(token) = other.says() {
                    tokens.push(token.parse::<i64>().unwrap());
                }
                assert!(other.child.wait().unwrap().success());
                tokens
            })
        });
        let [one, two] = others.map(|other| other.join().unwrap());
        assert_eq!((one.len(), two.len()), (100, 100));
        assert!(one.is_sorted() && two.is_sorted());
        let all: std::collections::BTreeSet<i64> = one.into_iter().chain(two).collect();
        assert_eq!(all, (1..=200).collect(), "each grant has a token of its own");
        let strange = "SELECT COUNT(*) FROM ops_operations WHERE token NOT BETWEEN 1 AND 200";
        assert_eq!(count(test.database(), strange).await, 0);
        assert_eq!(
            count(
                test.database(),
                "SELECT COUNT(DISTINCT token) FROM ops_operations"
            )
            .await,
            200
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_a_hundred_times_leaves_a_sound_file() {
    test_support::on_sqlite(|test| async move {
        a_store(&test).await;
        let folder = folder_of(&test).await;
        let mut acknowledged = Vec::new();
        for round in 0..100_u64 {
            let mut writer = Other::start("write", &folder);
            acknowledged.extend(writer.says());
            // Between nothing and some dozen writes later; the same on every run as far as a clock allows.
            std::thread::sleep(Duration::from_micros(round * 7_919 % 23_000));
            writer.child.kill().unwrap();
            while let Some(said) = writer.says() {
                acknowledged.push(said);
            }
        }
        let db = test.database();
        let sound: String = rows(db, "PRAGMA integrity_check").await[0]
            .try_get_by_index(0)
            .unwrap();
        assert_eq!(sound, "ok");
        assert!(rows(db, "PRAGMA foreign_key_check").await.is_empty());
        tell(&format!(
            "{} writes were acknowledged by 100 writers that were killed",
            acknowledged.len()
        ));
        assert!(acknowledged.len() >= 100);
        let whole = db.statement(
            "SELECT o.reservation_id FROM ops_operations o JOIN ops_attempts a ON a.operation_id = o.id \
             JOIN reservation_operations h ON h.reservation_id = o.reservation_id \
             WHERE o.state = 'done' AND a.outcome = 'done'",
            [],
        );
        let mut kept: Vec<String> = Vec::new();
        for row in db.connection().query_all_raw(whole).await.unwrap() {
            kept.push(row.try_get_by_index(0).unwrap());
        }
        let distinct: std::collections::BTreeSet<&String> = kept.iter().collect();
        assert_eq!(distinct.len(), kept.len(), "nothing is written twice");
        for name in &acknowledged {
            assert!(distinct.contains(name), "{name} was acknowledged and is lost");
        }
        // What was under way when a writer died is an intent without an outcome, and never half an outcome.
        let halves = "SELECT COUNT(*) FROM ops_attempts a JOIN ops_operations o ON o.id = a.operation_id \
                      WHERE (a.outcome IS NULL) <> (o.state = 'running')";
        assert_eq!(count(db, halves).await, 0);
        let (ended, history) = (
            count(db, "SELECT COUNT(*) FROM ops_attempts WHERE outcome IS NOT NULL").await,
            count(db, "SELECT COUNT(*) FROM reservation_operations").await,
        );
        assert_eq!(ended, history);
    })
    .await;
}
