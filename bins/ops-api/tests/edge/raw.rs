//! HTTP as bytes, from an address of one's choice: what no well-behaved client would send.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// An address of the networks that the shipped file allows.
pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
/// One that it does not.
pub(crate) const FOREIGN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What came back, as it came.
#[derive(Debug)]
pub(crate) struct Reply(pub(crate) String);

impl Reply {
    /// The statuses of all answers on the connection, in order.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.0
            .match_indices("HTTP/1.1 ")
            .filter_map(|(at, _)| self.0.get(at + 9..at + 12)?.parse().ok())
            .collect()
    }

    /// The status of the only answer.
    pub(crate) fn status(&self) -> u16 {
        let statuses = self.statuses();
        assert_eq!(statuses.len(), 1, "{self:?}");
        statuses[0]
    }

    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let head = self.0.split("\r\n\r\n").next()?;
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// What follows the first head.
    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

/// Opens a connection from `from`.
pub(crate) async fn connect(to: SocketAddr, from: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends bytes and reads until the other side hangs up or has said nothing for so long.
pub(crate) async fn exchange(
    silence: Duration,
    to: SocketAddr,
    from: Ipv4Addr,
    bytes: impl AsRef<[u8]>,
) -> Reply {
    let mut stream = connect(to, from).await;
    // A peer that refuses early may hang up while we still write.
    let _ = stream.write_all(bytes.as_ref()).await;
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(length @ 1..)) = tokio::time::timeout(silence, stream.read(&mut buffer)).await {
        got.extend_from_slice(&buffer[..length]);
    }
    Reply(String::from_utf8_lossy(&got).into_owned())
}

/// One well-formed request that asks for the connection to be closed.
pub(crate) async fn ask(to: SocketAddr, from: Ipv4Addr, line: &str, headers: &[&str], body: &str) -> Reply {
    let mut text = format!("{line} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    for header in headers {
        text += header;
        text += "\r\n";
    }
    if !body.is_empty() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    text += body;
    exchange(crate::harness::LIMIT, to, from, text).await
}
