//! Against peers that hang, drip, lie or are not what they seem.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;
use winrm_transport::{
    AllowedNetworks, AuthMethod, Client, Command, Effect, Endpoint, Error, LostBecause, Stage, Trust,
};

use crate::fake::{LIMIT, SHORT, answer, basic, fails, fake, request, settings};

#[tokio::test]
async fn the_deadline_holds_against_a_peer_that_says_nothing() {
    let silent = fake(|mut stream| async move {
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        Ok(())
    })
    .await;
    let client = Client::new(settings(silent.address)).unwrap();
    let error = client.run(&Command::new("x.exe"), SHORT).await.unwrap_err();
    let Error::DeadlineExpired {
        during, ref partial, ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(
        (during, error.effect(), partial.is_none()),
        (Stage::Handshake, Effect::None, true)
    );
    let error = client.identify(SHORT).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::DeadlineExpired {
                during: Stage::Identify,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_deadline_holds_against_a_peer_that_drips() {
    let dripping = fake(|mut stream| async move {
        request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 401 \r\nX: ").await?;
        loop {
            stream.write_all(b"x").await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let client = Client::new(settings(dripping.address)).unwrap();
    let error = client.run(&Command::new("x.exe"), SHORT).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::DeadlineExpired {
                during: Stage::Handshake,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_deadline_holds_against_a_tls_peer_that_says_nothing() {
    let silent = fake(|mut stream| async move {
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        Ok(())
    })
    .await;
    let mut settings = settings(silent.address);
    settings.endpoint = Endpoint::https("127.0.0.1", silent.address.port());
    settings.trust = Trust::PinnedSha256([0; 32]);
    let error = Client::new(settings)
        .unwrap()
        .run(&Command::new("x.exe"), SHORT)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::DeadlineExpired {
                during: Stage::Tls,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_queued_call_gives_up_at_its_own_deadline() {
    let silent = fake(|mut stream| async move {
        request(&mut stream).await?;
        std::future::pending().await
    })
    .await;
    let client = Client::new(settings(silent.address)).unwrap();
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.run(&Command::new("x.exe"), LIMIT).await }
    });
    while client.stats().requests == 0 {
        tokio::task::yield_now().await;
    }
    let error = client.run(&Command::new("x.exe"), SHORT).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::DeadlineExpired {
                during: Stage::Queue,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.effect(), Effect::None);
    first.abort();
}

#[tokio::test]
async fn statuses_are_told_apart() {
    for (status, more, body, code) in [
        ("404 ", "", "", "not_winrm"),
        (
            "200 OK",
            "Content-Type: text/html\r\n",
            "<html></html>",
            "not_winrm",
        ),
        ("503 ", "Retry-After: 7\r\n", "", "service_unavailable"),
        ("500 ", "", "", "protocol"),
        ("413 ", "", "", "protocol"),
        ("302 ", "Location: http://127.0.0.1:1/\r\n", "", "not_winrm"),
        (
            "200 ",
            "Content-Type: application/soap+xml\r\n",
            "<a>",
            "protocol",
        ),
        (
            "200 ",
            "Content-Type: application/soap+xml\r\n",
            "<!DOCTYPE a><a/>",
            "protocol",
        ),
        (
            "401 ",
            "WWW-Authenticate: Negotiate, Kerberos\r\n",
            "",
            "unauthorized",
        ),
    ] {
        let peer = fake(move |mut stream| async move {
            loop {
                request(&mut stream).await?;
                answer(&mut stream, status, more, body).await?;
            }
        })
        .await;
        let error = fails(&peer, basic).await;
        assert_eq!(
            (error.code(), error.effect()),
            (code, Effect::None),
            "{status}: {error:?}"
        );
        if let Error::ServiceUnavailable { retry_after, .. } = error {
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
        }
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = elsewhere.local_addr().unwrap();
    for status in [301, 302, 303, 307, 308] {
        let peer = fake(move |mut stream| async move {
            let location = format!("Location: http://{target}/wsman\r\n");
            loop {
                request(&mut stream).await?;
                answer(&mut stream, &format!("{status} "), &location, "").await?;
            }
        })
        .await;
        for change in [basic, |_: &mut _| ()] {
            let error = fails(&peer, change).await;
            assert_eq!(
                (error.code(), error.effect()),
                ("not_winrm", Effect::None),
                "{status}"
            );
        }
    }
    let elsewhere = elsewhere.into_std().unwrap();
    let came = elsewhere.accept().map_err(|error| error.kind());
    assert_eq!(
        came.map(drop),
        Err(io::ErrorKind::WouldBlock),
        "somebody was sent there"
    );
}

#[tokio::test]
async fn the_time_for_one_answer_does_not_start_anew_with_each_byte() {
    let dripping = fake(|mut stream| async move {
        request(&mut stream).await?;
        stream
            .write_all(
                b"HTTP/1.1 200 \r\nContent-Type: application/soap+xml\r\nContent-Length: 60000\r\n\r\n",
            )
            .await?;
        loop {
            stream.write_all(b"<").await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let begun = Instant::now();
    let error = fails(&dripping, |settings| {
        basic(settings);
        settings.timeouts.operation = Duration::from_secs(1);
        settings.timeouts.answer_grace = Duration::from_secs(1);
    })
    .await;
    let Error::ConnectionLost {
        during: Stage::Create,
        source: LostBecause::Silence { waited },
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(waited, Duration::from_secs(2));
    assert!(begun.elapsed() < LIMIT, "long before the deadline of the call");
}

#[tokio::test]
async fn a_huge_answer_is_not_read_to_its_end() {
    let huge = fake(|mut stream| async move {
        request(&mut stream).await?;
        stream
            .write_all(
                b"HTTP/1.1 200 \r\nContent-Type: application/soap+xml\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .await?;
        loop {
            stream
                .write_all(format!("10000\r\n{}\r\n", "a".repeat(65_536)).as_bytes())
                .await?;
        }
    })
    .await;
    let error = fails(&huge, basic).await;
    assert!(error.to_string().contains("larger than allowed"), "{error}");
}

#[tokio::test]
async fn basic_over_plain_http_is_refused_before_anything_is_dialled() {
    let client = Client::new({
        let mut settings = settings("127.0.0.1:9".parse().unwrap());
        settings.auth = AuthMethod::Basic;
        settings
    })
    .unwrap();
    let error = client.run(&Command::new("x.exe"), LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::InsecureBasicRefused), "{error:?}");
    assert_eq!(client.stats().connections, 0);
}

#[tokio::test]
async fn an_address_outside_of_the_allowed_networks_is_not_dialled() {
    let peer = fake(|_| async { Ok(()) }).await;
    let mut settings = settings(peer.address);
    settings.allowed_networks = AllowedNetworks::Only(vec!["10.0.0.0/8".parse().unwrap()]);
    let client = Client::new(settings).unwrap();
    let error = client.run(&Command::new("x.exe"), LIMIT).await.unwrap_err();
    assert!(
        matches!(error, Error::AddressNotAllowed { address } if address == peer.address),
        "{error:?}"
    );
    assert_eq!(client.stats().connections, 0);
}

#[tokio::test]
async fn a_closed_port_is_a_connect_error_that_names_the_address() {
    // Bound but not listening, so that nobody else gets the port meanwhile.
    let holder = TcpSocket::new_v4().unwrap();
    holder.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = holder.local_addr().unwrap();
    let client = Client::new(settings(address)).unwrap();
    let error = client.run(&Command::new("x.exe"), LIMIT).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(error.is_transient());
    assert_eq!((error.code(), error.effect()), ("connect", Effect::None));
}

#[tokio::test]
async fn an_authenticator_that_drops_sealing_is_refused() {
    use base64::Engine as _;
    // A challenge with UNICODE, extended session security and 128 bit, but without SIGN, SEAL and KEY_EXCH.
    let mut challenge = b"NTLMSSP\0\x02\0\0\0\0\0\0\0\x38\0\0\0".to_vec();
    challenge.extend(0x2208_8201_u32.to_le_bytes());
    challenge.extend([7; 8]);
    challenge.extend([0; 8]);
    challenge.extend([0, 0, 0, 0, 0x38, 0, 0, 0]);
    challenge.extend([0; 8]);
    let header = format!(
        "WWW-Authenticate: Negotiate {}\r\n",
        base64::engine::general_purpose::STANDARD.encode(challenge)
    );
    let weak = fake(move |mut stream| {
        let header = header.clone();
        async move {
            request(&mut stream).await?;
            answer(&mut stream, "401 ", &header, "").await?;
            let third = request(&mut stream).await;
            assert!(third.is_err(), "an answer was given to a weakened challenge");
            Ok(())
        }
    })
    .await;
    let error = fails(&weak, |settings| settings.auth = AuthMethod::Ntlm).await;
    assert!(
        matches!(
            error,
            Error::Downgrade {
                during: Stage::Handshake,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_answer_to_another_request_is_not_taken() {
    let stray = fake(|mut stream| async move {
        request(&mut stream).await?;
        let body = "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope' \
            xmlns:a='http://schemas.xmlsoap.org/ws/2004/08/addressing'><s:Header><a:RelatesTo>uuid:0</a:RelatesTo>\
            </s:Header><s:Body/></s:Envelope>";
        answer(&mut stream, "200 ", "Content-Type: application/soap+xml\r\n", body).await?;
        // The connection is of no use any more.
        let closed = stream.read(&mut [0; 1]).await;
        assert!(!matches!(closed, Ok(1)));
        Ok(())
    })
    .await;
    let error = fails(&stray, basic).await;
    assert!(
        error.to_string().contains("relates to another request"),
        "{error}"
    );
}
