//! How long the hosts of a scheduler that died are left alone until another one acts on them.
//!
//! The dying one stops in the middle of its wakes and gives nothing back, as after `kill -9`: its claims end with
//! their leases. On real databases both are in the registry, so that shards have to be taken over as well.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use lab_model::{Clock as _, HostName, SharedClock, SystemClock};
use reservation_engine::testing::MemoryStore;
use reservation_engine::{Engine, Reservation, Settings, Store};
use reservation_store::ReservationStore;
use store_support::Database;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker_registry::{Capabilities, Duty, Member, Ownership, Progress, Registration};

use crate::drive::drive;
use crate::figures::Samples;
use crate::place::{Place, book, fresh, reservation, whole_second};
use crate::station::{Hosts, Log, TokioClock, until};

/// Half of them will be the dying one's.
const HOSTS: usize = 40;
/// Their wakes are spread over this many seconds, so that their leases end at different times.
const SPREAD: usize = 5;
const BOOT: Duration = Duration::from_secs(75);

pub(crate) struct Takeover(Samples);

impl Takeover {
    pub(crate) fn text(&self) -> String {
        self.0.median_and_longest()
    }
}

pub(crate) async fn on_virtual_time() -> Result<Takeover> {
    let clock = TokioClock::shared(SystemClock.now());
    let store = MemoryStore::default();
    for reservation in lessons(clock.now())? {
        store.put(reservation);
    }
    run(store, clock, [None, None]).await
}

pub(crate) async fn on(place: Place) -> Result<Option<String>> {
    let took = fresh(place, |db| async move {
        let members = [join(&db, "dying"), join(&db, "living")];
        let balanced = || {
            members
                .iter()
                .all(|member| member.peers() == 2 && member.shards() == 32)
        };
        until("the balance of shards", balanced).await?;
        let clock = TokioClock::shared(SystemClock.now());
        book(&db, &lessons(clock.now())?).await?;
        let members = members.map(Some);
        run(ReservationStore::new(db), clock, members).await
    });
    Ok(took.await?.map(|took| took.text()))
}

/// Reservations whose preparation is due one after the other.
fn lessons(now: DateTime<Utc>) -> Result<Vec<Reservation>> {
    let lead = TimeDelta::from_std(Settings::default().lead)?;
    let first = whole_second(now, lead + TimeDelta::seconds(2));
    let spread = |number: usize| TimeDelta::seconds(i64::try_from(number % SPREAD).unwrap_or(0));
    let all = (1..=HOSTS).map(|number| reservation(number, first + spread(number)));
    all.collect()
}

/// A place in the registry.
struct Membership {
    shards: Ownership,
    task: JoinHandle<worker_registry::Departure>,
}

impl Membership {
    fn peers(&self) -> u32 {
        self.shards.peers(Duty::Reservations)
    }

    fn shards(&self) -> usize {
        self.shards.shards(Duty::Reservations).len()
    }
}

fn join(db: &Database, name: &str) -> Membership {
    let who = Registration::new("scheduler", name, Capabilities::new([Duty::Reservations]), "1");
    let (member, shards) = Member::new(who, worker_registry::Settings::default(), Progress::default());
    let never = CancellationToken::new();
    let running = member.run(db.clone(), Box::new(|| 0), never.clone(), never);
    Membership {
        shards,
        task: tokio::spawn(running),
    }
}

async fn run<S: Store + Clone>(
    store: S,
    clock: SharedClock,
    [dying, living]: [Option<Membership>; 2],
) -> Result<Takeover> {
    let log = Log::default();
    let stop = CancellationToken::new();
    let scheduler = |name, member: &Option<Membership>| {
        let hosts = Hosts {
            by: name,
            clock: clock.clone(),
            boot: BOOT,
            prepare: Duration::ZERO,
            log: log.clone(),
        };
        let engine = Engine::new(
            store.clone(),
            hosts,
            clock.clone(),
            Settings::default(),
            name,
            None,
        );
        let shards = member.as_ref().map(|member| member.shards.clone());
        let stop = stop.child_token();
        let driver = tokio::spawn(drive(engine.clone(), clock.clone(), shards, stop.clone()));
        (engine, driver, stop)
    };
    let (first, first_driver, first_stop) = scheduler("dying", &dying);
    let (second, second_driver, _) = scheduler("living", &living);
    until("the wake of all hosts", || log.all().len() >= HOSTS).await?;

    let killed_at = clock.now();
    first_stop.cancel();
    first_driver.abort();
    if let Some(dying) = &dying {
        dying.task.abort();
    }
    first.stop(Duration::ZERO).await;
    let left: Vec<HostName> = log
        .all()
        .into_iter()
        .filter(|sent| sent.by == "dying")
        .map(|sent| sent.host)
        .collect();
    ensure!(!left.is_empty(), "the scheduler that died had no host");
    let taken = || by_the_living(&log, killed_at);
    until("the takeover of all hosts", || {
        left.iter().all(|host| taken().contains_key(host))
    })
    .await?;

    stop.cancel();
    second_driver.await?;
    second.stop(Duration::ZERO).await;
    if let Some(living) = &living {
        living.task.abort();
    }
    let taken = taken();
    let times = left.iter().filter_map(|host| taken.get(host));
    let times = times.map(|at| (*at - killed_at).to_std().unwrap_or_default());
    Ok(Takeover(Samples::new(times.collect())))
}

/// The first order of the survivor for each host since then.
fn by_the_living(log: &Log, since: DateTime<Utc>) -> HashMap<HostName, DateTime<Utc>> {
    let mut first = HashMap::new();
    for sent in log.all() {
        if sent.by == "living" && sent.at >= since {
            first.entry(sent.host).or_insert(sent.at);
        }
    }
    first
}
