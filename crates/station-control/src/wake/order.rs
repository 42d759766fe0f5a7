//! One wake, settled before it begins: the host's entry and what the order changes of it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lab_model::Host;
use reservation_engine::{Reason, WakeOrder};
use wol::{MacAddr, MagicPacket, Target, Via};

use super::report::Rung;
use crate::network::is_allowed;
use crate::settings::Settings;

/// More packets wake nothing that these did not wake.
pub(crate) const MAX_ATTEMPTS: u32 = 100;
/// Longest pause after a packet.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What one wake sends, how often, and where.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) mac: Option<MacAddr>,
    /// `None`: the host has no card that could be woken.
    pub(super) packet: Option<MagicPacket>,
    pub(super) target: Target,
    pub(super) attempts: u32,
    pub(super) pause: Duration,
    pub(super) ping_target: String,
}

impl Plan {
    /// Reads entry and order. The plan comes also with a refusal, so that the report can show it.
    pub(super) fn new(host: &Host, order: &WakeOrder, settings: &Settings) -> (Self, Option<Reason>) {
        let mut wrong = None;
        let mac = order.mac.as_deref().map_or(host.wake.mac, |text| {
            let parsed = text.parse::<MacAddr>();
            parsed
                .map_err(|error| {
                    wrong = Some(refused(
                        "bad_mac",
                        format!("the order's mac cannot be used: {error}"),
                    ))
                })
                .ok()
        });
        let broadcast = order.broadcast.as_deref().map_or(host.wake.broadcast, |text| {
            text.trim().parse().unwrap_or_else(|_| {
                let shown: String = text.chars().take(64).collect();
                wrong = Some(refused(
                    "bad_broadcast",
                    format!("the order's broadcast {shown:?} is no IPv4 address"),
                ));
                host.wake.broadcast
            })
        });
        if !may_go_to(broadcast, settings) {
            let detail = format!("magic packets may not go to {broadcast}: it is not in an allowed network");
            wrong = wrong.or(Some(refused("address_not_allowed", detail)));
        }
        let via = match (&host.wake.interface, host.wake.source) {
            (Some(name), _) => Via::Interface(name.clone()),
            (None, Some(address)) => Via::Source(address),
            (None, None) => Via::Routing,
        };
        let packet = mac.map(|mac| match &host.wake.secure_on {
            // A password belongs to the card it was set in.
            Some(password) if host.wake.mac == Some(mac) => MagicPacket::new(mac).with_secure_on(*password),
            _ => MagicPacket::new(mac),
        });
        let plan = Self {
            mac,
            packet,
            target: Target {
                broadcast,
                port: order.port.unwrap_or(host.wake.port),
                via,
            },
            attempts: order
                .attempts
                .unwrap_or(host.wake.attempts)
                .clamp(1, MAX_ATTEMPTS),
            pause: order
                .ping_timeout
                .unwrap_or(settings.wake.packet_pause)
                .min(LONGEST_PAUSE),
            ping_target: order
                .ping_target
                .clone()
                .unwrap_or_else(|| host.ping_target.clone()),
        };
        (plan, wrong)
    }

    /// Pause after the `sent`-th packet: it doubles, since a host that starts needs no further packet.
    pub(super) fn pause_after(&self, sent: u32) -> Duration {
        let factor = 2_u32.saturating_pow(sent.saturating_sub(1).min(16));
        self.pause
            .saturating_mul(factor)
            .min(LONGEST_PAUSE.max(self.pause))
    }
}

/// A limited broadcast stays on networks of our own; any other address must be allowed.
pub(crate) fn may_go_to(broadcast: Ipv4Addr, settings: &Settings) -> bool {
    broadcast.is_broadcast() || is_allowed(IpAddr::V4(broadcast), &settings.allowed_networks)
}

fn refused(code: &str, detail: String) -> Reason {
    Reason::new(code, detail).at_rung(Rung::PacketSent.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_model::Catalog;

    fn a_host() -> Host {
        let text = r#"{"hosts": [{"name": "a", "address": "10.0.0.1", "winrm_user": "u", "winrm_pass": "p",
                       "mac": "02:00:00:00:00:01", "wol_password": "01:02:03:04:05:06", "wake_attempts": 5}]}"#;
        Catalog::parse(text, &|_| None).unwrap().hosts()[0].clone()
    }

    #[test]
    fn the_entry_holds_unless_the_order_says_otherwise() {
        let (plan, wrong) = Plan::new(&a_host(), &WakeOrder::default(), &Settings::default());
        assert_eq!(wrong, None);
        assert_eq!(
            (plan.attempts, plan.target.port, plan.ping_target.as_str()),
            (5, 9, "10.0.0.1")
        );
        assert_eq!(plan.packet.unwrap().as_bytes().len(), 108);
        let order = WakeOrder {
            mac: Some("02-00-00-00-00-02".into()),
            attempts: Some(0),
            broadcast: Some("10.255.255.255".into()),
            port: Some(7),
            ..WakeOrder::default()
        };
        let (plan, wrong) = Plan::new(&a_host(), &order, &Settings::default());
        assert_eq!(wrong, None);
        assert_eq!(
            (plan.attempts, plan.target.port, plan.target.broadcast),
            (1, 7, Ipv4Addr::new(10, 255, 255, 255))
        );
        assert_eq!(
            plan.packet.unwrap().as_bytes().len(),
            102,
            "the password is the other card's"
        );
    }

    #[test]
    fn an_order_that_cannot_be_carried_out_is_refused_by_name() {
        let code = |order: WakeOrder| Plan::new(&a_host(), &order, &Settings::default()).1.unwrap().code;
        assert_eq!(
            code(WakeOrder {
                mac: Some("zz".into()),
                ..WakeOrder::default()
            }),
            "bad_mac"
        );
        assert_eq!(
            code(WakeOrder {
                broadcast: Some("here".into()),
                ..WakeOrder::default()
            }),
            "bad_broadcast"
        );
        assert_eq!(
            code(WakeOrder {
                broadcast: Some("8.8.8.8".into()),
                ..WakeOrder::default()
            }),
            "address_not_allowed"
        );
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        let (plan, _) = Plan::new(&a_host(), &WakeOrder::default(), &Settings::default());
        let pauses: Vec<u64> = (1..=5).map(|sent| plan.pause_after(sent).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 60, 60]);
    }
}
