//! Calls that are given up while the server is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::ConnectionTrait as _;
use store_support::test_support::{TestDatabase, on_mysql, server};
use store_support::{Database, DatabaseSettings, DatabaseUrl, DbErr, transaction};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(90);

/// A relay in front of the server that keeps back what comes after a `BEGIN`, until it is told otherwise.
struct Relay {
    address: std::net::SocketAddr,
    armed: Arc<AtomicBool>,
    held: watch::Sender<bool>,
}

impl Relay {
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            armed: Arc::default(),
            held: watch::channel(false).0,
        };
        let (armed, held) = (Arc::clone(&relay.armed), relay.held.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(requests(from_client, to_server, Arc::clone(&armed), held.clone()));
                tokio::spawn(answers(from_server, to_client, held.subscribe()));
            }
        });
        relay
    }

    async fn wait_until_held(&self) {
        let mut held = self.held.subscribe();
        timeout(LIMIT, held.wait_for(|held| *held))
            .await
            .unwrap()
            .unwrap();
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    armed: Arc<AtomicBool>,
    held: watch::Sender<bool>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        // A packet of the protocol: three bytes of length, one of sequence, then the command, 3 for a query as text.
        let begins = buffer[..read].windows(6).any(|bytes| bytes == b"\x03BEGIN");
        if begins && armed.swap(false, Ordering::SeqCst) {
            held.send_replace(true);
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut held: watch::Receiver<bool>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if held.wait_for(|held| !*held).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Over one connection only, so that whatever comes next goes over the same one.
async fn through(relay: &Relay, test: &TestDatabase) -> Database {
    let sql = test.database().statement("SELECT DATABASE()", []);
    let row = test.database().connection().query_one_raw(sql).await.unwrap();
    let schema: String = row.unwrap().try_get_by_index(0).unwrap();
    let url = format!("mysql://{}@{}/?ssl_mode=disabled", server().0, relay.address);
    let settings = DatabaseSettings {
        url: DatabaseUrl::parse_server(&url).unwrap().with_database(&schema),
        max_connections: 1,
        ..test.settings().clone()
    };
    Database::connect(&settings).await.unwrap()
}

async fn run(db: &Database, sql: &str) {
    db.connection().execute_unprepared(sql).await.unwrap();
}

async fn number(db: &Database) -> i64 {
    let read = db.statement("SELECT n FROM things", []);
    let row = db.connection().query_one_raw(read).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_given_up_while_it_is_opened_takes_no_later_write_with_it() {
    on_mysql(|test| async move {
        run(test.database(), "CREATE TABLE things (n BIGINT NOT NULL)").await;
        run(test.database(), "INSERT INTO things VALUES (0)").await;
        let relay = Relay::start(server().1).await;
        let db = through(&relay, &test).await;
        relay.armed.store(true, Ordering::SeqCst);
        let given_up = {
            let db = db.clone();
            tokio::spawn(
                async move { transaction::<(), DbErr, _>(&db, |_| Box::pin(async { Ok(()) })).await },
            )
        };
        relay.wait_until_held().await;
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
        relay.held.send_replace(false);

        run(&db, "UPDATE things SET n = 7").await;
        for _ in 0..100 {
            if number(test.database()).await == 7 {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(
            number(test.database()).await,
            7,
            "what was acknowledged is committed"
        );
        db.close().await;
    })
    .await;
}
