//! The station port of one process: the network between it and the hosts, and the wake ladder.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::HostName;
use rand::RngExt;
use reservation_engine::{Observation, Reason, Station, Step, StepOrder, StepOutcome, StepReport};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::commands::{Ended, execute};
use super::host::{Power, boot, whole_seconds};
use crate::faults::FaultKind;
use crate::log::{EffectId, What};
use crate::world::{Point, Process};

/// How long it takes to find out that a host does not accept connections.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often the wake ladder tries a host that does not answer yet.
const RUNG_EVERY: Duration = Duration::from_secs(3);
/// How long after a boot the first heartbeat is written.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(4);

/// Hosts as one process sees them.
#[derive(Debug, Clone)]
pub(crate) struct SimStation {
    process: Arc<Process>,
}

/// What a host is to somebody who tries to speak to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Well,
    Refuses,
    Hangs,
    Nothing,
    /// Nothing at its address takes a connection or a ping.
    Off,
    /// Something answers that is not the host as it was asked to be.
    Impostor,
}

impl SimStation {
    pub(crate) fn new(process: Arc<Process>) -> Self {
        Self { process }
    }

    fn answers(&self, name: &HostName) -> Answers {
        let now = self.process.world.elapsed();
        if self.process.no_hosts.load(Ordering::SeqCst) {
            return Answers::Nothing;
        }
        match self.process.world.hosts().get(name) {
            Some(host) if host.power == Power::Up && host.hangs(now) => Answers::Hangs,
            Some(host) if host.power == Power::Up && host.refuses_until > now => Answers::Refuses,
            Some(host) if host.power == Power::Up => Answers::Well,
            Some(host) if host.impostor_until > now => Answers::Impostor,
            Some(host) if host.power == Power::Booting => Answers::Nothing,
            _ => Answers::Off,
        }
    }

    /// What the process reads of a host, on its own clock.
    fn read(&self, name: &HostName) -> Observation {
        let world = &self.process.world;
        let offset = self.process.clock.offset();
        let wall = |at: Duration| -> DateTime<Utc> { whole_seconds(world.wall(at)) + offset };
        let now = world.elapsed();
        let hosts = world.hosts();
        hosts
            .get(name)
            .map(|host| host.heartbeat(now, wall))
            .unwrap_or_default()
    }

    fn hit(&self, kind: FaultKind, each: f64, host: &HostName) -> bool {
        self.process
            .world
            .hit(&mut self.process.rng(), kind, each, host.as_str())
    }

    fn sent(&self, order: &StepOrder) -> EffectId {
        let effect = self.process.world.next_effect();
        self.process.world.note(What::Sent {
            process: self.process.name.clone(),
            host: order.host.clone(),
            effect,
            step: order.action.step(),
            intent: self.process.intent(&order.host),
        });
        effect
    }

    /// Climbs the ladder: a packet, then an answer of a host that booted since, then its heartbeat.
    async fn wake(&self, order: &StepOrder) -> StepOutcome {
        let host = &order.host;
        let world = &self.process.world;
        if self.process.no_hosts.load(Ordering::SeqCst) {
            sleep(CONNECT_LIMIT).await;
            return failed("wake_send", "packet", "no route to the host");
        }
        let effect = self.sent(order);
        boot(world, host, Some(effect));
        self.process.reach(Point::AfterSend).await;
        let until = Instant::now() + order.deadline.saturating_sub(RUNG_EVERY);
        loop {
            let rung = match self.answers(host) {
                Answers::Well if self.is_written(host) => {
                    sleep(Duration::from_secs(1)).await;
                    return StepOutcome::Done;
                }
                Answers::Well => "heartbeat",
                Answers::Refuses => {
                    return failed("unauthorized", "winrm", "the host refused the credentials");
                }
                Answers::Hangs => "winrm",
                Answers::Nothing | Answers::Off => "tcp_port",
                Answers::Impostor => "boot_time",
            };
            if Instant::now() >= until {
                return failed("wake_no_answer", rung, "the host was not ready in time");
            }
            sleep(RUNG_EVERY).await;
        }
    }

