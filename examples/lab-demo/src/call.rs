//! Calls the API as anybody would, over a socket of its own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer that is read.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// Sends a GET and gives the status and the document of the answer.
pub(crate) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, Value)> {
    let answer = tokio::time::timeout(Duration::from_secs(60), exchange(address, path)).await;
    let answer = answer.map_err(|_| anyhow!("no answer within 60 s")).flatten();
    let answer = answer.with_context(|| format!("GET http://{address}{path}"))?;
    parse(&answer).with_context(|| format!("read the answer to GET {path}"))
}

async fn exchange(address: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> anyhow::Result<(u16, Value)> {
    let text = std::str::from_utf8(answer)?;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| anyhow!("the answer has no end of its header"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| anyhow!("the answer has no status"))?;
    Ok((status, serde_json::from_str(body)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_document_are_read_and_anything_else_is_refused() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 12\r\n\r\n{\"db\":false}";
        let (status, document) = parse(answer).unwrap();
        assert_eq!((status, &document["db"]), (503, &Value::Bool(false)));
        for wrong in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n\r\n<html>",
            b"nonsense\r\n\r\n{}",
            b"\xff",
        ] {
            assert!(parse(wrong).is_err());
        }
    }
}
