//! How hosts are spoken to: the same for all of them. What differs from host to host is in the catalog.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// How hosts are spoken to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The networks in which hosts may be. Every address a host's name resolves to must be in one of them, and
    /// so must the address of a magic packet unless it is `255.255.255.255`. Default: [`private_networks`].
    pub allowed_networks: Vec<IpNet>,
    /// Lets passwords travel readable (Basic over plain HTTP). Default: false.
    pub allow_insecure_basic: bool,
    /// Name resolution and TCP connection together. Default 5 s.
    pub connect_timeout: Duration,
    /// How long one HTTP answer may take; at least a second longer than `operation_timeout`. Default 30 s.
    pub read_timeout: Duration,
    /// How long the host may hold back an answer while a command is silent; 1 to 60 s. Default 20 s.
    pub operation_timeout: Duration,
    /// How long a command may take when its caller names no deadline, on top of the seconds its own arguments
    /// ask it to wait (`--guard-grace=`, `--grace=`, `--delay=`). Default 120 s.
    pub command_deadline: Duration,
    /// Bytes kept of each of standard output and standard error. Default 8 MiB.
    pub max_output: usize,
    /// How a host is woken.
    pub wake: WakeSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allowed_networks: private_networks(),
            allow_insecure_basic: false,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_secs(20),
            command_deadline: Duration::from_secs(120),
            max_output: 8 * 1024 * 1024,
            wake: WakeSettings::default(),
        }
    }
}

/// How the rungs of the wake ladder are climbed.
#[derive(Debug, Clone)]
pub struct WakeSettings {
    /// How long the first look at the port waits before the first packet goes out. Short, so that packets are
    /// punctual: a host that is up answers within milliseconds. Default 400 ms.
    pub first_look: Duration,
    /// How long each later look at the port waits. Default 1.5 s.
    pub look: Duration,
    /// Pause between two looks. Default 1 s.
    pub probe_pause: Duration,
    /// How long one question to WinRM may take before the ladder asks anew. Default 15 s.
    pub answer_deadline: Duration,
    /// Pause after the first packet before the second, unless the order names one; it doubles with each
    /// packet, up to a minute. Default 10 s.
    pub packet_pause: Duration,
    /// The oldest heartbeat that counts as fresh: three of the station's periods. Default 180 s.
    pub max_heartbeat_age: Duration,
    /// What a heartbeat that says "not ready" means. Default [`HeartbeatPolicy::Require`].
    pub heartbeat: HeartbeatPolicy,
    /// How long after a power or reboot order a host that is still up is taken for one on its way down.
    /// Default 120 s.
    pub going_down: Duration,
}

impl Default for WakeSettings {
    fn default() -> Self {
        Self {
            first_look: Duration::from_millis(400),
            look: Duration::from_millis(1500),
            probe_pause: Duration::from_secs(1),
            answer_deadline: Duration::from_secs(15),
            packet_pause: Duration::from_secs(10),
            max_heartbeat_age: Duration::from_secs(180),
            heartbeat: HeartbeatPolicy::Require,
            going_down: Duration::from_secs(120),
        }
    }
}

/// What a fresh heartbeat that says "not ready" means for a wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeartbeatPolicy {
    /// The ladder waits for "ready" until its deadline, and fails then.
    Require,
    /// The ladder waits this long for "ready", then goes on with a warning that names the station's issues.
    WarnAfter(Duration),
}

/// The private and loopback networks of IPv4 and IPv6.
///
/// Source: RFC 1918 and RFC 4193; link-local addresses are left out on purpose.
#[must_use]
pub fn private_networks() -> Vec<IpNet> {
    let v4 = |a, b, c, d, bits| IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits));
    vec![
        v4(10, 0, 0, 0, 8),
        v4(172, 16, 0, 0, 12),
        v4(192, 168, 0, 0, 16),
        v4(127, 0, 0, 0, 8),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7)),
    ]
}
