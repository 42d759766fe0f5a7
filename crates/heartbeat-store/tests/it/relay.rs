//! A relay in front of a real MySQL or MariaDB that loses commits or the answers to them, or goes down.
//!
//! Source: the MySQL client/server protocol: a packet is three bytes of length, one of sequence (0 begins a command)
//! and the payload, whose first byte names the command.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use store_support::Database;
use store_support::test_support::{TestDatabase, server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    commits: Arc<AtomicI64>,
    every: i64,
    up: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// Relays to the server that `TEST_MYSQL_URL` names; the answer to every `every`th commit is lost, and the connection
    /// with it. In turns the commit itself has arrived, or not.
    pub(crate) async fn start(every: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let commits = Arc::new(AtomicI64::new(0));
        let (up, is_up) = watch::channel(true);
        let counted = Arc::clone(&commits);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *is_up.borrow() {
                    let server = TcpStream::connect(server().1).await.unwrap();
                    let (commits, mut is_up) = (Arc::clone(&counted), is_up.clone());
                    is_up.mark_unchanged();
                    tokio::spawn(async move {
                        tokio::select! {
                            _ = is_up.changed() => {}
                            () = relay(client, server, commits, every) => {}
                        }
                    });
                }
            }
        });
        Self {
            address,
            commits,
            every,
            up,
            task,
        }
    }

    /// Opens the test's database through the relay.
    pub(crate) async fn connect(&self, test: &TestDatabase) -> Database {
        test.through(self.address).await
    }

    /// How many commits or answers were lost.
    pub(crate) fn lost(&self) -> i64 {
        self.commits.load(Ordering::SeqCst) / self.every
    }

    /// Ends every connection and takes no new one, as while the server restarts.
    pub(crate) fn down(&self) {
        self.up.send_replace(false);
    }

    pub(crate) fn up(&self) {
        self.up.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(mut client: TcpStream, mut server: TcpStream, commits: Arc<AtomicI64>, every: i64) {
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(length @ 1..) = read else { return };
                let sent = &from_client[..length];
                // A commit is a packet of its own: whoever sends it waits for its answer.
                let is_commit = sent.len() > 4 && sent[3] == 0 && sent[4..].eq_ignore_ascii_case(b"\x03COMMIT");
                let commit = if is_commit { commits.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
                let is_lost = is_commit && commit % every == 0;
                if is_lost && commit / every % 2 == 0 {
                    return;
                }
                if server.write_all(sent).await.is_err() {
                    return;
                }
                if is_lost {
                    let _ = server.read(&mut from_server).await;
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&from_server[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
