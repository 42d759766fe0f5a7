//! Climbing: look, send, ask, judge, and again, until the host is ready or the deadline is over.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{Host, HostName};
use reservation_engine::{Reason, WakeOrder};
use tokio::time::{Instant, sleep, timeout_at};
use wol::{SendError, TcpProbe};

use super::order::Plan;
use super::progress::Progress;
use super::reasons::{self, at, send_failed};
use super::report::{Rung, RungState, WakeReport};
use crate::control::Inner;
use crate::error::StationError;
use crate::links::Link;
use crate::network::{NoAddress, probe, resolve};

/// No wake takes longer, whatever it is given.
const LONGEST: Duration = Duration::from_secs(3600);

/// Wakes a host and reports every rung. Never longer than `deadline`.
pub(crate) async fn climb(
    control: &Inner,
    name: &HostName,
    order: &WakeOrder,
    deadline: Duration,
) -> WakeReport {
    let started = Instant::now();
    let (host, link) = match control.host(name).await {
        Ok(found) => found,
        Err(error) => return refused(control, name, order, &error),
    };
    let (plan, wrong) = Plan::new(&host, order, &control.settings);
    let mut climb = Climb::new(control, host, link, plan, started);
    let ended = match wrong {
        Some(reason) => Err(reason),
        None => match timeout_at(started + deadline.min(LONGEST), climb.rounds()).await {
            Ok(ended) => ended,
            Err(_) => Err(climb.obstacle_at_the_end()),
        },
    };
    climb.report(ended.err())
}

/// A wake that could not begin.
fn refused(control: &Inner, name: &HostName, order: &WakeOrder, error: &StationError) -> WakeReport {
    let reason = at(Rung::PacketSent, error.code(), error.sentence());
    if let Some(host) = control.catalog.find(name) {
        let (plan, _) = Plan::new(&host, order, &control.settings);
        return Progress::default().report(name.clone(), plan, Duration::ZERO, Some(reason));
    }
    WakeReport {
        host: name.clone(),
        rungs: Progress::default().rungs(Some(&reason), Duration::ZERO),
        failure: Some(reason),
        warnings: Vec::new(),
        already_awake: false,
        mac: None,
        ping_target: String::new(),
        attempts_requested: order.attempts.unwrap_or_default(),
        attempts_used: 0,
        wait: order.ping_timeout.unwrap_or(control.settings.wake.packet_pause),
        port: order.port.unwrap_or(wol::DEFAULT_PORT),
        broadcast: std::net::Ipv4Addr::BROADCAST,
        duration: Duration::ZERO,
        observed: None,
    }
}

/// What one look led to.
pub(super) enum Round {
    Ready,
    Again,
}

/// One wake under way.
pub(super) struct Climb<'a> {
    pub(super) control: &'a Inner,
    pub(super) host: Host,
    pub(super) link: Arc<Link>,
    plan: Plan,
    started: Instant,
    pub(super) progress: Progress,
    /// What is in the way now: the answer if the deadline ends here.
    pub(super) obstacle: Reason,
    /// When the port was first seen closed, by our clock: the host was down then.
    pub(super) down_at: Option<DateTime<Utc>>,
    next_packet_at: Instant,
    send_error: Option<SendError>,
    pub(super) not_ready_since: Option<Instant>,
}

impl<'a> Climb<'a> {
    fn new(control: &'a Inner, host: Host, link: Arc<Link>, plan: Plan, started: Instant) -> Self {
        let detail = format!("nothing was heard of {} yet", host.address);
        Self {
            control,
            host,
            link,
            plan,
            started,
            progress: Progress::default(),
            obstacle: at(Rung::TcpPort, "port_silent", detail),
            down_at: None,
            next_packet_at: started,
            send_error: None,
            not_ready_since: None,
        }
    }

    async fn rounds(&mut self) -> Result<(), Reason> {
        let mut look = self.control.settings.wake.first_look;
        loop {
            if let Round::Ready = self.round(look).await? {
                return Ok(());
            }
            look = self.control.settings.wake.look;
            sleep(self.control.settings.wake.probe_pause).await;
        }
    }

