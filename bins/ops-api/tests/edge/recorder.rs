//! A service that writes down exactly what reached it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// One connection as it was seen, up to its end.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The head, without the blank line.
    pub(crate) head: String,
    /// The body by its length; anything else is in `extra`.
    pub(crate) body: String,
    /// Bytes after the request.
    pub(crate) extra: String,
}

impl Seen {
    /// The request's target.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// Whether its path ends so.
    fn ends_with(&self, end: &str) -> bool {
        self.target()
            .split('?')
            .next()
            .is_some_and(|path| path.ends_with(end))
    }

    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let pairs = self
            .head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        pairs
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The one value of a header; `None` without it.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name}: {all:?}");
        all.first().copied()
    }
}

/// The service. Paths that end in `/stream` or `/events` send one event, and the second and last one once the test lets
/// them; those that end in `/slow` say nothing before; everything else is answered at once.
pub(crate) struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    release: Arc<Semaphore>,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let release = Arc::new(Semaphore::new(0));
        let (log, gate) = (Arc::clone(&seen), Arc::clone(&release));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&gate)));
            }
        });
        Self {
            address,
            seen,
            release,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything so far, and forgets it.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// Lets one stream end.
    pub(crate) fn release(&self) {
        self.release.add_permits(1);
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<Seen>>>, gate: Arc<Semaphore>) {
    let mut got = Vec::new();
    let end = loop {
        if let Some(at) = got.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if !more(&mut stream, &mut got).await {
            break got.len();
        }
    };
    let head = String::from_utf8_lossy(&got[..end]).into_owned();
    let mut seen = Seen {
        head,
        body: String::new(),
        extra: String::new(),
    };
    let length = seen
        .header("content-length")
        .map_or(0, |text| text.parse().unwrap());
    let start = (end + 4).min(got.len());
    while got.len() < start + length && more(&mut stream, &mut got).await {}
    let stop = (start + length).min(got.len());
    seen.body = String::from_utf8_lossy(&got[start..stop]).into_owned();
    let at = {
        let mut log = log.lock().unwrap();
        log.push(seen.clone());
        log.len() - 1
    };
    answer(&mut stream, &seen, &gate).await;
    let mut rest = got.split_off(stop);
    while more(&mut stream, &mut rest).await {}
    if !rest.is_empty()
        && let Some(seen) = log.lock().unwrap().get_mut(at)
    {
        seen.extra = String::from_utf8_lossy(&rest).into_owned();
    }
}

async fn more(stream: &mut TcpStream, got: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer).await {
        Ok(length @ 1..) => {
            got.extend_from_slice(&buffer[..length]);
            true
        }
        _ => false,
    }
}

async fn answer(stream: &mut TcpStream, seen: &Seen, gate: &Semaphore) {
    let streams = seen.ends_with("/stream") || seen.ends_with("/events");
    if seen.ends_with("/slow") {
        let _ = gate.acquire().await.map(tokio::sync::SemaphorePermit::forget);
    }
    if !streams {
        let body = r#"{"ok":true}"#;
        let text = format!(
            "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nLocation: /api/operations/7\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(text.as_bytes()).await;
    } else {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nid: 1\ndata: first\n\n";
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = gate.acquire().await.map(tokio::sync::SemaphorePermit::forget);
        let _ = stream.write_all(b"id: 2\ndata: second\n\n").await;
    }
    let _ = stream.shutdown().await;
}
