//! One process as the operating system and the network see it: it gets time or not, lives or not, is reached or not.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use lab_model::HostName;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::{ProcessClock, World};
use crate::log::{Intent, What};

/// How long a wall clock that stood still stays behind.
const SET_RIGHT_AFTER: Duration = Duration::from_secs(90);
/// How long after a pause calls have to travel again, so that what was ready to be sent goes first.
const JUST_NOW: Duration = Duration::from_secs(1);

/// A moment of its work at which a process can be hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// A write is about to be sent to the store.
    BeforeCommit,
    /// The store has it, the process does not know that yet.
    AfterCommit,
    /// The same, when it was the intent of a step.
    AfterIntent,
    /// A command is about to be sent to a host.
    BeforeSend,
    /// The host has it.
    AfterSend,
    /// The host is done, the process does not know that yet.
    BeforeAnswer,
}

impl Point {
    pub(crate) const ALL: [Self; 6] = [
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::AfterIntent,
        Self::BeforeSend,
        Self::AfterSend,
        Self::BeforeAnswer,
    ];
}

/// What hits it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    Crash,
    Pause(Duration),
    /// A pause in which the wall clock stands still, too.
    Suspend(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Paused,
    Dead,
}

/// One incarnation of a process. All its calls to the outside go through here.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) world: World,
    pub(crate) clock: ProcessClock,
    life: Mutex<Life>,
    changed: Notify,
    /// Cut off from the store.
    pub(crate) no_store: AtomicBool,
    /// Cut off from the hosts.
    pub(crate) no_hosts: AtomicBool,
    trap: Mutex<Option<(Point, Blow)>>,
    resumed_at: Mutex<Option<Instant>>,
    intents: Mutex<BTreeMap<HostName, Intent>>,
    rng: Mutex<StdRng>,
}

impl Process {
    pub(crate) fn new(name: String, world: World, clock: ProcessClock) -> Arc<Self> {
        let rng = Mutex::new(world.rng(&name));
        Arc::new(Self {
            name,
            world,
            clock,
            life: Mutex::new(Life::Running),
            changed: Notify::new(),
            no_store: AtomicBool::new(false),
            no_hosts: AtomicBool::new(false),
            trap: Mutex::default(),
            resumed_at: Mutex::default(),
            intents: Mutex::default(),
            rng,
        })
    }

    /// Waits until the process gets time. One that is dead never does.
    pub(crate) async fn gets_time(&self) {
        loop {
            let changed = self.changed.notified();
            match self.life() {
                Life::Running => return,
                Life::Paused => changed.await,
                Life::Dead => pending().await,
            }
        }
    }

    /// Ends when the process dies.
    pub(crate) async fn died(&self) {
        loop {
            let changed = self.changed.notified();
            if self.life() == Life::Dead {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.life() == Life::Dead
    }

    /// Dies on the spot: not a word to anybody.
    pub(crate) fn kill(&self) {
        self.become_(Life::Dead, "dies");
    }

    /// Gets no time for so long.
    pub(crate) fn pause(self: &Arc<Self>, length: Duration) {
        if self.life() != Life::Running {
            return;
        }
        self.become_(Life::Paused, "stops");
        let process = Arc::clone(self);
        tokio::spawn(async move {
            sleep(length).await;
            process.resume();
        });
    }

    /// Gets no time for so long, and does not notice by its wall clock, until that is set right minutes later.
    fn suspend(self: &Arc<Self>, length: Duration) {
        self.pause(length);
        let process = Arc::clone(self);
        let step = TimeDelta::seconds(5);
        tokio::spawn(async move {
            while process.life() == Life::Paused {
                process.clock.set_offset(process.clock.offset() - step);
                sleep(step.to_std().unwrap_or_default()).await;
            }
            sleep(SET_RIGHT_AFTER).await;
            process.clock.set_offset(TimeDelta::zero());
        });
    }

    /// Whether it has just gone on after a pause.
    pub(crate) fn has_just_woken(&self) -> bool {
        lock(&self.resumed_at).is_some_and(|at| at.elapsed() < JUST_NOW)
    }

    /// Goes on where it was.
    pub(crate) fn resume(&self) {
        if self.life() == Life::Paused {
            *lock(&self.resumed_at) = Some(Instant::now());
            self.become_(Life::Running, "goes on");
        }
    }

    fn become_(&self, life: Life, event: &'static str) {
        if std::mem::replace(&mut *lock(&self.life), life) == life {
            return;
        }
        self.world.note(What::Process {
            process: self.name.clone(),
            event,
        });
        self.changed.notify_waiters();
    }

    fn life(&self) -> Life {
        *lock(&self.life)
    }

    /// Sets a trap: the process is hit when it comes to that point next.
    pub(crate) fn set_trap(&self, point: Point, blow: Blow) {
        *lock(&self.trap) = Some((point, blow));
    }

    /// Comes to a point of its work, and goes on if and when it gets time.
    pub(crate) async fn reach(self: &Arc<Self>, point: Point) {
        let blow = lock(&self.trap).take_if(|(at, _)| *at == point);
        match blow {
            Some((_, Blow::Crash)) => self.kill(),
            Some((_, Blow::Pause(length))) => self.pause(length),
            Some((_, Blow::Suspend(length))) => self.suspend(length),
            None => {}
        }
        self.gets_time().await;
    }

    pub(crate) fn heal(&self) {
        lock(&self.trap).take();
        self.no_store.store(false, Ordering::SeqCst);
        self.no_hosts.store(false, Ordering::SeqCst);
        self.resume();
    }

    pub(crate) fn set_intent(&self, host: &HostName, intent: Intent) {
        lock(&self.intents).insert(host.clone(), intent);
    }

    pub(crate) fn intent(&self, host: &HostName) -> Option<Intent> {
        lock(&self.intents).get(host).cloned()
    }

    pub(crate) fn rng(&self) -> MutexGuard<'_, StdRng> {
        lock(&self.rng)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
