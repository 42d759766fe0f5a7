//! Callers: operators and other services that order steps on a host at once, sometimes twice.

use std::time::Duration;

use lab_model::ReservationId;
use rand::RngExt;
use rand::rngs::StdRng;
use reservation_engine::{ManualOrder, OperationKind, StepAction, WakeOrder};

use super::{Sites, World, host_name};
use crate::faults::FaultKind;
use crate::log::What;

/// Who is named in the log as the one who ordered it.
const CALLER: &str = "operator";

#[derive(Debug, Clone)]
struct Planned {
    at: Duration,
    order: ManualOrder,
    twice: bool,
}

/// What callers will order.
#[derive(Debug)]
pub(crate) struct Callers {
    world: World,
    plan: Vec<Planned>,
}

impl Callers {
    pub(crate) fn draw(world: &World) -> Self {
        let mut rng = world.rng("callers");
        let swarm = &world.layout().swarm;
        let twice = swarm.chance(FaultKind::DuplicateOrder, 0.3);
        let mut plan = Vec::new();
        for number in 0..swarm.intensity(FaultKind::ManualOrder) * 4 {
            let at = Duration::from_secs(rng.random_range(60..=world.layout().quiet_at.as_secs()));
            plan.push(Planned {
                at,
                order: order(world, number, &mut rng),
                twice: rng.random_bool(twice),
            });
        }
        plan.sort_by_key(|planned| planned.at);
        Self {
            world: world.clone(),
            plan,
        }
    }

    pub(crate) async fn run(&self, sites: &Sites) {
        for (number, planned) in self.plan.iter().enumerate() {
            self.world.sleep_until(planned.at).await;
            let host = planned.order.host.as_str();
            self.world.fault(FaultKind::ManualOrder, host);
            self.send(sites, number, &planned.order);
            if planned.twice {
                self.world.fault(FaultKind::DuplicateOrder, host);
                self.send(sites, number + 1, &planned.order);
            }
        }
    }

    fn send(&self, sites: &Sites, number: usize, order: &ManualOrder) {
        let Some((site, engine)) = sites.api(number).and_then(|site| Some((site, site.engine()?))) else {
            return;
        };
        self.world.note(What::Order {
            caller: CALLER,
            process: site.name.clone(),
            host: order.host.clone(),
            reservation: order.reservation.clone(),
        });
        let (world, order) = (self.world.clone(), order.clone());
        tokio::spawn(async move {
            let told = match engine.run_manual(order).await {
                Ok(report) => format!("success {} after {} steps", report.success, report.steps.len()),
                Err(error) => error.to_string(),
            };
            world.note(What::Ordered(told));
        });
    }
}

fn order(world: &World, number: u32, rng: &mut StdRng) -> ManualOrder {
    let host = host_name(rng.random_range(1..=world.layout().all_hosts()));
    let wake = StepAction::Wake(WakeOrder::default());
    let prepare = StepAction::Prepare { args: Vec::new() };
    let release = StepAction::Release {
        args: vec!["--reboot".to_owned()],
    };
    let power = StepAction::Power {
        mode: "shutdown".to_owned(),
        args: Vec::new(),
    };
    let (kind, steps) = match rng.random_range(0..5) {
        0 => (OperationKind::ManualStart, vec![wake]),
        1 => (OperationKind::ManualStart, vec![wake, prepare]),
        2 => (OperationKind::ManualEnd, vec![release]),
        3 => (OperationKind::ManualEnd, vec![release, power]),
        _ => (OperationKind::ManualEnd, vec![power]),
    };
    ManualOrder {
        reservation: ReservationId::parse(&format!("by-hand-{number}"))
            .unwrap_or_else(|_| unreachable!("made of letters and digits")),
        lab: None,
        host,
        kind,
        steps,
        wait_for_host: Duration::from_secs(rng.random_range(1..=20)),
        key: None,
    }
}