    async fn round(&mut self, look: Duration) -> Result<Round, Reason> {
        let port = self.host.winrm.port;
        let resolved = resolve(&self.host.address, port, &self.control.settings.allowed_networks).await;
        let seen = match &resolved {
            Ok(addresses) => Some(probe(addresses, look).await),
            Err(NoAddress::Unresolved(_)) => None,
            Err(NoAddress::NotAllowed(address)) => {
                let detail = format!(
                    "address {address} of host {} is not in an allowed network",
                    self.host.name
                );
                return Err(at(Rung::PacketSent, "address_not_allowed", detail));
            }
        };
        match seen {
            Some(TcpProbe::Open { after }) => {
                let detail = format!(
                    "{}:{port} accepted a connection after {} ms",
                    self.host.address,
                    after.as_millis()
                );
                self.mark(Rung::TcpPort, RungState::Climbed, detail);
                self.ask_and_judge().await
            }
            other => self.while_closed(other).await,
        }
    }

    /// The port is closed: the host is asleep, or on its way.
    async fn while_closed(&mut self, seen: Option<TcpProbe>) -> Result<Round, Reason> {
        let was_up = self.progress.has(Rung::TcpPort);
        self.progress.fall_below(Rung::TcpPort);
        self.obstacle = reasons::closed(&self.host, seen);
        if matches!(seen, Some(TcpProbe::NotTried { .. })) {
            // Our own trouble says nothing about the host.
            return Ok(Round::Again);
        }
        if was_up || self.down_at.is_none() {
            // Whatever was connected before is gone.
            self.link.disconnect();
            self.not_ready_since = None;
            self.progress.observed = None;
        }
        self.down_at.get_or_insert(self.control.clock.now());
        let Some(packet) = self.plan.packet else {
            let detail = format!(
                "host {} is down and has no mac in the catalog: it cannot be woken",
                self.host.name
            );
            self.obstacle = at(Rung::PacketSent, "no_mac", detail);
            // One that was up a moment ago may be coming back by itself.
            return if was_up || self.progress.already_awake {
                Ok(Round::Again)
            } else {
                Err(self.obstacle.clone())
            };
        };
        if self.progress.tries < self.plan.attempts && Instant::now() >= self.next_packet_at {
            self.send(&packet).await?;
        }
        Ok(Round::Again)
    }

    async fn send(&mut self, packet: &wol::MagicPacket) -> Result<(), Reason> {
        self.progress.tries += 1;
        self.next_packet_at = Instant::now() + self.plan.pause_after(self.progress.tries);
        match wol::send(packet, &self.plan.target).await {
            Ok(sent) => {
                self.progress.packets += 1;
                let (count, most) = (self.progress.packets, self.plan.attempts);
                let detail =
                    format!("packet {count} of {most}: {sent}; that it left does not prove that it arrived");
                self.mark(Rung::PacketSent, RungState::Climbed, detail);
                Ok(())
            }
            Err(error) => {
                let lasting = matches!(
                    error,
                    SendError::Unaddressable { .. }
                        | SendError::NoSuchInterface { .. }
                        | SendError::NotOurAddress { .. }
                );
                let reason = send_failed(&error);
                self.send_error = Some(error);
                if lasting { Err(reason) } else { Ok(()) }
            }
        }
    }

    /// Says in advance what it means if the deadline passes during the next question. What stopped an earlier round
    /// at this rung or above says more.
    pub(super) fn expect(&mut self, silence: Reason) {
        if Rung::of(&self.obstacle) < Rung::of(&silence) {
            self.obstacle = silence;
        }
    }

    fn obstacle_at_the_end(&self) -> Reason {
        match &self.send_error {
            Some(error) if self.progress.packets == 0 => send_failed(error),
            _ => self.obstacle.clone(),
        }
    }

    pub(super) fn mark(&mut self, rung: Rung, state: RungState, detail: String) {
        self.progress.mark(rung, state, self.started.elapsed(), detail);
    }

    fn report(self, failure: Option<Reason>) -> WakeReport {
        let Self {
            host,
            plan,
            started,
            mut progress,
            ..
        } = self;
        if failure.is_none() && !progress.has(Rung::PacketSent) {
            let detail = if progress.already_awake {
                "not needed: already awake"
            } else {
                "not needed: it came up by itself"
            };
            progress.mark(
                Rung::PacketSent,
                RungState::Skipped,
                Duration::ZERO,
                detail.into(),
            );
        }
        let report = progress.report(host.name, plan, started.elapsed(), failure);
        let duration_ms = u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX);
        match &report.failure {
            None => {
                tracing::info!(host.name = %report.host, duration_ms, packets = report.attempts_used, "host is ready")
            }
            Some(reason) => {
                // Whoever ordered it warns: the flow with its reservation and attempt, the API in its answer.
                tracing::info!(host.name = %report.host, duration_ms, %reason, "host is not ready")
            }
        }
        report
    }
}
