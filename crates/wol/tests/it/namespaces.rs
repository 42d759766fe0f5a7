//! Broadcasts between network namespaces: one sender with two networks and no default route, one receiver
//! on each network. Where namespaces cannot be made (no root, no `ip`) the test says so and passes.
//!
//! The test program runs itself again inside the namespaces; an environment variable tells the copy its role.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use wol::{Echo, MacAddr, MagicPacket, Pinger, SendError, Target, TcpProbe, Via, send, tcp_reachable};

const ROLE: &str = "WOL_TEST_ROLE";
const ROLES_TEST: &str = "namespaces::plays_a_role_inside_a_namespace";
const LONGEST_WAIT: Duration = Duration::from_secs(30);

const BY_ROUTING: u8 = 1;
const BY_INTERFACE: u8 = 2;
const BY_SOURCE: u8 = 3;
const DIRECTED: u8 = 4;
const LAST: u8 = 99;

#[test]
fn broadcasts_reach_the_networks_they_should_and_no_others() {
    let lab = match Lab::build() {
        Ok(lab) => lab,
        Err(reason) => return say(&format!("skipped: no network namespaces here ({reason})")),
    };
    let receivers = [1, 2].map(|n| Receiver::start(&lab.receiver(n)));
    let sender = run_role(&lab.sender(), "send").output().expect("run the sender");
    assert!(sender.status.success(), "sender failed: {}", text_of(&sender));

    let [first, second] = receivers.map(Receiver::arrivals);
    assert_eq!(first, [BY_ROUTING, BY_INTERFACE, DIRECTED]);
    assert_eq!(second, [BY_ROUTING, BY_SOURCE]);
}

/// Does nothing unless started by the test above.
#[test]
fn plays_a_role_inside_a_namespace() {
    #[expect(
        clippy::disallowed_methods,
        reason = "how the test tells its copies what to do"
    )]
    let role = std::env::var(ROLE).unwrap_or_default();
    match role.as_str() {
        "send" => send_all(),
        "receive" => receive_all(),
        _ => {}
    }
}

#[tokio::main(flavor = "current_thread")]
async fn send_all() {
    let limited = |via| Target {
        via,
        ..Target::default()
    };
    let sent = send(&numbered(BY_ROUTING), &limited(Via::Routing))
        .await
        .expect("by all interfaces");
    let mut ways = vec![sent.interface];
    ways.extend(sent.copies.into_iter().map(|copy| copy.interface));
    assert_eq!(ways, [Some("s1".to_owned()), Some("s2".to_owned())]);

    let by_interface = limited(Via::Interface("s1".to_owned()));
    let sent = send(&numbered(BY_INTERFACE), &by_interface)
        .await
        .expect("by interface");
    assert_eq!(sent.from.ip().to_string(), "10.77.1.1");
    let by_source = limited(Via::Source(Ipv4Addr::new(10, 77, 2, 1)));
    let sent = send(&numbered(BY_SOURCE), &by_source).await.expect("by source");
    assert_eq!(sent.interface.as_deref(), Some("s2"));

    let directed = |octets: [u8; 4]| Target {
        broadcast: octets.into(),
        ..Target::default()
    };
    send(&numbered(DIRECTED), &directed([10, 77, 1, 255]))
        .await
        .expect("directed");
    let foreign = send(&numbered(DIRECTED), &directed([10, 99, 0, 255]))
        .await
        .expect_err("no route");
    assert!(matches!(foreign, SendError::NoRoute { .. }), "{foreign:?}");

    probe_the_neighbours().await;
    for network in [1, 2] {
        send(&numbered(LAST), &directed([10, 77, network, 2]))
            .await
            .expect("the last packet");
    }
}

async fn probe_the_neighbours() {
    let echo = Pinger::new()
        .expect("root may ping")
        .echo([10, 77, 2, 2].into(), LONGEST_WAIT)
        .await;
    assert!(matches!(echo, Echo::Reply { .. }), "{echo:?}");
    let refused = tcp_reachable(([10, 77, 2, 2], 5985).into(), LONGEST_WAIT).await;
    assert!(matches!(refused, TcpProbe::Refused { .. }), "{refused}");
    let nobody = tcp_reachable(([10, 77, 2, 77], 5985).into(), LONGEST_WAIT).await;
    assert!(matches!(nobody, TcpProbe::Unreachable(_)), "{nobody}");
    let no_route = tcp_reachable(([10, 99, 0, 1], 5985).into(), LONGEST_WAIT).await;
    assert!(matches!(no_route, TcpProbe::Unreachable(_)), "{no_route}");
}