    /// Whether the heartbeat was written since the host booted.
    fn is_written(&self, name: &HostName) -> bool {
        let now = self.process.world.elapsed();
        let hosts = self.process.world.hosts();
        let booted = hosts.get(name).and_then(|host| host.stamps.booted);
        booted.is_none_or(|booted| now >= booted + FIRST_HEARTBEAT)
    }

    async fn command(&self, order: &StepOrder) -> StepOutcome {
        let host = &order.host;
        match self.answers(host) {
            Answers::Nothing | Answers::Off | Answers::Impostor => {
                sleep(CONNECT_LIMIT).await;
                return failed("unreachable", "tcp_port", "the host did not accept a connection");
            }
            Answers::Refuses => return failed("unauthorized", "winrm", "the host refused the credentials"),
            Answers::Hangs => {
                sleep(order.deadline).await;
                return lost("no answer in time");
            }
            Answers::Well => {}
        }
        if self.hit(FaultKind::LostBefore, 0.05, host) {
            sleep(CONNECT_LIMIT).await;
            return lost("the connection broke");
        }
        let effect = self.sent(order);
        let travels = Duration::from_millis(self.process.rng().random_range(20..=400));
        let told = execute(&self.process.world, host, &order.action, effect, travels);
        self.process.reach(Point::AfterSend).await;
        if self.hit(FaultKind::LostAfter, 0.05, host) {
            let after = self.process.rng().random_range(1..=20);
            sleep(Duration::from_secs(after)).await;
            return lost("the connection broke");
        }
        let answer = timeout(order.deadline.saturating_sub(Duration::from_secs(1)), told).await;
        self.process.reach(Point::BeforeAnswer).await;
        match answer {
            Ok(Ok(_)) if self.process.no_hosts.load(Ordering::SeqCst) => lost("the connection broke"),
            Ok(Ok(Ended::Done)) => StepOutcome::Done,
            Ok(Ok(Ended::Warnings)) => StepOutcome::DoneWithWarnings,
            Ok(Ok(Ended::ExitCode(code))) => StepOutcome::Failed(Reason::new(
                "exit_code",
                format!("the station answered with exit code {code}"),
            )),
            Ok(Err(_)) => lost("the connection broke"),
            Err(_) => lost("no answer in time"),
        }
    }
}

fn failed(code: &str, rung: &str, detail: &str) -> StepOutcome {
    StepOutcome::Failed(Reason::new(code, detail).at_rung(rung))
}

fn lost(detail: &str) -> StepOutcome {
    StepOutcome::Unknown(Reason::new("answer_lost", detail))
}

impl Station for SimStation {
    async fn perform(&self, order: StepOrder) -> StepReport {
        let began = Instant::now();
        self.process.reach(Point::BeforeSend).await;
        let step = order.action.step();
        let outcome = if step == Step::Wake {
            self.wake(&order).await
        } else {
            self.command(&order).await
        };
        self.process.gets_time().await;
        let success = matches!(outcome, StepOutcome::Done | StepOutcome::DoneWithWarnings);
        let code = if success { 0 } else { 1 };
        StepReport {
            message: format!("Exit code {code}"),
            response_code: Some(code),
            details: if success {
                json!({"exitCode": 0})
            } else {
                Value::Null
            },
            duration: began.elapsed(),
            observed: success.then(|| self.read(&order.host)),
            outcome,
        }
    }

    async fn observe(&self, host: &HostName, deadline: Duration) -> Observation {
        self.process.gets_time().await;
        sleep(Duration::from_millis(300)).await;
        let seen = match self.answers(host) {
            Answers::Well => self.read(host),
            Answers::Hangs => {
                sleep(deadline).await;
                Observation::default()
            }
            Answers::Off => Observation {
                off: true,
                ..Observation::default()
            },
            Answers::Nothing | Answers::Impostor | Answers::Refuses => {
                sleep(CONNECT_LIMIT.min(deadline)).await;
                Observation::default()
            }
        };
        self.process.world.note(What::Looked {
            process: self.process.name.clone(),
            host: host.clone(),
        });
        self.process.gets_time().await;
        seen
    }
}
