//! Many hosts behind one listener per port. They need addresses that all reach this machine, so the test program runs
//! itself again in a network namespace of its own, which goes with that copy. Where none can be made (no root, no
//! `unshare`), the test says so and passes.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use host_sim::{
    At, AuthPolicy, EffectKind, Farm, FarmOptions, Fault, HostSpec, PowerState, StartError, Wildcard, paths,
};
use tokio::net::TcpStream;

use crate::client::{Client, LIMIT};

const ROLE: &str = "HOST_SIM_TEST_ROLE";
const INSIDE: &str = "wildcard::plays_its_part_inside_a_namespace";

#[test]
fn thousands_of_hosts_share_one_listener() {
    let setup = "ip link set lo up && ip route add local 10.50.0.0/16 dev lo && exec \"$0\" \"$@\"";
    let program = std::env::current_exe().unwrap();
    let possible = Command::new("unshare")
        .args(["--net", "ip", "link", "set", "lo", "up"])
        .output();
    if !possible.is_ok_and(|tried| tried.status.success()) {
        return say("skipped: no network namespaces here");
    }
    let inside = Command::new("unshare")
        .args(["--net", "sh", "-c", setup])
        .arg(program)
        .args([INSIDE, "--exact", "--nocapture"])
        .env(ROLE, "inside")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inside.stdout) + String::from_utf8_lossy(&inside.stderr);
    assert!(inside.status.success(), "{said}");
    assert!(said.contains("played to the end"), "{said}");
}

/// Does nothing unless started by the test above.
#[test]
fn plays_its_part_inside_a_namespace() {
    #[expect(clippy::disallowed_methods, reason = "how the test tells its copy what to do")]
    let role = std::env::var(ROLE).unwrap_or_default();
    if role == "inside" {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(play());
        say("played to the end");
    }
}

#[expect(clippy::print_stdout, reason = "how the copy tells that it was not skipped")]
fn say(line: &str) {
    println!("{line}");
}

async fn play() {
    let specs = (0..3000).map(spec).collect();
    let farm = Farm::start_wildcard(specs, FarmOptions::default(), Wildcard::default())
        .await
        .unwrap();
    each_host_answers_for_itself(&farm).await;
    one_fault_strikes_one_host(&farm).await;
    a_machine_goes_down_alone_and_comes_back(&farm).await;
    tls_shows_the_common_certificate(&farm).await;
    farm.stop().await;
    assert!(
        TcpStream::connect((Ipv4Addr::new(10, 50, 0, 1), 5985))
            .await
            .is_err(),
        "the port is closed"
    );
}

fn spec(number: u32) -> HostSpec {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 50, 0, 1)) + number);
    let [.., high, low] = number.to_be_bytes();
    let mut spec = HostSpec::new(format!("sim-{number:04}"), address, [2, 0, 0, 0, high, low]).awake();
    (spec.auth, spec.allow_unencrypted) = (AuthPolicy::ALL, true);
    spec
}

/// Reads the heartbeat of a host and gives the computer's name in it.
async fn heartbeat(farm: &Farm, number: usize) -> String {
    let mut client = Client::connect(&farm.hosts()[number]).await.unwrap();
    let shell = client.create().await;
    let line = format!("cmd /c type {}", paths::HEARTBEAT);
    let (code, out, _) = client.run(&shell, &line).await;
    assert_eq!(code, 0);
    let document: serde_json::Value = serde_json::from_str(out.trim_start_matches('\u{feff}')).unwrap();
    document["host"].as_str().unwrap().to_owned()
}

async fn each_host_answers_for_itself(farm: &Farm) {
    for number in [0, 255, 256, 2999] {
        assert_eq!(heartbeat(farm, number).await, format!("SIM-{number:04}"));
    }
    let asked: Vec<u32> = farm.take_asked().iter().map(|asked| asked.host).collect();
    assert_eq!(asked, [0, 255, 256, 2999]);
    let totals = farm.totals();
    assert_eq!(
        (totals.polls, totals.connections, totals.shells_created),
        (4, 4, 4)
    );
    let nobody = TcpStream::connect((Ipv4Addr::new(10, 50, 99, 1), 5985)).await;
    let mut nobody = nobody.unwrap();
    let mut byte = [0];
    let read = tokio::time::timeout(LIMIT, tokio::io::AsyncReadExt::read(&mut nobody, &mut byte));
    assert!(!matches!(read.await.unwrap(), Ok(1..)), "nobody lives there");
}

