//! Which answers a caller waits for: those to Command and Receive, and no other. Counted by what the host has read while
//! its answers are held back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use host_sim::SimHost;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use winrm_transport::{Client, Endpoint, Settings};

use crate::lab::{LIMIT, Lab, eventually, status};

/// Passes bytes on between a client and a host, and holds back the answer to the n-th request, counted over the life of
/// the host, and all later ones.
struct Gate {
    port: u16,
    /// The first request whose answer is held.
    holds: watch::Sender<u64>,
    /// Bytes of answers at the gate.
    held: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Gate {
    async fn before(host: SimHost, host_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (holds, held_from) = watch::channel(u64::MAX);
        let held = Arc::new(AtomicUsize::new(0));
        let count = held.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut both_ways = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect((host.address(), host_port)).await.unwrap();
                let ((from_client, to_client), (from_host, to_host)) = (near.into_split(), far.into_split());
                let (host, held_from, count) = (host.clone(), held_from.clone(), count.clone());
                both_ways.spawn(pass(from_client, to_host, async |_| {}));
                both_ways.spawn(pass(from_host, to_client, async move |length| {
                    count.fetch_add(length, Ordering::SeqCst);
                    let mut held_from = held_from.clone();
                    let _ = held_from.wait_for(|first| host.counts().requests < *first).await;
                    count.fetch_sub(length, Ordering::SeqCst);
                }));
            }
        });
        Self {
            port,
            holds,
            held,
            _tasks: tasks,
        }
    }

    /// Waits until an answer is being held.
    async fn holds_an_answer(&self) -> bool {
        eventually(|| self.held.load(Ordering::SeqCst) > 0).await
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut first: impl AsyncFnMut(usize)) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        first(length).await;
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// Two for the handshake and one for the shell.
const SESSION: u64 = 3;
/// Command, Receive, Signal.
const COMMAND: u64 = 3;

/// Runs a command on an open session while the answer to its `nth` request and all later ones are held. Gives whether the
/// caller gets its result all the same. A command after it finds connection and shell as they were.
async fn is_answered_without(nth: u64, endpoint: impl Fn(&Lab) -> (Settings, u16)) -> bool {
    let lab = Lab::start(|_| ()).await;
    let (mut settings, host_port) = endpoint(&lab);
    let gate = Gate::before(lab.host().clone(), host_port).await;
    settings.endpoint.host = "127.0.0.1".to_owned();
    settings.endpoint.port = gate.port;
    // Long enough for what is held not to count as lost.
    settings.timeouts.operation = LIMIT;
    let client = Client::new(settings).unwrap();
    client.run(&status(), LIMIT).await.unwrap();
    let before = SESSION + COMMAND;
    assert!(eventually(|| lab.host().counts().requests == before).await);

    gate.holds.send_replace(before + nth);
    let call = {
        let client = client.clone();
        tokio::spawn(async move { client.run(&status(), LIMIT).await })
    };
    assert!(gate.holds_an_answer().await);
    let answered = match nth {
        1 | 2 => call.is_finished(),
        _ => eventually(|| call.is_finished()).await,
    };
    // One request at a time: the answer that is held is to the last one.
    assert_eq!(lab.host().counts().requests, before + nth);
    gate.holds.send_replace(u64::MAX);
    assert_eq!(call.await.unwrap().unwrap().exit_code, Some(0));

    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    assert!(eventually(|| lab.host().counts().requests == before + 2 * COMMAND).await);
    let stats = client.stats();
    assert_eq!(
        (stats.connections, stats.shells_created, stats.commands),
        (1, 1, 3)
    );
    lab.end(client).await;
    answered
}

#[tokio::test]
async fn a_caller_waits_for_the_answers_to_command_and_receive_and_no_other() {
    let http = |lab: &Lab| (lab.http(), lab.host().http_port());
    let https = |lab: &Lab| (lab.https(), lab.host().https_port().unwrap());
    for (nth, answered) in [(1, false), (2, false), (3, true)] {
        assert_eq!(
            is_answered_without(nth, http).await,
            answered,
            "request {nth}, sealed"
        );
        assert_eq!(
            is_answered_without(nth, https).await,
            answered,
            "request {nth}, tls"
        );
    }
}

/// The call that wants the session next waits for the end of the one before, and not the other way round.
#[tokio::test]
async fn a_command_follows_only_when_the_end_of_the_one_before_is_confirmed() {
    let lab = Lab::start(|_| ()).await;
    let gate = Gate::before(lab.host().clone(), lab.host().http_port()).await;
    let mut settings = lab.http();
    settings.endpoint = Endpoint::http("127.0.0.1", gate.port);
    settings.timeouts.operation = LIMIT;
    let client = Client::new(settings).unwrap();
    let first_signal = SESSION + COMMAND;
    gate.holds.send_replace(first_signal);
    client.run(&status(), LIMIT).await.unwrap();
    let next = {
        let client = client.clone();
        tokio::spawn(async move { client.run(&status(), LIMIT).await })
    };
    assert!(gate.holds_an_answer().await);
    assert_eq!(lab.host().counts().requests, first_signal);
    assert!(!next.is_finished());
    gate.holds.send_replace(u64::MAX);
    assert_eq!(next.await.unwrap().unwrap().exit_code, Some(0));
    assert_eq!(
        (client.stats().connections, client.stats().shells_created),
        (1, 1)
    );
    lab.end(client).await;
}
