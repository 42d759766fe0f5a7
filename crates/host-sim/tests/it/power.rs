//! A machine sleeps, boots, reboots and goes down.

use std::net::SocketAddr;
use std::time::Duration;

use host_sim::{
    BootTimes, Cause, EffectKind, Farm, FarmOptions, Fault, HostSpec, PowerState, SimHost, addresses,
};
use tokio::net::{TcpStream, UdpSocket};

use crate::client::{Call, Client, LIMIT, PROGRAM, command, plain, start};

fn asleep(name: &str) -> HostSpec {
    HostSpec {
        awake_at_start: false,
        ..plain(name)
    }
}

fn packet(mac: [u8; 6]) -> Vec<u8> {
    let mut bytes = vec![0xFF; 6];
    bytes.extend(mac.repeat(16));
    bytes
}

async fn send(to: impl Into<SocketAddr>, payload: &[u8]) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(payload, to.into()).await.unwrap();
}

async fn wake(host: &SimHost) {
    send((host.address(), host.wol_port()), &packet(host.mac())).await;
    assert!(host.wait_for(PowerState::Ready, LIMIT).await);
}

/// Waits until a condition holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

fn kinds(host: &SimHost) -> Vec<EffectKind> {
    host.effects().into_iter().map(|e| e.what).collect()
}

