//! Claims on a real cluster of three nodes, one of which is killed in the middle.
//!
//! `./test.sh --all` starts the cluster (`scripts/test-galera.sh`) and says where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lab_model::HostName;
use reservation_engine::{Claim, Operation, OperationKind, Store as _, StoreError};
use reservation_store::ReservationStore;
use sea_orm::ConnectionTrait as _;
use store_support::{Database, DatabaseSettings, DatabaseUrl};
use tokio::time::{Instant, sleep, timeout};

use crate::{host, new, now, tell};

const HOSTS: usize = 12;
const CONTENDERS_PER_NODE: usize = 4;
const GRANTS: usize = 10_000;
const LEASE: Duration = Duration::from_secs(20);
/// The whole test; a cluster that lost a node stands still for some seconds.
const LIMIT: Duration = Duration::from_mins(5);

/// What every contender tells of its grants, judged as they come.
#[derive(Debug, Default)]
struct Ledger {
    grants: usize,
    tokens: BTreeMap<HostName, BTreeSet<i64>>,
    holders: BTreeMap<HostName, (String, Instant)>,
    lost: usize,
    fenced: usize,
    written: i64,
    killed: bool,
    faults: Vec<String>,
}

impl Ledger {
    fn granted(&mut self, claim: &Claim, asked_at: Instant) {
        self.grants += 1;
        let tokens = self.tokens.entry(claim.host.clone()).or_default();
        if let Some(newest) = tokens.last().filter(|newest| **newest >= claim.token.0) {
            self.faults.push(format!(
                "{}: token {} granted after {newest}",
                claim.host, claim.token.0
            ));
        }
        tokens.insert(claim.token.0);
        if let Some((holder, until)) = self.holders.get(&claim.host)
            && *until > Instant::now()
        {
            self.faults.push(format!(
                "{}: {} and {holder} hold it at once",
                claim.host, claim.holder
            ));
        }
        self.holders
            .insert(claim.host.clone(), (claim.holder.clone(), asked_at + LEASE));
    }