async fn one_fault_strikes_one_host(farm: &Farm) {
    farm.hosts()[7].set_fault(Fault::Reset(At::Connect));
    let mut struck = Client::connect(&farm.hosts()[7]).await.unwrap();
    assert!(struck.send(&crate::client::create()).await.is_err());
    assert_eq!(heartbeat(farm, 8).await, "SIM-0008");
    farm.hosts()[7].clear_faults();
    assert_eq!(heartbeat(farm, 7).await, "SIM-0007");
}

async fn a_machine_goes_down_alone_and_comes_back(farm: &Farm) {
    let (going, staying) = (&farm.hosts()[20], &farm.hosts()[21]);
    let (mut lost, mut kept) = (
        Client::connect(going).await.unwrap(),
        Client::connect(staying).await.unwrap(),
    );
    lost.create().await;
    let shell = kept.create().await;
    going.power_off();
    assert!(going.wait_for(PowerState::Off, LIMIT).await);
    lost.closed().await;
    let mut refused = Client::connect(going).await.unwrap();
    assert!(
        refused.send(&crate::client::create()).await.is_err(),
        "its port is as good as closed"
    );
    assert_eq!(kept.run(&shell, "hostname").await.1.trim(), "SIM-0021");
    going.power_on();
    assert!(going.wait_for(PowerState::Ready, LIMIT).await);
    assert_eq!(heartbeat(farm, 20).await, "SIM-0020");
    assert_eq!(going.boots(), 2);
}

async fn tls_shows_the_common_certificate(farm: &Farm) {
    let hosts = farm.hosts();
    assert_eq!(hosts[0].certificate_sha256(), hosts[2999].certificate_sha256());
    let mut tcp = TcpStream::connect((hosts[5].address(), hosts[5].https_port().unwrap()))
        .await
        .unwrap();
    // No client hello: the host hangs up, and nobody else notices.
    tokio::io::AsyncWriteExt::write_all(&mut tcp, b"not tls at all\r\n\r\n")
        .await
        .unwrap();
    let mut scrap = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut scrap);
    assert!(tokio::time::timeout(LIMIT, end).await.is_ok());
    assert_eq!(heartbeat(farm, 5).await, "SIM-0005");
}

#[tokio::test]
async fn two_hosts_at_one_address_are_refused() {
    let twice = |name: &str| HostSpec::new(name, Ipv4Addr::new(10, 50, 0, 1), [2, 0, 0, 0, 0, 1]);
    let specs = vec![twice("a"), twice("b")];
    let started = Farm::start_wildcard(specs, FarmOptions::default(), Wildcard::default()).await;
    assert!(matches!(started.err(), Some(StartError::DuplicateAddress { .. })));
}

#[tokio::test]
async fn effects_beyond_the_limit_are_forgotten_oldest_first() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let wildcard = Wildcard {
        bind: Ipv4Addr::LOCALHOST,
        http_port: free,
        https_port: None,
        effects_kept: 2,
        ..Wildcard::default()
    };
    let spec = HostSpec::new("few", Ipv4Addr::LOCALHOST, [2, 0, 0, 0, 0, 1]).awake();
    let farm = Farm::start_wildcard(vec![spec], FarmOptions::default(), wildcard)
        .await
        .unwrap();
    let host = farm.hosts()[0].clone();
    host.log_on("first");
    host.log_on("second");
    let users: Vec<String> = host
        .effects()
        .into_iter()
        .filter_map(|effect| match effect.what {
            EffectKind::LoggedOn { user } => Some(user),
            _ => None,
        })
        .collect();
    assert_eq!(users, ["first", "second"]);
    host.log_on("third");
    assert_eq!(host.effects().len(), 2);
    host.power_off();
    assert!(host.wait_for(PowerState::Off, Duration::from_secs(60)).await);
    farm.stop().await;
}
