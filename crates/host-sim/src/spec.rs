//! What a simulated host is like: everything that is fixed before it starts.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use crate::script::Program;

/// One simulated host. Start from [`HostSpec::new`] and change what the test is about.
#[derive(Debug, Clone)]
pub struct HostSpec {
    /// Name in the farm. The computer name is its upper case.
    pub name: String,
    /// Loopback address of its own, for WinRM and for magic packets.
    pub address: Ipv4Addr,
    /// Port of the HTTP listener (5985 on Windows); 0 lets the system choose once, and the choice is kept over reboots.
    pub http_port: u16,
    /// Port of the HTTPS listener (5986 on Windows); `None` for none, 0 as for `http_port`.
    pub https_port: Option<u16>,
    /// UDP port on which magic packets are seen (9 is usual); 0 lets the system choose.
    pub wol_port: u16,
    /// Whether the host has a socket of its own for magic packets. Without it only the farm's broadcast listener wakes
    /// it, which saves one descriptor per host in a large farm; `wol_port` then means nothing.
    pub own_wake_socket: bool,
    /// MAC address of the network card.
    pub mac: [u8; 6],
    /// SecureOn password that must follow the magic packet, if the card asks for one.
    pub secure_on: Option<[u8; 6]>,
    /// Account that may log on over WinRM.
    pub user: String,
    /// Password of the account.
    pub password: String,
    /// NetBIOS domain (or workgroup) named in the NTLM challenge; empty means the computer name.
    pub domain: String,
    /// Authentication schemes offered.
    pub auth: AuthPolicy,
    /// Whether clear-text SOAP is taken over plain HTTP. Windows says no.
    pub allow_unencrypted: bool,
    /// SHA-256 of the client certificates that are mapped to the account. With any, HTTPS asks for a certificate, and
    /// the scheme for them is on offer.
    pub client_certificates: Vec<[u8; 32]>,
    /// How strictly channel bindings are demanded over HTTPS.
    pub cbt: CbtLevel,
    /// Who signs the HTTPS certificate.
    pub tls: TlsIdentity,
    /// Further DNS names in the certificate beside the host's name.
    pub dns_names: Vec<String>,
    /// Whether the certificate also names the IP address. A real station's does not.
    pub certificate_names_address: bool,
    /// How long a boot takes.
    pub boot: BootTimes,
    /// How long an ordered shutdown takes until the ports are closed.
    pub shutdown: Range<Duration>,
    /// Whether the host is already up when the farm has started.
    pub awake_at_start: bool,
    /// The Lab Station software on it.
    pub station: StationSpec,
    /// WinRM quotas.
    pub quotas: Quotas,
    /// Longest operation time-out honoured; longer ones are cut (MaxTimeoutms, 60 s on Windows).
    pub operation_timeout_cap: Duration,
    /// Idle connections are closed after this time (120 s on Windows).
    pub idle_close: Duration,
    /// Whether the state Done comes together with the last output or in an answer of its own.
    pub done: DoneStyle,
    /// Whether a shell gets the id that the client asks for, as pypsrp relies on with Windows; otherwise the host
    /// chooses, as it does when none is asked for.
    pub takes_shell_ids: bool,
}

impl HostSpec {
    /// A host that is asleep, offers only Negotiate on ports chosen by the system, refuses clear text, is signed by
    /// the farm's authority, boots within a second and answers its commands at once.
    ///
    /// The account is `LabGatewaySvc` with the password `Corr3ct-horse`.
    pub fn new(name: impl Into<String>, address: Ipv4Addr, mac: [u8; 6]) -> Self {
        Self {
            name: name.into(),
            address,
            http_port: 0,
            https_port: Some(0),
            wol_port: 0,
            own_wake_socket: true,
            mac,
            secure_on: None,
            user: "LabGatewaySvc".into(),
            password: "Corr3ct-horse".into(),
            domain: String::new(),
            auth: AuthPolicy::default(),
            allow_unencrypted: false,
            client_certificates: Vec::new(),
            cbt: CbtLevel::Relaxed,
            tls: TlsIdentity::FarmCa,
            dns_names: Vec::new(),
            certificate_names_address: false,
            boot: BootTimes::quick(),
            shutdown: Duration::from_millis(50)..Duration::from_millis(150),
            awake_at_start: false,
            station: StationSpec::default(),
            quotas: Quotas::default(),
            operation_timeout_cap: Duration::from_secs(60),
            idle_close: Duration::from_secs(120),
            done: DoneStyle::Together,
            takes_shell_ids: true,
        }
    }

    /// The same host, already up when the farm has started.
    pub fn awake(mut self) -> Self {
        self.awake_at_start = true;
        self
    }
}

/// Which authentication schemes a host offers. Windows offers Negotiate; Basic and a bare NTLM header are rare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthPolicy {
    /// User name and password with every request.
    pub basic: bool,
    /// NTLM tokens under the scheme name `NTLM`.
    pub ntlm: bool,
    /// NTLM tokens, raw or inside SPNEGO, under the scheme name `Negotiate`.
    pub negotiate: bool,
}