#[tokio::test]
async fn only_a_valid_packet_for_its_card_wakes_a_sleeping_host() {
    let mut spec = asleep("a");
    spec.secure_on = Some([1, 2, 3, 4, 5, 6]);
    let (_farm, host) = start(spec).await;
    let to = SocketAddr::from((host.address(), host.wol_port()));
    assert_eq!(
        TcpStream::connect((host.address(), host.http_port()))
            .await
            .unwrap_err()
            .kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    send(to, b"nonsense").await;
    send(to, &packet([2, 0, 0, 0, 0, 2])).await;
    send(to, &packet(host.mac())).await;
    until("three packets seen", || host.counts().packets_invalid == 3).await;
    assert_eq!((host.power(), host.boots()), (PowerState::Off, 0));
    send(to, &[packet(host.mac()), vec![1, 2, 3, 4, 5, 6]].concat()).await;
    assert!(host.wait_for(PowerState::Ready, LIMIT).await);
    assert_eq!((host.boots(), host.counts().packets_valid), (1, 1));
    let order: Vec<_> = kinds(&host).into_iter().skip(4).collect();
    let cause = Cause::MagicPacket;
    assert_eq!(
        order,
        [
            EffectKind::PoweredOn { cause },
            EffectKind::PortOpened,
            EffectKind::Ready
        ]
    );
}

#[tokio::test]
async fn a_broadcast_reaches_the_host_with_its_mac() {
    let blocks = addresses::block(2);
    let specs = (0..2_u8)
        .map(|n| HostSpec::new(format!("h{n}"), blocks[usize::from(n)], [2, 0, 0, 0, 0, n]))
        .collect();
    let options = FarmOptions {
        broadcast: Some("127.0.0.1:0".parse().unwrap()),
        ..Default::default()
    };
    let farm = Farm::start(specs, options).await.unwrap();
    send(farm.broadcast_address().unwrap(), &packet([2, 0, 0, 0, 0, 1])).await;
    assert!(farm.host("h1").unwrap().wait_for(PowerState::Ready, LIMIT).await);
    assert_eq!(farm.host("h0").unwrap().power(), PowerState::Off);
    assert_eq!(farm.host("h0").unwrap().counts().packets_invalid, 0);
}

#[tokio::test]
async fn an_open_port_first_resets_then_is_unavailable_then_serves_an_old_heartbeat() {
    let mut spec = asleep("a");
    spec.boot.ready_after_port = Duration::from_secs(9)..Duration::from_millis(9001);
    let (_farm, host) = start(spec).await;
    host.power_on();
    assert!(host.wait_for(PowerState::Opening, LIMIT).await);
    let mut seen = Vec::new();
    let watched = tokio::time::timeout(LIMIT, async {
        while host.power() == PowerState::Opening {
            let reply = match Client::connect(&host).await {
                Ok(mut client) => client
                    .request("/wsman", &[], String::new())
                    .await
                    .map_or(0, |r| r.status),
                Err(_) => 0,
            };
            if seen.last() != Some(&reply) {
                seen.push(reply);
                if reply == 200 {
                    let mut client = Client::connect(&host).await.unwrap();
                    let shell = client.create().await;
                    let line = format!("cmd /c type {}", host_sim::paths::HEARTBEAT);
                    assert_eq!(
                        client.run(&shell, &line).await.0,
                        1,
                        "no heartbeat before the first service start"
                    );
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    watched.await.unwrap();
    assert_eq!(seen, [0, 503, 200]);
}

#[tokio::test]
async fn an_ordered_reboot_gives_a_new_boot_time_and_kills_shells_and_connections() {
    let (_farm, host) = start(plain("a")).await;
    let port = host.http_port();
    let first_boot = host.booted_at().unwrap();
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    let (code, ..) = client
        .run(
            &shell,
            &format!("{PROGRAM} release-session --reboot --reboot-timeout=5"),
        )
        .await;
    assert_eq!(code, 1);
    assert!(host.wait_for(PowerState::Booting, LIMIT).await);
    assert!(client.send(&command(&shell, "hostname")).await.is_err());
    assert!(host.wait_for(PowerState::Ready, LIMIT).await);
    assert_eq!((host.boots(), host.http_port()), (2, port));
    assert!(host.booted_at().unwrap() > first_boot);
    assert!(kinds(&host).contains(&EffectKind::Rebooted {
        cause: Cause::Command
    }));
    let mut client = Client::connect(&host).await.unwrap();
    assert_eq!(
        client.send(&command(&shell, "hostname")).await.unwrap().fault(),
        Some(2_150_858_843)
    );
    assert_eq!(host.counts().open_shells, 0);
}

#[tokio::test]
async fn a_shutdown_closes_the_port_and_a_packet_wakes_again() {
    let (_farm, host) = start(plain("a")).await;
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    assert_eq!(
        client
            .run(&shell, &format!("{PROGRAM} power shutdown --delay=1"))
            .await
            .0,
        0
    );
    assert!(host.wait_for(PowerState::Off, LIMIT).await);
    assert!(
        TcpStream::connect((host.address(), host.http_port()))
            .await
            .is_err()
    );
    let off = EffectKind::PoweredOff {
        cause: Cause::Command,
        hibernated: false,
    };
    assert!(kinds(&host).contains(&off));
    wake(&host).await;
    assert_eq!(host.boots(), 2);
}

#[tokio::test]
async fn a_hibernated_host_keeps_its_boot_time_and_its_shells() {
    let (_farm, host) = start(plain("a")).await;
    let booted_at = host.booted_at();
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    client
        .send(&command(&shell, &format!("{PROGRAM} power hibernate")))
        .await
        .unwrap();
    assert!(host.wait_for(PowerState::Off, LIMIT).await);
    assert!(host.is_hibernated());
    wake(&host).await;
    assert_eq!((host.boots(), host.booted_at()), (1, booted_at));
    let mut client = Client::connect(&host).await.unwrap();
    assert_eq!(
        client.send(&command(&shell, "hostname")).await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn power_faults_are_seen() {
    let (_farm, host) = start(asleep("a")).await;
    host.set_fault(Fault::NeverBoots);
    host.power_on();
    assert!(host.wait_for(PowerState::Booting, LIMIT).await);
    assert!(!host.wait_for(PowerState::Opening, Duration::from_secs(1)).await);
    host.power_off();
    assert!(host.wait_for(PowerState::Off, LIMIT).await);

    host.clear_faults();
    host.set_fault(Fault::BootsTwice);
    host.power_on();
    assert!(host.wait_for(PowerState::Ready, LIMIT).await);
    assert_eq!(host.boots(), 2);
    assert!(kinds(&host).contains(&EffectKind::Rebooted { cause: Cause::Fault }));

    host.power_off();
    assert!(host.wait_for(PowerState::Off, LIMIT).await);
    host.set_fault(Fault::WakesAsAnotherMachine);
    wake(&host).await;
    assert_eq!(host.computer_name(), "A-OTHER");
    let mut client = Client::connect(&host).await.unwrap();
    let shell = client.create().await;
    assert_eq!(client.run(&shell, "hostname").await.1, "A-OTHER\r\n");

    host.set_fault(Fault::IgnoresPowerOrders);
    client.run(&shell, &format!("{PROGRAM} power shutdown")).await;
    assert!(
        !host
            .wait_for(PowerState::ShuttingDown, Duration::from_millis(500))
            .await
    );
    assert_eq!(
        client
            .send(&Call::new("Delete", Some(&shell), ""))
            .await
            .unwrap()
            .status,
        200
    );
}

/// The boot times drawn with this seed, in whole milliseconds of paused time.
async fn boot_times(seed: u64) -> Vec<i64> {
    let specs = addresses::block(4).into_iter().enumerate();
    let specs = specs.map(|(n, address)| {
        let mut spec = HostSpec::new(format!("h{n}"), address, [2, 0, 0, 0, 0, 1]);
        spec.boot = BootTimes::realistic();
        spec
    });
    let farm = Farm::start(
        specs.collect(),
        FarmOptions {
            seed,
            ..Default::default()
        },
    )
    .await
    .unwrap();
    for host in farm.hosts() {
        host.power_on();
    }
    let mut times = Vec::new();
    for host in farm.hosts() {
        assert!(host.wait_for(PowerState::Ready, Duration::from_secs(200)).await);
        let effects = host.effects();
        times.push((effects.last().unwrap().at - effects[0].at).num_milliseconds());
    }
    times
}

#[tokio::test(start_paused = true)]
async fn boot_times_follow_the_seed() {
    let times = boot_times(7).await;
    assert!(times.iter().all(|t| (35_000..=110_100).contains(t)), "{times:?}");
    let again = boot_times(7).await;
    assert!(
        times.iter().zip(&again).all(|(a, b)| (a - b).abs() < 100),
        "{times:?} {again:?}"
    );
    let other = boot_times(8).await;
    assert!(
        times.iter().zip(&other).any(|(a, b)| (a - b).abs() > 1000),
        "{times:?} {other:?}"
    );
}

#[tokio::test]
async fn a_farm_that_stops_frees_its_ports() {
    let mut spec = plain("a");
    let (farm, host) = start(spec.clone()).await;
    let client = Client::connect(&host).await.unwrap();
    spec.http_port = host.http_port();
    farm.stop().await;
    drop(client);
    assert!(
        TcpStream::connect((host.address(), host.http_port()))
            .await
            .is_err()
    );
    let (_farm, host) = start(spec).await;
    assert!(Client::connect(&host).await.is_ok());
}

#[tokio::test]
async fn a_farm_names_what_is_wrong_with_it() {
    let address = addresses::block(1)[0];
    let start = async |names: [&str; 2]| {
        let specs = names
            .map(|name| HostSpec::new(name, address, [2, 0, 0, 0, 0, 1]))
            .to_vec();
        Farm::start(specs, FarmOptions::default())
            .await
            .err()
            .map(|e| e.to_string())
    };
    assert_eq!(start(["a", "a"]).await.as_deref(), Some("two hosts are named a"));
    assert!(
        start(["a", "b c"])
            .await
            .unwrap()
            .starts_with("\"b c\" is no computer name")
    );
    let _holder = UdpSocket::bind((address, 4009)).await.unwrap();
    let spec = HostSpec {
        wol_port: 4009,
        ..HostSpec::new("a", address, [0; 6])
    };
    let error = Farm::start(vec![spec], FarmOptions::default())
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        format!("bind {address}:4009 for a (wake port)")
    );
}
