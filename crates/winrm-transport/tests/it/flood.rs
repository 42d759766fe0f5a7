//! Against peers that send without end, or announce that they will. What they get rid of before the connection is
//! closed on them is counted: it is a little more than the limit, for what lay in the buffers of two sockets.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use winrm_transport::{Client, Command, Effect, Error, Settings, SettingsError, Stage};

use crate::fake::{Fake, LIMIT, SHORT, answer, basic, fails, fake, request, settings};

/// Far above every limit of ours, far below what a peer would send that is never stopped.
const ENOUGH: u64 = 64 * 1024 * 1024;

/// What a peer managed to send.
#[derive(Default)]
struct Sent {
    bytes: AtomicU64,
    refused: Notify,
}

/// Answers with `head`, then sends what `next` gives until the connection is closed or `ENOUGH` was sent.
async fn flood(head: &'static str, next: fn(u64) -> Vec<u8>) -> (Fake, Arc<Sent>) {
    let sent = Arc::new(Sent::default());
    let counted = sent.clone();
    let peer = fake(move |mut stream| {
        let sent = counted.clone();
        async move {
            request(&mut stream).await?;
            stream.write_all(head.as_bytes()).await?;
            let mut n = 0;
            while sent.bytes.load(Ordering::Relaxed) < ENOUGH {
                let piece = next(n);
                if stream.write_all(&piece).await.is_err() {
                    sent.refused.notify_one();
                    return Ok(());
                }
                sent.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                n += 1;
            }
            Ok(())
        }
    })
    .await;
    (peer, sent)
}

/// The error of a run against that flood, after the peer was cut off.
async fn cut_off(head: &'static str, next: fn(u64) -> Vec<u8>) -> Error {
    let (peer, sent) = flood(head, next).await;
    let error = fails(&peer, basic).await;
    timeout(LIMIT, sent.refused.notified()).await.unwrap();
    let bytes = sent.bytes.load(Ordering::Relaxed);
    assert!(bytes < ENOUGH / 2, "{bytes} bytes were taken");
    assert_eq!(error.effect(), Effect::None, "{error:?}");
    error
}

fn during_create(error: &Error) -> bool {
    matches!(
        error,
        Error::ConnectionLost {
            during: Stage::Create,
            ..
        } | Error::Protocol {
            during: Stage::Create,
            ..
        }
    )
}

#[tokio::test]
async fn endless_headers_end_the_connection() {
    let error = cut_off("HTTP/1.1 200 \r\n", |n| format!("X-{n}: y\r\n").into_bytes()).await;
    assert!(error.code() == "connection_lost", "{error:?}");
}

#[tokio::test]
async fn one_endless_header_ends_the_connection() {
    let error = cut_off("HTTP/1.1 200 \r\nX: ", |_| vec![b'y'; 4_096]).await;
    assert!(error.code() == "connection_lost", "{error:?}");
}

#[tokio::test]
async fn an_endless_status_line_ends_the_connection() {
    let error = cut_off("HTTP/1.1 200 ", |_| vec![b'y'; 4_096]).await;
    assert!(error.code() == "connection_lost", "{error:?}");
}

#[tokio::test]
async fn more_headers_than_sixty_four_end_the_connection() {
    let peer = fake(|mut stream| async move {
        request(&mut stream).await?;
        let many: String = (0..65).map(|n| format!("X-{n}: y\r\n")).collect();
        answer(&mut stream, "200 ", &many, "").await
    })
    .await;
    let error = fails(&peer, basic).await;
    assert!(error.code() == "connection_lost", "{error:?}");
}

#[tokio::test]
async fn an_endless_body_is_left_at_the_limit() {
    let head = "HTTP/1.1 200 \r\nContent-Type: application/soap+xml\r\n\r\n";
    let error = cut_off(head, |_| vec![b'a'; 65_536]).await;
    assert!(error.to_string().contains("larger than allowed"), "{error}");
}

#[tokio::test]
async fn endless_chunks_of_one_byte_are_left_long_before_the_limit() {
    let head = "HTTP/1.1 200 \r\nContent-Type: application/soap+xml\r\nTransfer-Encoding: chunked\r\n\r\n";
    let error = cut_off(head, |_| b"1\r\na\r\n".repeat(4_096)).await;
    assert!(error.to_string().contains("too many pieces"), "{error}");
}