impl AuthPolicy {
    /// Every scheme the simulator knows.
    pub const ALL: Self = Self {
        basic: true,
        ntlm: true,
        negotiate: true,
    };
}

impl Default for AuthPolicy {
    fn default() -> Self {
        Self {
            basic: false,
            ntlm: false,
            negotiate: true,
        }
    }
}

/// The host's `CbtHardeningLevel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CbtLevel {
    /// Channel bindings are ignored.
    None,
    /// Channel bindings are checked when the client sent some (the default of Windows).
    Relaxed,
    /// Channel bindings are demanded over HTTPS.
    Strict,
}

/// Who signs the certificate of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsIdentity {
    /// The authority of the farm; see [`crate::Farm::ca_pem`].
    FarmCa,
    /// The host itself, as `LabStation.exe winrm configure` does it.
    SelfSigned,
    /// The authority of the farm, but the certificate ended yesterday.
    Expired,
}

/// How long the two halves of a boot take; each boot draws from the ranges with the farm's seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootTimes {
    /// From power on until the WinRM port is open.
    pub port_open: Range<Duration>,
    /// From the open port until the station is ready. In the first third of it connections are reset, in the second
    /// requests get 503, in the last WinRM works but the heartbeat is the one from before the boot.
    pub ready_after_port: Range<Duration>,
}

impl BootTimes {
    /// A boot of less than a second, for tests.
    pub fn quick() -> Self {
        Self {
            port_open: Duration::from_millis(100)..Duration::from_millis(250),
            ready_after_port: Duration::from_millis(150)..Duration::from_millis(400),
        }
    }

    /// What a desktop computer of a laboratory needs: ready after 35 to 110 seconds.
    pub fn realistic() -> Self {
        Self {
            port_open: Duration::from_secs(20)..Duration::from_secs(50),
            ready_after_port: Duration::from_secs(15)..Duration::from_secs(60),
        }
    }
}

/// The Lab Station software of one host.
#[derive(Debug, Clone, PartialEq)]
pub struct StationSpec {
    /// The account students use.
    pub lab_user: String,
    /// Users logged on when the farm starts; a boot logs everybody off.
    pub logged_on: Vec<String>,
    /// Whether `local-mode.flag` exists at the start.
    pub local_mode: bool,
    /// Problems the station reports in `summary.issues`; with any of them it is not ready.
    pub issues: Vec<String>,
    /// Whether the lab user is logged on as soon as a session was prepared, as if a student came at once.
    pub student_follows_prepare: bool,
    /// How long the commands work.
    pub durations: CommandDurations,
    /// Factor on every number of seconds a command waits for (guard grace, delays, reboot time-outs): 0.01 makes a
    /// grace of 90 s take 0.9 s.
    pub grace_scale: f64,
    /// Version in the heartbeat.
    pub version: String,
    /// Further programs on the host.
    pub programs: Vec<Program>,
}

impl Default for StationSpec {
    fn default() -> Self {
        Self {
            lab_user: "LABUSER".into(),
            logged_on: Vec::new(),
            local_mode: false,
            issues: Vec::new(),
            student_follows_prepare: false,
            durations: CommandDurations::default(),
            grace_scale: 1.0,
            version: "3.0.3".into(),
            programs: Vec::new(),
        }
    }
}

/// How long each command works before it answers, grace periods and delays not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandDurations {
    /// `prepare-session`.
    pub prepare: Duration,
    /// `release-session`.
    pub release: Duration,
    /// `power` and `recovery`.
    pub power: Duration,
    /// `session guard`.
    pub guard: Duration,
    /// Everything else, file reads included.
    pub other: Duration,
}

impl Default for CommandDurations {
    fn default() -> Self {
        Self {
            prepare: Duration::from_millis(50),
            release: Duration::from_millis(50),
            power: Duration::from_millis(20),
            guard: Duration::from_millis(20),
            other: Duration::ZERO,
        }
    }
}

/// WinRM quotas, with the defaults of WinRM 3.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Open shells of one user.
    pub max_shells: usize,
    /// Commands not yet ended by Signal, of one user.
    pub max_operations: usize,
    /// Running commands of one shell.
    pub max_processes_per_shell: usize,
    /// Open connections; further ones are reset.
    pub max_connections: usize,
    /// Idle time of a shell that names none.
    pub shell_idle: Duration,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            max_shells: 30,
            max_operations: 1500,
            max_processes_per_shell: 25,
            max_connections: 300,
            shell_idle: Duration::from_secs(7200),
        }
    }
}

/// Two ways of ending a command, both seen on real hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoneStyle {
    /// The state Done is in the answer with the last bytes.
    Together,
    /// The state Done comes alone in a further answer.
    After,
}
