//! One question to a KDC and its answer, over TCP. Source: RFC 4120 section 7.2.2.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

/// Tickets carry group lists, but not this many.
const MAX_ANSWER: usize = 256 * 1024;
/// More addresses than any sane name has.
const MAX_ADDRESSES: usize = 8;

/// None of them answered; what became of the last.
#[derive(Debug)]
pub(super) struct Silent {
    pub(super) kdc: String,
    pub(super) why: io::ErrorKind,
}

/// Asks one KDC after the other until one answers. Each has `allowed` for everything.
///
/// `request` has its length in front already; the answer comes with its own.
pub(super) async fn ask(
    kdcs: &[(String, u16)],
    request: &[u8],
    allowed: Duration,
) -> Result<Vec<u8>, Silent> {
    let mut last = Silent {
        kdc: String::new(),
        why: io::ErrorKind::NotFound,
    };
    for (host, port) in kdcs {
        match ask_one(host, *port, request, Instant::now() + allowed).await {
            Ok(answer) => return Ok(answer),
            Err((address, error)) => {
                tracing::debug!(kdc = %host, %error, "kdc does not answer");
                let kdc = match address {
                    Some(address) if host.parse().ok() == Some(address.ip()) => address.to_string(),
                    Some(address) => format!("{host} ({address})"),
                    None => host.clone(),
                };
                let why = error.kind();
                last = Silent { kdc, why };
            }
        }
    }
    Err(last)
}

/// With the address that was dialled last, if any was.
type Missed = (Option<SocketAddr>, io::Error);

async fn ask_one(host: &str, port: u16, request: &[u8], until: Instant) -> Result<Vec<u8>, Missed> {
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let found = timeout_at(until, lookup_host((host, port))).await;
    let found = found.unwrap_or_else(|_| Err(late()));
    let addresses: Vec<_> = found
        .map_err(|error| (None, error))?
        .take(MAX_ADDRESSES)
        .collect();
    let mut last = (None, io::ErrorKind::NotFound.into());
    for (tried, address) in addresses.iter().enumerate() {
        // Each address gets its share, so that one that swallows packets does not starve the next.
        let share = until.saturating_duration_since(Instant::now()) / (addresses.len() - tried) as u32;
        let done = timeout_at(Instant::now() + share, exchange(*address, request)).await;
        match done.unwrap_or_else(|_| Err(late())) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = (Some(*address), error),
        }
    }
    Err(last)
}

async fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(request).await?;
    let length = stream.read_u32().await?;
    if length as usize > MAX_ANSWER {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "kdc answer is larger than allowed",
        ));
    }
    let mut answer = length.to_be_bytes().to_vec();
    // Grows by what arrives, not by what is announced.
    let read = stream.take(length.into()).read_to_end(&mut answer).await?;
    if read < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn kdc(answer: &'static [u8]) -> (String, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 6];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(answer).await.unwrap();
            if answer.is_empty() {
                // Never answers; ends when the client gives up.
                let _ = stream.read(&mut request).await;
            }
        });
        ("127.0.0.1".to_owned(), port)
    }

    const REQUEST: &[u8] = b"\0\0\0\x02hi";

    #[tokio::test]
    async fn the_next_kdc_is_asked_when_one_is_silent_or_talks_nonsense() {
        let silent = kdc(b"").await;
        let endless = kdc(b"\xff\xff\xff\xff").await;
        let cut = kdc(b"\0\0\0\x09abc").await;
        let good = kdc(b"\0\0\0\x03abc").await;
        let answer = ask(&[silent, endless, cut, good], REQUEST, Duration::from_secs(2)).await;
        assert_eq!(answer.unwrap(), b"\0\0\0\x03abc");
    }

    #[tokio::test]
    async fn a_kdc_that_says_nothing_costs_no_more_than_its_time() {
        let silent = kdc(b"").await;
        let address = format!("127.0.0.1:{}", silent.1);
        let error = ask(&[silent], REQUEST, Duration::from_millis(50))
            .await
            .unwrap_err();
        assert_eq!((error.kdc, error.why), (address, io::ErrorKind::TimedOut));
    }
}
