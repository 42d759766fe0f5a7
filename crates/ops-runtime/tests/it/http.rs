//! Serving callers who are slow, silent or many.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use ops_runtime::http::{HttpLimits, Peer, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(60);
const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

struct Serving {
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

/// What a caller of `/wait` waits for.
#[derive(Default)]
struct Gate {
    /// The call is in hand.
    here: Notify,
    /// It may be answered.
    go: Notify,
}

/// An address that no other test uses: when its port is free, nobody else takes it.
fn own_address() -> SocketAddr {
    let [.., third, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 64 + third % 64, high, low], 0))
}

/// Answers `path` as its own peer, `/much` with more than any socket buffers, `/wait` once the gate is open.
async fn serve(limits: HttpLimits, gate: Arc<Gate>) -> Serving {
    let service = service_fn(move |request: Request<Incoming>| {
        let gate = Arc::clone(&gate);
        async move {
            let Peer(peer) = request.extensions().get::<Peer>().copied().unwrap();
            let body = match request.uri().path() {
                "/much" => Bytes::from(vec![b'x'; 64 * 1024 * 1024]),
                "/wait" => {
                    gate.here.notify_one();
                    gate.go.notified().await;
                    Bytes::from("waited")
                }
                _ => Bytes::from(peer.to_string()),
            };
            Ok::<_, Infallible>(Response::new(Full::new(body)))
        }
    });
    let listener = TcpListener::bind(own_address()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = Server {
        limits,
        grace: LIMIT,
        pulse: None,
    };
    let ended = tokio::spawn(server.serve(listener, service, stop.clone()));
    Serving { address, stop, ended }
}

async fn ask(address: SocketAddr, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream
}

/// Reads until `text` was seen.
async fn sees(stream: &mut TcpStream, text: &str) {
    let mut said = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&said).contains(text) {
            let read = stream.read_buf(&mut said).await.unwrap();
            assert!(read > 0, "closed before {text:?}");
        }
    };
    let read = tokio::time::timeout(LIMIT, reading).await;
    read.unwrap_or_else(|_| panic!("{text:?} was not seen"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_knows_its_peer() {
    let serving = serve(HttpLimits::default(), Arc::default()).await;
    let mut stream = ask(serving.address, ASK).await;
    let own = stream.local_addr().unwrap().to_string();
    sees(&mut stream, &own).await;
    serving.stop.cancel();
    tokio::time::timeout(LIMIT, serving.ended).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_does_not_read_its_answer_gives_its_place_back() {
    let limits = HttpLimits {
        stalled: Duration::from_millis(300),
        connections: 1,
        ..HttpLimits::default()
    };
    let serving = serve(limits, Arc::default()).await;
    let _deaf = ask(serving.address, b"GET /much HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    // There is one place only, so this is answered once the other was closed.
    let mut stream = ask(serving.address, ASK).await;
    sees(&mut stream, "200 OK").await;
    serving.stop.cancel();
    tokio::time::timeout(LIMIT, serving.ended).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_end_before_it_stops_and_idle_connections_are_closed() {
    let gate = Arc::new(Gate::default());
    let serving = serve(HttpLimits::default(), Arc::clone(&gate)).await;
    let mut idle = ask(serving.address, ASK).await;
    sees(&mut idle, "200 OK").await;
    let mut waiting = ask(serving.address, b"GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    tokio::time::timeout(LIMIT, gate.here.notified()).await.unwrap();
    serving.stop.cancel();
    let mut rest = Vec::new();
    tokio::time::timeout(LIMIT, idle.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(!serving.ended.is_finished(), "one call is under way");
    gate.go.notify_one();
    sees(&mut waiting, "waited").await;
    tokio::time::timeout(LIMIT, serving.ended).await.unwrap().unwrap();
    assert!(TcpStream::connect(serving.address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_is_too_long_is_refused() {
    let serving = serve(HttpLimits::default(), Arc::default()).await;
    let mut request = b"GET / HTTP/1.1\r\nhost: localhost\r\nx-long: ".to_vec();
    request.extend(vec![b'x'; 100_000]);
    request.extend(b"\r\n\r\n");
    let mut stream = TcpStream::connect(serving.address).await.unwrap();
    // It may hang up before all was sent.
    let _ = stream.write_all(&request).await;
    let mut said = Vec::new();
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut said))
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431 "), "{said}");
    serving.stop.cancel();
}
