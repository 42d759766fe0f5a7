//! What came of a wake, rung by rung.

use std::net::Ipv4Addr;
use std::time::Duration;

use lab_model::HostName;
use reservation_engine::{Observation, Reason, StepOutcome, StepReport};
use serde_json::{Value, json};
use wol::MacAddr;

/// The rungs of the ladder, in the order in which they are climbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// A magic packet left this machine. Proves nothing about the host.
    PacketSent,
    /// The host's WinRM port accepts connections.
    TcpPort,
    /// WinRM answered somebody who logged on, and the computer is the one it was before.
    WinrmAnswer,
    /// The answer comes from after the packet, not from a host that was about to go down.
    BootedAfterPacket,
    /// The station wrote a heartbeat since, and says that it is ready.
    HeartbeatReady,
}

impl Rung {
    /// All of them, lowest first.
    pub const ALL: [Self; 5] = [
        Self::PacketSent,
        Self::TcpPort,
        Self::WinrmAnswer,
        Self::BootedAfterPacket,
        Self::HeartbeatReady,
    ];

    /// The word in reasons, answers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PacketSent => "packet_sent",
            Self::TcpPort => "tcp_port",
            Self::WinrmAnswer => "winrm_answer",
            Self::BootedAfterPacket => "booted_after_packet",
            Self::HeartbeatReady => "heartbeat_ready",
        }
    }

    /// The rung that a reason names.
    #[must_use]
    pub fn of(reason: &Reason) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|rung| Some(rung.as_str()) == reason.rung.as_deref())
    }
}

/// Whether a rung was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RungState {
    /// Reached.
    Climbed,
    /// Passed over, because it was not needed or cannot be known; the detail says which.
    Skipped,
    /// Not reached: the wake ended here.
    Failed,
}

/// One rung of one wake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RungReport {
    /// Which.
    pub rung: Rung,
    /// Whether it was reached.
    pub state: RungState,
    /// From the beginning of the wake until it was reached or given up.
    pub after: Duration,
    /// What was seen there, in one sentence.
    pub detail: String,
}

/// What came of one wake.
#[derive(Debug, Clone, PartialEq)]
pub struct WakeReport {
    /// Which host.
    pub host: HostName,
    /// The rungs up to the last one tried, lowest first.
    pub rungs: Vec<RungReport>,
    /// Why the host is not ready; names the rung. `None`: it is ready.
    pub failure: Option<Reason>,
    /// What was let pass although it is not as it should be.
    pub warnings: Vec<String>,
    /// The host was up and ready, or on its way there, before any packet.
    pub already_awake: bool,
    /// The card that was to be woken; `None` when the host has none in the catalog.
    pub mac: Option<MacAddr>,
    /// What the catalog or the order names as the target of reachability probes.
    pub ping_target: String,
    /// How many packets were allowed.
    pub attempts_requested: u32,
    /// How many were sent, failed tries included.
    pub attempts_used: u32,
    /// Pause after the first packet.
    pub wait: Duration,
    /// UDP port of the packets.
    pub port: u16,
    /// Address of the packets.
    pub broadcast: Ipv4Addr,
    /// How long it all took.
    pub duration: Duration,
    /// What was last seen of the host, if it answered.
    pub observed: Option<Observation>,
}