    /// Told before the claim is given back, so that nobody can be granted it while it stands here.
    fn leaves(&mut self, claim: &Claim) {
        self.holders.remove(&claim.host);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Galera cluster: ./test.sh --all"]
async fn ten_thousand_contended_claims_over_three_nodes_one_of_which_is_killed() {
    let (urls, folder) = cluster();
    let schema = format!("lab_ops_claims_{}", std::process::id());
    let first = connect(&urls[0], None).await;
    execute(&first, &format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4")).await;
    let nodes = on_every_node(&urls, &schema).await;
    migrations::run(nodes[0].connection()).await.unwrap();
    let before = conflicts(&nodes).await;

    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut contenders = Vec::new();
    for (node, database) in nodes.iter().enumerate() {
        for number in 0..CONTENDERS_PER_NODE {
            // Whoever is on the node that dies goes on on another one, as a client behind a balancer would.
            let spare = nodes[(node + 1) % nodes.len()].clone();
            let contender = Contender {
                name: format!("node-{node}/{number}"),
                stores: [
                    ReservationStore::new(database.clone()),
                    ReservationStore::new(spare),
                ],
                ledger: Arc::clone(&ledger),
            };
            contenders.push(tokio::spawn(contender.run()));
        }
    }
    let killer = tokio::spawn(kill_in_the_middle(Arc::clone(&ledger), folder));
    let all = timeout(LIMIT, futures_util::future::join_all(contenders)).await;
    for contender in all.expect("the claims come to an end") {
        contender.unwrap();
    }
    killer.await.unwrap();

    let after = conflicts(&[nodes[0].clone(), nodes[2].clone()]).await;
    let ledger = std::mem::take(&mut *ledger.lock().unwrap());
    tell(&format!(
        "{} claims on {HOSTS} hosts, {} calls without an answer, {} writes fenced, {} commits refused by the two \
         nodes that lived on because another node was faster",
        ledger.grants,
        ledger.lost,
        ledger.fenced,
        after - before
    ));
    assert!(ledger.faults.is_empty(), "{:#?}", ledger.faults);
    assert!(ledger.grants >= GRANTS, "{}", ledger.grants);
    assert!(ledger.killed && ledger.lost > 0, "the killed node was felt");
    assert!(after > before, "the nodes did contend");
    let stored = number(&nodes[0], "SELECT COUNT(*) FROM ops_operations").await;
    let unsure = i64::try_from(ledger.lost).unwrap();
    assert!(
        (ledger.written..=ledger.written + unsure).contains(&stored),
        "{stored} of {}",
        ledger.written
    );
    let foreign = "SELECT COUNT(*) FROM ops_operations WHERE reservation_id <> CONCAT(host, '-', token)";
    assert_eq!(
        number(&nodes[0], foreign).await,
        0,
        "each grant wrote under a token of its own"
    );
    execute(&first, &format!("DROP DATABASE {schema}")).await;
}

struct Contender {
    name: String,
    stores: [ReservationStore; 2],
    ledger: Arc<Mutex<Ledger>>,
}

impl Contender {
    async fn run(self) {
        let mut at = 0;
        let deadline = Instant::now() + LIMIT;
        for round in 0_usize.. {
            if self.ledger.lock().unwrap().grants >= GRANTS || Instant::now() > deadline {
                return;
            }
            let host = host(&format!("ws-{}", (round * 7 + self.name.len()) % HOSTS));
            if self.once(&self.stores[at], &host, round).await.is_err() {
                self.ledger.lock().unwrap().lost += 1;
                at = 1 - at;
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn once(&self, store: &ReservationStore, host: &HostName, round: usize) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let holder = format!("{}/{round}", self.name);
        let Some(claim) = store.claim_host(host, &holder, LEASE).await? else {
            return Ok(());
        };
        self.ledger.lock().unwrap().granted(&claim, asked_at);
        let reservation = format!("{host}-{}", claim.token.0);
        let opened = store
            .open_operation(
                &claim,
                new(OperationKind::Start, &reservation, host.as_str()),
                now(),
            )
            .await;
        self.told(&claim, &reservation, &opened);
        opened?;
        store.give_back(&claim).await
    }

    fn told(&self, claim: &Claim, reservation: &str, opened: &Result<Operation, StoreError>) {
        let mut ledger = self.ledger.lock().unwrap();
        match opened {
            Err(StoreError::Fenced { .. }) => ledger.fenced += 1,
            Err(_) => {}
            Ok(operation) if operation.reservation.as_str() == reservation => ledger.written += 1,
            Ok(operation) => ledger
                .faults
                .push(format!("{reservation} met {}", operation.reservation)),
        }
        ledger.leaves(claim);
    }
}

async fn kill_in_the_middle(ledger: Arc<Mutex<Ledger>>, folder: String) {
    let deadline = Instant::now() + LIMIT;
    while ledger.lock().unwrap().grants < GRANTS / 2 {
        assert!(Instant::now() < deadline, "the first half never ended");
        sleep(Duration::from_millis(10)).await;
    }
    ledger.lock().unwrap().killed = true;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/test-galera.sh");
    let ended = Command::new(script)
        .args(["kill", &folder, "2"])
        .status()
        .unwrap();
    assert!(ended.success());
}

#[expect(
    clippy::disallowed_methods,
    reason = "the script that starts the cluster says where it is"
)]
fn cluster() -> (Vec<String>, String) {
    let urls = std::env::var("TEST_GALERA_URLS").expect("TEST_GALERA_URLS, from scripts/test-galera.sh");
    let folder = std::env::var("TEST_GALERA_DIR").expect("TEST_GALERA_DIR, from scripts/test-galera.sh");
    let urls: Vec<String> = urls.split(',').map(str::to_owned).collect();
    assert_eq!(urls.len(), 3);
    (urls, folder)
}

async fn connect(url: &str, schema: Option<&str>) -> Database {
    let url = DatabaseUrl::parse_server(url).unwrap();
    let url = match schema {
        Some(schema) => url.with_database(schema),
        None => url,
    };
    Database::connect(&DatabaseSettings::new(url)).await.unwrap()
}

/// A schema made on one node is there a moment later on the others.
async fn on_every_node(urls: &[String], schema: &str) -> Vec<Database> {
    let mut nodes = Vec::new();
    for url in urls {
        let server = connect(url, None).await;
        let find = format!("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '{schema}'");
        for _ in 0..200 {
            if number(&server, &find).await == 1 {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        nodes.push(connect(url, Some(schema)).await);
    }
    nodes
}

async fn execute(db: &Database, sql: &str) {
    db.connection().execute_unprepared(sql).await.unwrap();
}

async fn number(db: &Database, sql: &str) -> i64 {
    let row = db
        .connection()
        .query_one_raw(db.statement(sql, []))
        .await
        .unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

/// How often a node refused a commit because another node was faster.
async fn conflicts(nodes: &[Database]) -> i64 {
    let sql = "SELECT CAST(SUM(variable_value) AS SIGNED) FROM information_schema.global_status \
               WHERE variable_name IN ('WSREP_LOCAL_CERT_FAILURES', 'WSREP_LOCAL_BF_ABORTS')";
    let mut sum = 0;
    for node in nodes {
        sum += number(node, sql).await;
    }
    sum
}
