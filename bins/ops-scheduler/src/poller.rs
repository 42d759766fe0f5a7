//! Polls each of this worker's hosts once per interval, hundreds at a time: one that hangs delays nobody.
//!
//! One task decides. [`schedule`] says who is due, [`breaker`] how to look, [`lanes`] who may be looked at at the same
//! moment; all three are pure. Looks run in tasks of their own ([`visit`], [`watch`]), and what they bring goes to the
//! database's writer by way of [`keeper`], which never waits.

mod breaker;
mod figures;
mod hosts;
mod keeper;
mod lanes;
mod recall;
mod rest;
mod rested;
mod schedule;
mod turn;
pub(crate) mod visit;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use heartbeat_store::{Recorder, RecorderSettings};
use lab_model::{Catalog, HostName};
use ops_runtime::{Settings, Site, SiteHandle};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{mpsc, watch as latest};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use worker_registry::{Duty, Ownership, Pulse, ShardSet};

use breaker::BreakerSettings;
use hosts::{Cursor, Hosts};
use keeper::Keeper;
use lanes::{Lanes, Number};
use recall::Recalled;
use rest::Since;
use schedule::{HostId, Schedule, Stay};
use visit::Ended;
use watch::Notice;

/// Longest time until a changed catalog is noticed.
const LOOK: Duration = Duration::from_secs(5);
/// How often figures are brought up to date, and reports offered again to a full queue.
const UPKEEP: Duration = Duration::from_millis(500);
/// How long the last reports are given to be stored when the service stops.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Looks that ended and are taken at once.
const AT_ONCE: usize = 256;
/// What watches have to tell; each waits for its turn.
const NOTICES: usize = 64;

/// By their compared names, the hosts that nobody needs: told by whoever judges them. `None` until the first time.
pub(crate) type MayBeOff = latest::Receiver<Option<Arc<HashSet<String>>>>;

pub(crate) async fn run(
    handle: SiteHandle,
    ownership: Ownership,
    may_be_off: MayBeOff,
    pulse: Pulse,
    stop: CancellationToken,
) {
    let Some(Some(site)) = stop
        .run_until_cancelled(pulse.while_waiting(handle.opened()))
        .await
    else {
        return;
    };
    let (recorder, writer) = Recorder::start(site.heartbeats.clone(), recorder_settings(&site.settings));
    let (tell, mut ended) = mpsc::unbounded_channel();
    let (notify, mut notices) = mpsc::channel(NOTICES);
    let (recall, mut recalls) = mpsc::channel(4);
    let (since, mut changes) = mpsc::channel(1);
    tracing::info!(
        hosts = site.catalog.current().hosts().len(),
        interval_secs = site.settings.poll.interval.as_secs(),
        "polling heartbeats"
    );
    let mut woken = ownership.clone();
    let mut poller = Poller::new(
        site,
        ownership,
        may_be_off,
        recorder,
        Tellers {
            tell,
            notify,
            recall,
            since,
        },
    );
    let mut batch: Vec<Ended> = Vec::new();
    while !stop.is_cancelled() {
        // Whoever supervises the process is to start it anew then.
        if !poller.keeper.is_orphaned() {
            pulse.beat();
        }
        let now = Instant::now();
        poller.adopt(now);
        poller.keep_up(now);
        poller.begin_due(now);
        let next = poller.next_at(now);
        tokio::select! {
            () = stop.cancelled() => {}
            _ = ended.recv_many(&mut batch, AT_ONCE) => {
                batch.drain(..).for_each(|one| poller.ended(one));
            }
            settled = poller.keeper.settled() => {
                poller.stored(settled);
                // A batch is committed as a whole.
                while let Some(settled) = poller.keeper.settled_too() {
                    poller.stored(settled);
                }
            }
            Some(notice) = notices.recv() => poller.noticed(notice),
            Some(recalled) = recalls.recv() => poller.recalled(recalled),
            Some(since) = changes.recv() => poller.wake_rested(&since),
            () = woken.changed() => {}
            () = sleep_until(next) => {}
        }
    }
    // Looks only read: they are dropped where they are, and the connections are closed with the site.
    poller.finish().await;
    if !writer.close(LAST_WORDS).await {
        tracing::warn!("the last heartbeats could not be stored; they are read again");
    }
}

fn recorder_settings(settings: &Settings) -> RecorderSettings {
    RecorderSettings {
        keep: settings.heartbeats.keep,
        ..RecorderSettings::default()
    }
}

/// Where tasks tell what they found.
struct Tellers {
    tell: mpsc::UnboundedSender<Ended>,
    notify: mpsc::Sender<Notice>,
    recall: mpsc::Sender<Recalled>,
    since: mpsc::Sender<Since>,
}

/// A look under way.
struct Running {
    host: HostId,
    stay: Stay,
    began: Instant,
    task: AbortHandle,
    /// Its place was needed.
    is_given_up: bool,
}

/// What the loop keeps between two turns.
struct Poller {
    site: Arc<Site>,
    ownership: Ownership,
    may_be_off: MayBeOff,
    tellers: Tellers,
    recorder: Recorder,
    keeper: Keeper,
    schedule: Schedule,
    lanes: Lanes,
    breaker: BreakerSettings,
    hosts: Hosts,
    running: HashMap<Number, Running>,
    last_number: Number,
    /// What the table was made from.
    adopted: Option<(Arc<Catalog>, ShardSet)>,
    /// The database is being asked about hosts.
    is_asking: bool,
    ask_again_at: Instant,
    /// When the database is asked next whether hosts may be looked at that refused.
    rested_at: Instant,
    upkeep_at: Instant,
    /// The last turn of the loop.
    turned_at: Instant,
    rng: StdRng,
}

