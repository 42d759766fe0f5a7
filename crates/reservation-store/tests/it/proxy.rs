//! A relay in front of a real MySQL or MariaDB that fails at a chosen command.
//!
//! Source: the MySQL client/server protocol: a packet is three bytes of length, one of sequence (0 begins a command)
//! and the payload, whose first byte names the command.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use store_support::Database;
use store_support::test_support::{TestDatabase, server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const QUERY: u8 = 0x03;
const EXECUTE: u8 = 0x17;

/// What happens at the chosen command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The connection is lost before the server saw it.
    CutBefore,
    /// The connection is lost after the server carried it out, before its answer.
    CutAfter,
    /// The server refuses it with this number and rolls back, as a node does whose peer was faster. Only statements
    /// and commits are counted.
    Refused(u16),
}

#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    armed: Arc<Mutex<Option<(usize, Mishap)>>>,
    up: watch::Sender<bool>,
    relay: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Relays to the server that `TEST_MYSQL_URL` names.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let armed = Arc::new(Mutex::new(None));
        let (up, is_up) = watch::channel(true);
        let plan = Arc::clone(&armed);
        let relay = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if !*is_up.borrow() {
                    continue;
                }
                let mut is_up = is_up.clone();
                is_up.mark_unchanged();
                let connection = Connection {
                    client,
                    server: TcpStream::connect(server().1).await.unwrap(),
                    armed: Arc::clone(&plan),
                    is_up,
                };
                tokio::spawn(connection.relay());
            }
        });
        Self {
            address,
            armed,
            up,
            relay,
        }
    }

    /// Opens the test's database through the relay.
    pub(crate) async fn connect(&self, test: &TestDatabase) -> Database {
        test.through(self.address).await
    }

    /// Plans a mishap at the `nth` command from now on, counted from 1.
    pub(crate) fn arm(&self, nth: usize, mishap: Mishap) {
        *self.armed.lock().unwrap() = Some((nth, mishap));
    }

    /// Whether the planned mishap has happened; plans nothing more.
    pub(crate) fn has_struck(&self) -> bool {
        self.armed.lock().unwrap().take().is_none()
    }

    /// Ends every connection and takes no new one, as while the server restarts.
    pub(crate) fn down(&self) {
        self.up.send_replace(false);
    }

    pub(crate) fn up(&self) {
        self.up.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.relay.abort();
        self.up.send_replace(false);
    }
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    armed: Arc<Mutex<Option<(usize, Mishap)>>>,
    is_up: watch::Receiver<bool>,
}

impl Connection {
    /// Ends when either side does, and at a planned cut; both sockets are closed then.
    async fn relay(mut self) {
        let mut pending = Vec::new();
        let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            tokio::select! {
                read = self.client.read(&mut from_client) => match read {
                    Ok(1..) => pending.extend_from_slice(&from_client[..read.unwrap()]),
                    _ => return,
                },
                read = self.server.read(&mut from_server) => match read {
                    Ok(length @ 1..) => {
                        if self.client.write_all(&from_server[..length]).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
                _ = self.is_up.changed() => return,
            }
            while let Some(packet) = split_packet(&mut pending) {
                if !self.pass_on(&packet).await {
                    return;
                }
            }
        }
    }

    /// Says whether the connection goes on.
    async fn pass_on(&mut self, packet: &[u8]) -> bool {
        match self.strikes(packet) {
            None => self.server.write_all(packet).await.is_ok(),
            Some(Mishap::CutBefore) => false,
            Some(Mishap::CutAfter) => {
                self.server.write_all(packet).await.unwrap();
                assert!(self.is_answered().await);
                false
            }
            Some(Mishap::Refused(number)) => {
                if packet[4] == QUERY {
                    let rollback = [&[9, 0, 0, 0, QUERY], b"ROLLBACK".as_slice()].concat();
                    self.server.write_all(&rollback).await.unwrap();
                    assert!(self.is_answered().await);
                }
                let [low, high] = number.to_le_bytes();
                let payload = [&[0xff, low, high], b"#40001planned".as_slice()].concat();
                let header = [u8::try_from(payload.len()).unwrap(), 0, 0, 1];
                self.client
                    .write_all(&[&header, payload.as_slice()].concat())
                    .await
                    .is_ok()
            }
        }
    }

    /// Waits for the server's answer and keeps it from the client. That of a commit is a few bytes.
    async fn is_answered(&mut self) -> bool {
        let mut answer = [0; 512];
        self.server.read(&mut answer).await.is_ok_and(|length| length > 0)
    }

    fn strikes(&self, packet: &[u8]) -> Option<Mishap> {
        let mut armed = self.armed.lock().unwrap();
        let (left, mishap) = armed.as_mut()?;
        let (is_command, kind) = (packet[3] == 0 && packet.len() > 4, packet.get(4).copied());
        let refusable = kind == Some(EXECUTE) || packet[4..].eq_ignore_ascii_case(b"\x03COMMIT");
        if !is_command || (matches!(mishap, Mishap::Refused(_)) && !refusable) {
            return None;
        }
        *left -= 1;
        if *left > 0 {
            return None;
        }
        let mishap = *mishap;
        *armed = None;
        Some(mishap)
    }
}

/// Takes a whole packet from what was received.
fn split_packet(pending: &mut Vec<u8>) -> Option<Vec<u8>> {
    let [a, b, c, ..] = pending[..] else { return None };
    let length = 4 + usize::from(a) + (usize::from(b) << 8) + (usize::from(c) << 16);
    (pending.len() >= length).then(|| pending.drain(..length).collect())
}
