//! Every fault can be seen from outside.

use std::time::Duration;

use host_sim::{At, Fault, SimHost};
use tokio::time::{Instant, timeout};

use crate::client::{Call, Client, LIMIT, between, command, create, plain, receive, received, signal, start};

/// Long enough to call a silence a hang: every answer here comes within milliseconds.
const SILENCE: Duration = Duration::from_millis(300);

/// Walks through the life of a shell up to this message and gives what became of it; `None` if no answer came in time.
async fn walk_to(host: &SimHost, at: At, limit: Duration) -> Option<hyper::Result<u16>> {
    let status = |reply: hyper::Result<crate::client::Reply>| reply.map(|r| r.status);
    let mut client = Client::connect(host).await.unwrap();
    match at {
        At::Connect | At::MidBody | At::Create | At::CreateAnswer => {
            return timeout(limit, client.send(&create())).await.ok().map(status);
        }
        At::Identify => {
            let anonymous = [("wsmanidentify", "unauthenticated")];
            return timeout(limit, client.request("/wsman", &anonymous, String::new()))
                .await
                .ok()
                .map(status);
        }
        At::Negotiate => {
            let first = [(
                "authorization",
                "Negotiate TlRMTVNTUAABAAAAN4II4gAAAAAAAAAAAAAAAAAAAAA=",
            )];
            return timeout(limit, client.request("/wsman", &first, String::new()))
                .await
                .ok()
                .map(status);
        }
        _ => {}
    }
    let shell = client.create().await;
    if matches!(at, At::Command | At::CommandAnswer) {
        return timeout(limit, client.send(&command(&shell, "hostname")))
            .await
            .ok()
            .map(status);
    }
    let id = client.command(&shell, "hostname").await;
    let call = match at {
        At::Receive | At::ReceiveAnswer => receive(&shell, &id),
        At::Signal => signal(&shell, &id, "terminate"),
        At::Delete => Call::new("Delete", Some(&shell), ""),
        At::Get => Call::new("Get", Some(&shell), ""),
        At::Send => {
            let body =
                format!("<r:Send><r:Stream Name=\"stdin\" CommandId=\"{id}\">YQ==</r:Stream></r:Send>");
            Call::new("Send", Some(&shell), body)
        }
        At::Enumerate => Call {
            action: "http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate".into(),
            ..Call::new("Get", None, "<n:Enumerate/>")
        },
        other => panic!("no walk to {other:?}"),
    };
    timeout(limit, client.send(&call)).await.ok().map(status)
}

const PLACES: [At; 14] = [
    At::Connect,
    At::Negotiate,
    At::Identify,
    At::Create,
    At::CreateAnswer,
    At::Command,
    At::CommandAnswer,
    At::Receive,
    At::ReceiveAnswer,
    At::Send,
    At::Signal,
    At::Delete,
    At::Get,
    At::Enumerate,
];

#[tokio::test]
async fn a_reset_strikes_at_the_message_it_is_set_for() {
    let (_farm, host) = start(plain("a")).await;
    for at in PLACES.into_iter().chain([At::MidBody]) {
        host.set_fault_times(Fault::Reset(at), 1);
        assert!(matches!(walk_to(&host, at, LIMIT).await, Some(Err(_))), "{at:?}");
        assert!(
            matches!(walk_to(&host, at, LIMIT).await, Some(Ok(_))),
            "{at:?} afterwards"
        );
    }
}

#[tokio::test]
async fn a_hang_strikes_at_the_message_it_is_set_for() {
    let (_farm, host) = start(plain("a")).await;
    for at in PLACES.into_iter().chain([At::MidBody]) {
        host.set_fault_times(Fault::Hang(at), 1);
        assert!(walk_to(&host, at, SILENCE).await.is_none(), "{at:?}");
    }
    assert!(matches!(walk_to(&host, At::Create, LIMIT).await, Some(Ok(200))));
}

#[tokio::test]
async fn a_lost_answer_leaves_its_effect() {
    let (_farm, host) = start(plain("a")).await;
    for (at, shells, commands) in [
        (At::Create, 0, 0),
        (At::CreateAnswer, 1, 0),
        (At::Command, 2, 0),
        (At::CommandAnswer, 3, 1),
    ] {
        host.set_fault_times(Fault::Reset(at), 1);
        walk_to(&host, at, LIMIT).await;
        let counts = host.counts();
        assert_eq!(
            (counts.shells_created, counts.commands),
            (shells, commands),
            "{at:?}"
        );
    }
}

#[tokio::test]
async fn the_bytes_of_a_lost_answer_are_gone() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    let id = client.command(&shell, "hostname").await;
    host.set_fault_times(Fault::Reset(At::ReceiveAnswer), 1);
    assert!(client.send(&receive(&shell, &id)).await.is_err());
    let mut client = Client::connect(&host).await.unwrap();
    assert_eq!(
        client.send(&receive(&shell, &id)).await.unwrap().fault(),
        Some(2_150_858_843)
    );
}

#[tokio::test]
async fn answers_can_be_faults_on_demand() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    host.set_fault_times(Fault::AccessDenied, 1);
    assert_eq!(client.send(&create()).await.unwrap().fault(), Some(5));
    host.set_fault_times(Fault::FaultCode(995, At::Create), 1);
    assert_eq!(client.send(&create()).await.unwrap().fault(), Some(995));
    host.set_fault_times(Fault::Http503 { retry_after: Some(7) }, 1);
    let reply = client.send(&create()).await.unwrap();
    assert_eq!(
        (reply.status, reply.headers["retry-after"].to_str().unwrap()),
        (503, "7")
    );
    assert_eq!(client.send(&create()).await.unwrap().status, 200);
}

#[tokio::test]
async fn answers_can_be_broken_or_huge() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    host.set_fault_times(Fault::MalformedXml, 1);
    let reply = client.send(&create()).await.unwrap();
    assert!(reply.body.ends_with("<broken"), "{}", reply.body);
    host.set_fault_times(Fault::HugeXml(5_000_000), 1);
    let reply = client.send(&create()).await.unwrap();
    assert!(reply.body.len() >= 5_000_000 && reply.body.ends_with("</s:Envelope>"));
}

#[tokio::test]
async fn a_dripping_answer_comes_a_byte_at_a_time() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    host.set_fault(Fault::Drip {
        every: Duration::from_millis(1),
    });
    let before = Instant::now();
    let reply = client.request("/wsman", &[], String::new()).await.unwrap();
    assert_eq!(reply.status, 200);
    // At least the status line and the headers, a byte per millisecond.
    assert!(
        before.elapsed() > Duration::from_millis(80),
        "{:?}",
        before.elapsed()
    );
    host.clear_faults();
    let reply = client.send(&create()).await.unwrap();
    assert!(between(&reply.body, "<rsp:ShellId>", "<").is_some());
    assert_eq!(received(&reply).done, None);
}
