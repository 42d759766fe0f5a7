//! How long after a start is due its first order reaches the station, when many are due at one instant.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use lab_model::{Clock as _, HostName, SharedClock, SystemClock};
use reservation_engine::testing::MemoryStore;
use reservation_engine::{Engine, Reservation, Settings, Step, Store};
use reservation_store::ReservationStore;
use tokio_util::sync::CancellationToken;

use crate::drive::drive;
use crate::figures::Samples;
use crate::place::{Place, book, fresh, reservation, whole_second};
use crate::station::{Hosts, Log, TokioClock, until};

/// How long before they are due the starts are booked: the scheduler has seen them and waits for the instant.
const AHEAD: TimeDelta = TimeDelta::seconds(3);
const PREPARE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    starts: usize,
    boot: Duration,
    prepare: Duration,
}

impl Case {
    pub(crate) fn new(starts: usize, boot: Duration) -> Self {
        Self {
            starts,
            boot,
            prepare: PREPARE,
        }
    }

    /// The same with hosts that are so many times faster.
    pub(crate) fn faster(self, times: u32) -> Self {
        Self {
            boot: self.boot / times.max(1),
            prepare: self.prepare / times.max(1),
            ..self
        }
    }
}

/// What was seen of one run.
pub(crate) struct Seen {
    pub(crate) late: Samples,
    /// When the last host was prepared, from the start of the reservations.
    pub(crate) prepared: TimeDelta,
}

pub(crate) async fn on_virtual_time(case: Case) -> Result<Seen> {
    let store = MemoryStore::default();
    yesterday(&store, case).await?;
    let clock = TokioClock::shared(SystemClock.now());
    let (starts_at, reservations) = class(case, &clock)?;
    for reservation in reservations {
        store.put(reservation);
    }
    let (late, prepared) = run(store, clock, case, starts_at).await?;
    Ok(Seen {
        late: Samples::new(late),
        prepared,
    })
}

pub(crate) async fn on(place: Place, case: Case, rounds: u32) -> Result<Option<String>> {
    let mut late = Vec::new();
    for _ in 0..rounds.max(1) {
        let round = fresh(place, move |db| async move {
            let store = ReservationStore::new(db.clone());
            yesterday(&store, case).await?;
            let clock = TokioClock::shared(SystemClock.now());
            let (starts_at, reservations) = class(case, &clock)?;
            book(&db, &reservations).await?;
            run(store, clock, case, starts_at).await
        });
        let Some((more, _)) = round.await? else {
            return Ok(None);
        };
        late.extend(more);
    }
    Ok(Some(Samples::new(late).text()))
}

/// A class that begins so late that its preparation is due in a moment.
fn class(case: Case, clock: &SharedClock) -> Result<(DateTime<Utc>, Vec<Reservation>)> {
    let lead = TimeDelta::from_std(Settings::default().lead)?;
    let starts_at = whole_second(clock.now(), lead + AHEAD);
    let all: Result<_> = (1..=case.starts)
        .map(|number| reservation(number, starts_at))
        .collect();
    Ok((starts_at, all?))
}

/// Each host was claimed before, as every host after its first day: a first claim costs a statement more.
async fn yesterday(store: &impl Store, case: Case) -> Result<()> {
    for number in 1..=case.starts {
        let host = HostName::parse(&format!("lab-ws-{number}"))?;
        let claim = store
            .claim_host(&host, "yesterday", Duration::from_secs(10))
            .await?;
        store.give_back(&claim.context("a new host is free")?).await?;
    }
    Ok(())
}

async fn run<S: Store>(
    store: S,
    clock: SharedClock,
    case: Case,
    starts_at: DateTime<Utc>,
) -> Result<(Vec<Duration>, TimeDelta)> {
    let log = Log::default();
    let hosts = Hosts {
        by: "only",
        clock: clock.clone(),
        boot: case.boot,
        prepare: case.prepare,
        log: log.clone(),
    };
    let settings = Settings::default();
    let due = starts_at - TimeDelta::from_std(settings.lead)?;
    let engine = Engine::new(store, hosts, clock.clone(), settings, "only", None);
    let stop = CancellationToken::new();
    let driver = tokio::spawn(drive(engine.clone(), clock, None, stop.clone()));
    until("the preparation of all hosts", || {
        log.done(Step::Prepare) >= case.starts
    })
    .await?;
    stop.cancel();
    driver.await?;
    engine.stop(Duration::from_secs(10)).await;
    let sent = log.all();
    let wakes: Vec<_> = sent.iter().filter(|sent| sent.step == Step::Wake).collect();
    ensure!(
        wakes.len() == case.starts,
        "{} wakes for {} starts",
        wakes.len(),
        case.starts
    );
    ensure!(
        wakes.iter().all(|wake| wake.at >= due),
        "a wake was sent before it was due"
    );
    let late = wakes
        .iter()
        .map(|wake| (wake.at - due).to_std().unwrap_or_default());
    let prepared = sent.iter().filter_map(|sent| sent.done_at).max();
    Ok((
        late.collect(),
        prepared.map_or(TimeDelta::MAX, |at| at - starts_at),
    ))
}