impl WakeReport {
    /// Whether the host is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.failure.is_none()
    }

    /// One line, as the contract words it.
    #[must_use]
    pub fn message(&self) -> String {
        match &self.failure {
            None => "Host reachable".to_owned(),
            Some(_) if self.cannot_be_woken() => "MAC address not configured".to_owned(),
            Some(reason) => format!("Host did not respond: {}", reason.detail),
        }
    }

    /// The details as answers and the history show them; empty when no wake was possible.
    #[must_use]
    pub fn details(&self) -> Value {
        if self.cannot_be_woken() {
            return json!({});
        }
        let rungs: Vec<Value> = self.rungs.iter().map(RungReport::to_json).collect();
        let mut details = json!({
            "mac": self.mac.map(|mac| mac.to_string()),
            "pingTarget": self.ping_target,
            "attemptsRequested": self.attempts_requested,
            "attemptsUsed": self.attempts_used,
            "waitSeconds": seconds(self.wait),
            "port": self.port,
            "broadcast": self.broadcast.to_string(),
            "alreadyAwake": self.already_awake,
            "rungs": rungs,
        });
        if !self.warnings.is_empty() {
            details["warnings"] = json!(self.warnings);
        }
        if let Some(reason) = &self.failure {
            details["error"] = json!(reason);
        }
        details
    }

    /// The same as the engine's report of a step.
    #[must_use]
    pub fn into_step_report(self) -> StepReport {
        let response_code = match (&self.failure, self.cannot_be_woken()) {
            (None, _) => Some(200),
            (Some(_), true) => None,
            (Some(_), false) => Some(504),
        };
        StepReport {
            message: self.message(),
            response_code,
            details: self.details(),
            duration: self.duration,
            outcome: match self.failure {
                Some(reason) => StepOutcome::Failed(reason),
                None if self.warnings.is_empty() => StepOutcome::Done,
                None => StepOutcome::DoneWithWarnings,
            },
            observed: self.observed,
        }
    }

    fn cannot_be_woken(&self) -> bool {
        self.failure
            .as_ref()
            .is_some_and(|reason| reason.code == "no_mac")
    }
}

impl RungReport {
    fn to_json(&self) -> Value {
        let mut shown = json!({
            "rung": self.rung.as_str(),
            "ok": self.state != RungState::Failed,
            "ms": u64::try_from(self.after.as_millis()).unwrap_or(u64::MAX),
            "detail": self.detail,
        });
        if self.state == RungState::Skipped {
            shown["skipped"] = json!(true);
        }
        shown
    }
}

/// Whole seconds as a whole number, as the older worker wrote them.
fn seconds(duration: Duration) -> Value {
    match duration.subsec_nanos() {
        0 => json!(duration.as_secs()),
        _ => json!(duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_report(failure: Option<Reason>) -> WakeReport {
        WakeReport {
            host: HostName::parse("lab-ws-01").unwrap(),
            rungs: vec![RungReport {
                rung: Rung::PacketSent,
                state: RungState::Skipped,
                after: Duration::from_millis(7),
                detail: "not needed".into(),
            }],
            failure,
            warnings: Vec::new(),
            already_awake: true,
            mac: None,
            ping_target: "10.0.0.1".into(),
            attempts_requested: 3,
            attempts_used: 0,
            wait: Duration::from_secs(10),
            port: 9,
            broadcast: Ipv4Addr::BROADCAST,
            duration: Duration::from_secs(1),
            observed: None,
        }
    }

    #[test]
    fn a_ready_host_is_reported_in_the_words_of_the_contract() {
        let step = a_report(None).into_step_report();
        assert_eq!(
            (step.message.as_str(), step.response_code),
            ("Host reachable", Some(200))
        );
        assert_eq!(step.outcome, StepOutcome::Done);
        let expected = json!({
            "mac": null, "pingTarget": "10.0.0.1", "attemptsRequested": 3, "attemptsUsed": 0, "waitSeconds": 10,
            "port": 9, "broadcast": "255.255.255.255", "alreadyAwake": true,
            "rungs": [{"rung": "packet_sent", "ok": true, "ms": 7, "detail": "not needed", "skipped": true}],
        });
        assert_eq!(step.details, expected);
    }

    #[test]
    fn a_failure_says_why_and_at_which_rung() {
        let reason = Reason::new("port_closed", "nothing listens").at_rung(Rung::TcpPort.as_str());
        let step = a_report(Some(reason)).into_step_report();
        assert_eq!(
            (step.message.as_str(), step.response_code),
            ("Host did not respond: nothing listens", Some(504))
        );
        assert_eq!(step.details["error"]["rung"], "tcp_port");
    }

    #[test]
    fn a_host_without_a_card_is_reported_as_the_contract_has_it() {
        let reason = Reason::new("no_mac", "no card").at_rung(Rung::PacketSent.as_str());
        let step = a_report(Some(reason)).into_step_report();
        assert_eq!(
            (step.message.as_str(), step.response_code),
            ("MAC address not configured", None)
        );
        assert_eq!(step.details, json!({}));
    }

    #[test]
    fn parts_of_seconds_are_shown_as_such() {
        assert_eq!(seconds(Duration::from_millis(1500)), json!(1.5));
    }
}
