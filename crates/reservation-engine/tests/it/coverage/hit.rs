//! At which moment a step is hit, and how.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lab_model::{Clock, HostName};
use reservation_engine::{
    Engine, Observation, ReservationStatus, State, Station, Step, StepOrder, StepReport, Store,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::case::Case;
use crate::support::{Hosts, Lab, Moment, Script, ShakyStore, StatusFault, at, host};

/// What happens to the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hit {
    /// It is done, its outcome is forgotten, and another copy finds it begun.
    Twice,
    /// It fails and nothing took effect; no answer comes.
    FailsBefore,
    /// It takes effect, and no answer comes.
    FailsAfter,
    /// The process dies, from here on.
    BeforeIntent,
    AfterIntent,
    /// The host, or the store, is at work on it.
    MidEffect,
    AfterEffect,
    BeforeOutcome,
    AfterOutcome,
}

impl Hit {
    pub(super) const ALL: [Self; 9] = [
        Self::Twice,
        Self::FailsBefore,
        Self::FailsAfter,
        Self::BeforeIntent,
        Self::AfterIntent,
        Self::MidEffect,
        Self::AfterEffect,
        Self::BeforeOutcome,
        Self::AfterOutcome,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Twice => "run twice",
            Self::FailsBefore => "fails before",
            Self::FailsAfter => "fails after",
            Self::BeforeIntent => "before intent",
            Self::AfterIntent => "after intent",
            Self::MidEffect => "mid-effect",
            Self::AfterEffect => "after effect",
            Self::BeforeOutcome => "before outcome",
            Self::AfterOutcome => "after outcome",
        }
    }

    /// Whether the process dies, so that it matters when another copy comes.
    pub(super) fn dies(self) -> bool {
        !matches!(self, Self::Twice | Self::FailsBefore | Self::FailsAfter)
    }

    pub(super) fn pauses(self, all: &[Duration]) -> &[Duration] {
        if self.dies() {
            all
        } else {
            all.get(..1).unwrap_or_default()
        }
    }
}

/// Hosts on whose first try of a step the process that sent it dies.
struct DyingHosts {
    hosts: Hosts,
    at: Arc<Mutex<Option<(Step, Hit)>>>,
    died: CancellationToken,
}

impl Station for DyingHosts {
    async fn perform(&self, order: StepOrder) -> StepReport {
        let hit = self
            .at
            .lock()
            .unwrap()
            .take_if(|(step, _)| *step == order.action.step());
        match hit {
            Some((_, Hit::MidEffect)) => {
                // The host goes on without the one who asked for it, also when somebody else has come meanwhile.
                self.hosts.allow_overlap();
                let hosts = self.hosts.clone();
                tokio::spawn(async move { hosts.perform(order).await });
                sleep(Duration::from_secs(1)).await;
                self.die().await
            }
            Some(_) => {
                self.hosts.perform(order).await;
                self.die().await
            }
            None => self.hosts.perform(order).await,
        }
    }

    async fn observe(&self, host: &HostName, deadline: Duration) -> Observation {
        self.hosts.observe(host, deadline).await
    }
}

impl DyingHosts {
    async fn die(&self) -> StepReport {
        self.died.cancel();
        std::future::pending().await
    }
}

/// Lives through a day in which the step of the case is hit once; another copy comes after `pause`.
pub(super) async fn live(case: &Case, hit: Hit, pause: Duration) -> Lab {
    let lab = case.lab();
    let store = store_of(case, hit, &lab);
    let died = store.died.clone();
    let hosts = DyingHosts {
        hosts: lab.hosts.clone(),
        at: Arc::default(),
        died: died.clone(),
    };
    if case.moves_to().is_none() {
        match hit {
            Hit::FailsBefore => lab.hosts.script(&host(1), case.step, &[Script::LostBefore]),
            Hit::FailsAfter => lab.hosts.script(&host(1), case.step, &[Script::LostAfter]),
            Hit::MidEffect | Hit::AfterEffect => *hosts.at.lock().unwrap() = Some((case.step, hit)),
            _ => {}
        }
    }
    let clock = Arc::new(lab.clock.clone());
    let first = Engine::new(store, hosts, clock, lab.settings.clone(), "first", Some(1));
    tokio::select! {
        () = work(case, &lab, &first) => assert!(!hit.dies() && hit != Hit::Twice, "{case} {}: never reached", hit.name()),
        () = died.cancelled() => {}
    }
    first.stop(Duration::ZERO).await;
    if hit == Hit::Twice {
        forget_outcome(case, &lab).await;
    }
    sleep(pause).await;
    lab.run(&lab.engine("second"), at(420)).await;
    lab
}

async fn work(case: &Case, lab: &Lab, engine: &Engine<ShakyStore, DyingHosts>) {
    match case.order() {
        // A caller is told; what counts is what is stored and what the host saw.
        Some(order) => drop(engine.run_manual(order).await),
        None => drop(lab.run(engine, at(300)).await),
    }
}

fn store_of(case: &Case, hit: Hit, lab: &Lab) -> ShakyStore {
    let memory = lab.store.clone();
    let moment = match hit {
        Hit::BeforeIntent => Moment::BeforeIntent,
        Hit::AfterIntent => Moment::AfterIntent,
        Hit::BeforeOutcome => Moment::BeforeOutcome,
        Hit::AfterOutcome | Hit::Twice => Moment::AfterOutcome,
        Hit::FailsBefore | Hit::FailsAfter | Hit::MidEffect | Hit::AfterEffect => {
            let store = ShakyStore::new(memory);
            if let Some(to) = case.moves_to() {
                store.break_status(to, status_fault(hit));
            }
            return store;
        }
    };
    ShakyStore::dying_at(memory, case.step, moment)
}

fn status_fault(hit: Hit) -> StatusFault {
    match hit {
        Hit::FailsBefore => StatusFault::LostBefore,
        Hit::FailsAfter => StatusFault::LostAfter,
        Hit::MidEffect => StatusFault::DieBefore,
        _ => StatusFault::DieAfter,
    }
}

/// Puts the operation back to where its step was begun, as if its outcome had never been written.
async fn forget_outcome(case: &Case, lab: &Lab) {
    let mut operation = lab.operation("a", case.kind).unwrap();
    let begun = lab
        .store
        .attempts()
        .into_iter()
        .rfind(|attempt| attempt.operation == operation.id && attempt.step == case.step)
        .unwrap();
    let since = lab.clock.now() - chrono::TimeDelta::seconds(30);
    operation.state = State::Running {
        step: case.step,
        attempt: begun.attempt,
        since,
        last: None,
    };
    let ghost = claim(lab).await;
    lab.store
        .save_operation(&ghost, &operation, &[], lab.clock.now())
        .await
        .unwrap();
    lab.store.give_back(&ghost).await.unwrap();
    let status = lab
        .store
        .find_reservation(&crate::support::id("a"))
        .map(|row| row.status);
    let moved = case.moves_to();
    assert!(moved.is_none() || status == moved || status == Some(ReservationStatus::Completed));
}

/// The claim of the process that died ends by itself.
async fn claim(lab: &Lab) -> reservation_engine::Claim {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let claimed = lab
            .store
            .claim_host(&host(1), "ghost", Duration::from_secs(15))
            .await
            .unwrap();
        if let Some(claimed) = claimed {
            return claimed;
        }
        assert!(Instant::now() < until, "the claim never ended");
        sleep(Duration::from_secs(1)).await;
    }
}
