use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use wol::{Echo, PingError, Pinger, TcpProbe, tcp_reachable};

const PATIENT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_listening_port_is_open() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let probe = tcp_reachable(listener.local_addr().unwrap(), PATIENT).await;
    assert!(matches!(probe, TcpProbe::Open { .. }), "{probe}");
    assert!(probe.is_open() && probe.answered());
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    // Bound but not listening, so that nobody else gets the port meanwhile.
    let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    holder
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    let address = holder.local_addr().unwrap().as_socket().unwrap();
    let probe = tcp_reachable(address, PATIENT).await;
    assert!(matches!(probe, TcpProbe::Refused { .. }), "{probe}");
    assert!(!probe.is_open() && probe.answered());
}

#[tokio::test]
async fn a_port_that_never_answers_is_silent() {
    // A listener that accepts nothing drops what goes beyond its queue.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut probes = Vec::new();
    for _ in 0..8 {
        probes.push(tcp_reachable(address, Duration::from_millis(300)).await);
        if probes.last() == Some(&TcpProbe::Silent) {
            return;
        }
    }
    panic!("never silent: {probes:?}");
}

#[tokio::test]
async fn loopback_answers_an_echo_where_icmp_is_permitted() {
    let pinger = match Pinger::new() {
        Ok(pinger) => pinger,
        Err(error) => {
            assert!(matches!(error, PingError::NotPermitted { .. }), "{error:?}");
            assert!(error.to_string().contains("not permitted"));
            return;
        }
    };
    let echo = pinger.echo(IpAddr::V4(Ipv4Addr::LOCALHOST), PATIENT).await;
    assert!(matches!(echo, Echo::Reply { .. }), "{echo:?}");
}

#[tokio::test]
async fn many_echoes_at_once_are_all_answered() {
    let Ok(pinger) = Pinger::new() else { return };
    let mut echoes = tokio::task::JoinSet::new();
    for host in 1..=250 {
        let pinger = pinger.clone();
        echoes.spawn(async move { pinger.echo(IpAddr::from([127, 0, 3, host]), PATIENT).await });
    }
    let outcomes = echoes.join_all().await;
    let replies = outcomes
        .iter()
        .filter(|echo| matches!(echo, Echo::Reply { .. }))
        .count();
    assert_eq!(replies, 250, "{outcomes:?}");
}