impl Poller {
    fn new(
        site: Arc<Site>,
        ownership: Ownership,
        may_be_off: MayBeOff,
        recorder: Recorder,
        tellers: Tellers,
    ) -> Self {
        let (settings, now) = (&site.settings.poll, Instant::now());
        let mut rng = StdRng::seed_from_u64(rand::rng().random());
        let breaker = BreakerSettings {
            failures: settings.breaker_failures,
            longest: settings.breaker_longest,
            deadline: settings.deadline,
        };
        Self {
            schedule: Schedule::new(settings.interval, now, rng.random()),
            lanes: Lanes::new(settings.max_in_flight, settings.slow_share),
            keeper: Keeper::new(recorder.clone()),
            breaker,
            site,
            ownership,
            may_be_off,
            tellers,
            recorder,
            hosts: Hosts::default(),
            running: HashMap::new(),
            last_number: 0,
            adopted: None,
            is_asking: false,
            ask_again_at: now,
            rested_at: now,
            upkeep_at: now,
            turned_at: now,
            rng,
        }
    }

    /// Polls the hosts of the shards that are ours from now on, when anything is new about them.
    fn adopt(&mut self, now: Instant) {
        let (catalog, shards) = (self.site.catalog.current(), self.ownership.shards(Duty::Polls));
        if let Some((before, held)) = &self.adopted
            && Arc::ptr_eq(before, &catalog)
            && *held == shards
        {
            return;
        }
        let before = self.adopted.as_ref().map(|(before, _)| before.as_ref());
        let changes = self.hosts.adopt(&catalog, shards, before);
        if before.is_some() && changes.left.len() + changes.new.len() > 0 {
            let (left, new) = (changes.left.len(), changes.new.len());
            tracing::info!(
                left,
                new,
                shards = shards.len(),
                "other hosts are polled from now on"
            );
        }
        for host in changes.left {
            self.schedule.leave(host);
            self.keeper.forget(host);
        }
        for (host, stay) in changes.renewed {
            self.schedule.queue(host, stay, now);
        }
        if !changes.new.is_empty() {
            self.ask_again_at = now;
        }
        self.adopted = Some((catalog, shards));
    }

    /// What has to be done now and then.
    fn keep_up(&mut self, now: Instant) {
        for number in self.lanes.grow_older(now) {
            if let Some(run) = self.running.get_mut(&number) {
                run.is_given_up = true;
                run.task.abort();
            }
        }
        if self.ask_again_at <= now && !self.is_asking {
            self.ask_again_at = now + LOOK;
            self.ask_the_database();
        }
        if self.rested_at <= now {
            self.rested_at = now + (self.site.settings.poll.interval / 2).min(rested::LONGEST);
            self.ask_of_rested();
        }
        if self.upkeep_at <= now {
            self.upkeep_at = now + UPKEEP;
            self.keeper.hand_over();
            self.show_figures();
        }
    }

    /// Asks about the hosts that are new, and those whose events nobody could speak of so far.
    fn ask_the_database(&mut self) {
        let unknown = |entry: &&hosts::Entry| entry.stay.is_none() || entry.cursor == Cursor::Unknown;
        let names: Vec<HostName> = self
            .hosts
            .all()
            .filter(unknown)
            .map(|entry| entry.target.name.clone())
            .collect();
        if names.is_empty() {
            return;
        }
        self.is_asking = true;
        let asking = Recalled::ask(Arc::clone(&self.site), names, self.may_be_off.clone());
        recall::begin(asking, self.tellers.recall.clone());
    }

    /// Takes hosts on with what the database knows of them.
    fn recalled(&mut self, recalled: Recalled) {
        self.is_asking = false;
        let (now, at) = (Instant::now(), self.site.clock.now());
        let mut entering = Vec::new();
        let mut resting = Vec::new();
        for name in &recalled.hosts {
            let Some(host) = self.hosts.find(name) else {
                continue;
            };
            let Some(entry) = self.hosts.entry(host) else {
                continue;
            };
            if entry.cursor == Cursor::Unknown {
                entry.cursor = recalled.cursor(name);
            }
            if entry.stay.is_none() {
                let known = recalled.of(name, self.site.settings.poll.interval, now, at);
                entry.breaker = known.breaker;
                entry.refusals = known.refusals;
                entering.push((host, known.since));
                resting.push(known.rest);
            }
        }
        let stays = self.schedule.enter(&entering, now);
        for (((host, _), stay), rest) in entering.into_iter().zip(stays).zip(resting) {
            if let Some(entry) = self.hosts.entry(host) {
                entry.stay = Some(stay);
            }
            if let Some(rest) = rest {
                self.schedule.queue(host, stay, now + rest);
            }
        }
    }

    /// Whether nobody needs a host on.
    fn may_be_off(&self, name: &HostName) -> bool {
        let idle = self.may_be_off.borrow();
        idle.as_ref().is_some_and(|idle| idle.contains(name.key()))
    }

    fn next_at(&mut self, now: Instant) -> Instant {
        let due = self.schedule.next_at().filter(|_| self.lanes.has_room());
        let slow = self.lanes.next_at();
        let upkeep = if self.running.is_empty() && self.keeper.waiting() == 0 {
            now + LOOK
        } else {
            self.upkeep_at
        };
        [due, slow].into_iter().flatten().fold(upkeep, Instant::min)
    }

    async fn finish(mut self) {
        for run in self.running.values() {
            run.task.abort();
        }
        self.keeper.finish(LAST_WORDS).await;
    }
}
