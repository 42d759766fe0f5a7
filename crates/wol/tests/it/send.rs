use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;
use wol::{MacAddr, MagicPacket, SecureOn, SendError, Target, Via, send};

const LONGEST_WAIT: Duration = Duration::from_secs(20);

fn a_packet() -> MagicPacket {
    MagicPacket::new("02:00:00:00:00:07".parse::<MacAddr>().expect("a valid address"))
}

/// A receiver for everything that comes to its port.
async fn a_receiver() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .await
        .expect("bind a receiver");
    let port = socket.local_addr().expect("a bound socket").port();
    (socket, port)
}

async fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let arrival = timeout(LONGEST_WAIT, socket.recv_from(&mut buffer)).await;
    let (length, from) = arrival.expect("nothing arrived").expect("receive");
    (buffer[..length].to_vec(), from)
}

fn to(broadcast: [u8; 4], port: u16, via: Via) -> Target {
    Target {
        broadcast: broadcast.into(),
        port,
        via,
    }
}

#[tokio::test]
async fn a_unicast_packet_arrives_byte_for_byte() {
    let (receiver, port) = a_receiver().await;
    let packet = a_packet().with_secure_on(SecureOn::six([1, 2, 3, 4, 5, 6]));
    let sent = send(&packet, &to([127, 0, 0, 1], port, Via::Routing))
        .await
        .unwrap();
    let (bytes, from) = received(&receiver).await;
    assert_eq!(bytes, packet.as_bytes());
    assert_eq!(MagicPacket::find_in(&bytes, &packet.mac()), Some(packet));
    assert_eq!(
        (sent.bytes, sent.from, sent.interface.as_deref()),
        (108, from, Some("lo"))
    );
    assert_eq!(sent.to, SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(
        sent.to_string(),
        format!("108 bytes to 127.0.0.1:{port} by lo (127.0.0.1)")
    );
}

#[tokio::test]
async fn a_directed_broadcast_arrives() {
    let (receiver, port) = a_receiver().await;
    let sent = send(&a_packet(), &to([127, 255, 255, 255], port, Via::Routing))
        .await
        .unwrap();
    assert_eq!(received(&receiver).await.0, a_packet().as_bytes());
    assert_eq!(sent.bytes, 102);
    assert!(sent.from.ip().is_loopback());
}

#[tokio::test]
async fn a_packet_leaves_by_the_interface_asked_for() {
    let (receiver, port) = a_receiver().await;
    let via = Via::Interface("lo".to_owned());
    let sent = send(&a_packet(), &to([127, 0, 0, 1], port, via)).await.unwrap();
    assert_eq!(
        received(&receiver).await,
        (a_packet().as_bytes().to_vec(), sent.from)
    );
    assert_eq!(sent.interface.as_deref(), Some("lo"));
}

#[tokio::test]
async fn a_packet_leaves_from_the_address_asked_for() {
    let (receiver, port) = a_receiver().await;
    let via = Via::Source(Ipv4Addr::new(127, 0, 0, 9));
    let sent = send(&a_packet(), &to([127, 0, 0, 1], port, via)).await.unwrap();
    let (_, from) = received(&receiver).await;
    assert_eq!(from.ip(), IpAddr::from([127, 0, 0, 9]));
    assert_eq!((sent.from, sent.interface.as_deref()), (from, Some("lo")));
}

#[tokio::test]
async fn a_wrong_interface_is_named() {
    for name in ["no-such-if0", "", "a-name-longer-than-the-kernel-takes", "lo\0x"] {
        let via = Via::Interface(name.to_owned());
        let error = send(&a_packet(), &to([127, 0, 0, 1], 9, via)).await.unwrap_err();
        assert!(
            matches!(&error, SendError::NoSuchInterface { name: told } if told == name),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_foreign_source_address_is_named() {
    let foreign = Ipv4Addr::new(192, 0, 2, 7);
    let error = send(&a_packet(), &to([127, 0, 0, 1], 9, Via::Source(foreign)))
        .await
        .unwrap_err();
    assert!(
        matches!(error, SendError::NotOurAddress { address } if address == foreign),
        "{error:?}"
    );
    assert!(error.to_string().contains("192.0.2.7"));
}

#[tokio::test]
async fn an_address_no_packet_can_have_is_refused() {
    for (address, port) in [([127, 0, 0, 1], 0), ([0, 0, 0, 0], 9), ([224, 0, 0, 1], 9)] {
        let error = send(&a_packet(), &to(address, port, Via::Routing))
            .await
            .unwrap_err();
        assert!(matches!(error, SendError::Unaddressable { .. }), "{error:?}");
    }
}