fn receive_all() {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, wol::DEFAULT_PORT)).expect("bind");
    socket
        .set_read_timeout(Some(LONGEST_WAIT))
        .expect("set the limit");
    say("role: ready");
    let mut buffer = [0; 2048];
    loop {
        let (length, _) = socket.recv_from(&mut buffer).expect("a packet within the limit");
        let number =
            (1..=LAST).find(|n| MagicPacket::find_in(&buffer[..length], &numbered(*n).mac()).is_some());
        match number {
            Some(LAST) => return say("role: end"),
            Some(number) => say(&format!("role: got {number}")),
            None => say("role: got something else"),
        }
    }
}

fn numbered(number: u8) -> MagicPacket {
    MagicPacket::new(MacAddr::new([2, 0, 0, 0, 0, number]).expect("a valid address"))
}

/// Past the test harness, which would keep it.
fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("write to standard output");
}

fn run_role(namespace: &str, role: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]);
    command.arg(std::env::current_exe().expect("the test program"));
    command
        .args(["--exact", ROLES_TEST, "--nocapture"])
        .env(ROLE, role)
        .stdin(Stdio::null());
    command
}

struct Receiver {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Receiver {
    /// Returns when the receiver is bound.
    fn start(namespace: &str) -> Self {
        let mut process = run_role(namespace, "receive")
            .stdout(Stdio::piped())
            .spawn()
            .expect("start a receiver");
        let out = process.stdout.take().expect("a piped output");
        let mut receiver = Self {
            process,
            lines: BufReader::new(out).lines(),
        };
        assert_eq!(receiver.next_line().as_deref(), Some("ready"));
        receiver
    }

    /// The next line the role said; the harness's own are passed over, also when they share a line with it.
    fn next_line(&mut self) -> Option<String> {
        self.lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("role: ")?.1.to_owned()))
    }

    fn arrivals(mut self) -> Vec<u8> {
        let mut numbers = Vec::new();
        while let Some(line) = self.next_line().filter(|line| line != "end") {
            let number = line.strip_prefix("got ").and_then(|number| number.parse().ok());
            numbers.push(number.expect("a numbered packet"));
        }
        numbers
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Gone already in the good case; a failed test leaves none behind.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Three namespaces, removed on drop.
struct Lab {
    prefix: String,
}

impl Lab {
    fn build() -> Result<Self, String> {
        let lab = Self {
            prefix: format!("wol{}", std::process::id()),
        };
        let sender = lab.sender();
        ip(&["netns", "add", &sender])?;
        ip(&["-n", &sender, "link", "set", "lo", "up"])?;
        for n in [1, 2] {
            let receiver = lab.receiver(n);
            let (near, far) = (format!("s{n}"), format!("r{n}"));
            ip(&["netns", "add", &receiver])?;
            let pair = [
                "link", "add", &near, "netns", &sender, "type", "veth", "peer", "name", &far, "netns",
                &receiver,
            ];
            ip(&pair)?;
            for (namespace, interface, address) in [
                (&sender, &near, format!("10.77.{n}.1/24")),
                (&receiver, &far, format!("10.77.{n}.2/24")),
            ] {
                ip(&["-n", namespace, "address", "add", &address, "dev", interface])?;
                ip(&["-n", namespace, "link", "set", interface, "up"])?;
            }
        }
        Ok(lab)
    }

    fn sender(&self) -> String {
        format!("{}s", self.prefix)
    }

    fn receiver(&self, n: u8) -> String {
        format!("{}r{n}", self.prefix)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [self.sender(), self.receiver(1), self.receiver(2)] {
            let _ = ip(&["netns", "delete", &namespace]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("ip {}: {}", arguments.join(" "), text_of(&output)))
    }
}

fn text_of(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes))
        .join("\n")
        .trim()
        .to_owned()
}