#[tokio::test]
async fn endless_chunk_extensions_and_trailers_end_the_connection() {
    let head =
        "HTTP/1.1 200 \r\nContent-Type: application/soap+xml\r\nTransfer-Encoding: chunked\r\n\r\n1;x=";
    let error = cut_off(head, |_| vec![b'y'; 4_096]).await;
    assert!(during_create(&error), "{error:?}");
    let head = "HTTP/1.1 200 \r\nContent-Type: application/soap+xml\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n";
    let error = cut_off(head, |n| format!("X-{n}: y\r\n").into_bytes()).await;
    assert!(during_create(&error), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_announces_too_much_is_not_waited_for() {
    let peer = fake(|mut stream| async move {
        request(&mut stream).await?;
        let head =
            "HTTP/1.1 200 \r\nContent-Type: application/soap+xml\r\nContent-Length: 1073741824\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        // Not a byte more: whoever believes the announcement waits for its deadline.
        still_open(&mut stream).await
    })
    .await;
    let error = fails(&peer, basic).await;
    assert!(error.to_string().contains("larger than allowed"), "{error}");
}

#[tokio::test]
async fn lengths_that_are_none_end_the_connection() {
    for length in ["-1", "18446744073709551616", "1e9", "0x10", "5, 6", ""] {
        let peer = fake(move |mut stream| async move {
            request(&mut stream).await?;
            let head =
                format!("HTTP/1.1 200 \r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n<a/>");
            stream.write_all(head.as_bytes()).await?;
            still_open(&mut stream).await
        })
        .await;
        let error = fails(&peer, basic).await;
        assert!(error.code() == "connection_lost", "{length:?}: {error:?}");
    }
}

#[tokio::test]
async fn endless_interim_answers_end_at_the_deadline() {
    let (peer, _) = flood("", |_| b"HTTP/1.1 100 Continue\r\n\r\n".repeat(64)).await;
    ends_at_the_deadline(&peer).await;
}

#[tokio::test]
async fn the_deadline_holds_against_a_body_that_drips() {
    let peer = fake(|mut stream| async move {
        request(&mut stream).await?;
        let head = "HTTP/1.1 200 \r\nContent-Type: application/soap+xml\r\nContent-Length: 60000\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        loop {
            stream.write_all(b"a").await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    ends_at_the_deadline(&peer).await;
}

async fn ends_at_the_deadline(peer: &Fake) {
    let client = Client::new({
        let mut settings = settings(peer.address);
        basic(&mut settings);
        settings
    })
    .unwrap();
    let error = timeout(LIMIT, client.run(&Command::new("x.exe"), SHORT))
        .await
        .unwrap();
    let error = error.unwrap_err();
    assert!(matches!(error, Error::DeadlineExpired { .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_before_the_question_is_not_taken() {
    let peer = fake(|mut stream| async move {
        answer(
            &mut stream,
            "200 ",
            "Content-Type: application/soap+xml\r\n",
            "<a/>",
        )
        .await?;
        still_open(&mut stream).await
    })
    .await;
    let error = fails(&peer, basic).await;
    assert_eq!(error.effect(), Effect::None, "{error:?}");
}

#[tokio::test]
async fn tokens_that_are_huge_or_no_base64_are_refused() {
    for token in [
        "A".repeat(60_000),
        "!".repeat(60_000),
        "TlRMTVNTUAACAAAA".into(),
        "oYT/////".into(),
    ] {
        for scheme in ["Negotiate", "NTLM"] {
            let header = format!("WWW-Authenticate: {scheme} {token}\r\n");
            let peer = fake(move |mut stream| {
                let header = header.clone();
                async move {
                    loop {
                        request(&mut stream).await?;
                        answer(&mut stream, "401 ", &header, "").await?;
                    }
                }
            })
            .await;
            let error = fails(&peer, |_| {}).await;
            assert!(
                matches!(
                    error,
                    Error::Protocol {
                        during: Stage::Handshake,
                        ..
                    }
                ),
                "{scheme}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_peer_that_always_wants_another_handshake_gets_few() {
    let peer = fake(|mut stream| async move {
        loop {
            request(&mut stream).await?;
            answer(
                &mut stream,
                "401 ",
                "WWW-Authenticate: Negotiate, NTLM, Basic realm=\"x\"\r\n",
                "",
            )
            .await?;
        }
    })
    .await;
    let client = Client::new(settings(peer.address)).unwrap();
    let error = timeout(LIMIT, client.run(&Command::new("x.exe"), LIMIT))
        .await
        .unwrap();
    assert_eq!(error.unwrap_err().code(), "unauthorized");
    let stats = client.stats();
    assert!(stats.requests <= 4 && stats.connections <= 2, "{stats:?}");
}

#[tokio::test]
async fn a_peer_that_hangs_up_at_once_is_not_called_for_ever() {
    let peer = fake(|stream| async move {
        drop(stream);
        Ok(())
    })
    .await;
    let client = Client::new(settings(peer.address)).unwrap();
    let error = timeout(LIMIT, client.run(&Command::new("x.exe"), LIMIT))
        .await
        .unwrap();
    assert_eq!(error.unwrap_err().effect(), Effect::None);
    let stats = client.stats();
    assert!(stats.connections <= 4, "{stats:?}");
}

#[tokio::test]
async fn levels_of_xml_cannot_be_allowed_without_bound() {
    let mut settings: Settings = settings("127.0.0.1:9".parse().unwrap());
    settings.limits.xml_depth = 257;
    let refused = Client::new(settings).unwrap_err();
    assert!(
        matches!(
            refused,
            SettingsError::LimitTooHigh {
                name: "xml_depth",
                most: 256,
                ..
            }
        ),
        "{refused:?}"
    );
}

/// Waits until the other side hangs up.
async fn still_open(stream: &mut TcpStream) -> io::Result<()> {
    let mut sink = [0; 1_024];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}
