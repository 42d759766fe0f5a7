//! One round of a worker: it says that it lives, renews what it holds, looks around, and moves its own hands.

use std::collections::BTreeSet;
use std::time::Duration;

use store_support::DbErr;
use tokio::time::Instant;

use super::{Departure, IDLE_LOOK, Life, MAX_HURRY, Round, STUCK};
use crate::balance::{Held, Moves, Scene, decide};
use crate::leases::{self, Lease, SWEEP};
use crate::ownership::{Holdings, publish};
use crate::registry::{Heard, Look, Registry, find_holder, takers};
use crate::shard::{Duty, SHARDS, Shard, ShardSet};
use crate::worker::{Status, WorkerRecord};

impl Life {
    /// One heartbeat and one look around. Renews before it looks, so that what it sees of its own leases is fresh.
    pub(super) async fn round(&mut self, draining: bool) -> Result<Round, DbErr> {
        if draining && !self.state.draining {
            // The loops stop first; others may take what was ours only after that.
            publish(&self.sender, Holdings::nothing());
            self.bounded(self.registry.drain(self.state.id, &self.who))
                .await?;
            self.state.draining = true;
        }
        if let Some(departure) = self.heartbeat().await? {
            return Ok(Round::Gone(departure));
        }
        let me = self.holder();
        if !self.state.held.is_empty() {
            let names: Vec<String> = self.state.held.iter().cloned().collect();
            self.bounded(leases::renew(&self.registry.db, &me, &names, self.settings.lease))
                .await?;
        }
        self.state.rounds = self.state.rounds.wrapping_add(1);
        let idle = self.who.capabilities.duties.is_empty() && self.state.held.is_empty();
        if idle && self.state.rounds % IDLE_LOOK != 1 {
            return Ok(Round::Again(self.pace()));
        }
        let seen_at = Instant::now();
        let look = self.bounded(self.registry.look()).await?;
        self.note_status(&look);
        self.keep_names(&look);
        self.sweep(&look).await?;
        let settled = self.rebalance(look, seen_at).await?;
        Ok(Round::Again(settled))
    }

    async fn heartbeat(&mut self) -> Result<Option<Departure>, DbErr> {
        let age = self.progress.slowest().map_or(Duration::ZERO, |(name, age)| {
            if age > STUCK && !self.state.stuck {
                tracing::warn!(pass = name, age_secs = age.as_secs(), "a main loop does not move");
            }
            self.state.stuck = age > STUCK;
            age
        });
        let running = u32::try_from((self.running)()).unwrap_or(u32::MAX);
        let beat = self
            .registry
            .heartbeat(self.state.id, &self.who, self.settings.lease, age, running);
        if self.bounded(beat).await? == Heard::Yes {
            return Ok(None);
        }
        match self.registry.find(&self.who.name).await {
            Ok(Some(row)) if row.instance != self.who.instance.to_string() => {
                Ok(Some(Departure::Replaced(Box::new(row.incumbent()))))
            }
            // The row was deleted, as of one that was silent for a month: begin again.
            Ok(_) => {
                publish(&self.sender, Holdings::nothing());
                self.state.held.clear();
                match self.register().await {
                    Ok(id) => {
                        self.state.id = id;
                        Ok(None)
                    }
                    Err(departure) => Ok(Some(departure)),
                }
            }
            Err(_) => Ok(None),
        }
    }

    /// Gives back and takes, and says when to look again.
    async fn rebalance(&mut self, mut look: Look, mut seen_at: Instant) -> Result<Duration, DbErr> {
        let me = self.holder();
        self.make_missing(&mut look).await?;
        let mut give_back: Vec<String> = Vec::new();
        let mut take: Vec<String> = Vec::new();
        let mut keep = [ShardSet::default(); 2];
        let mut settled = true;
        for duty in self.who.capabilities.duties.clone() {
            let moves = self.moves(&look, duty);
            settled &= moves.settled;
            give_back.extend(moves.give_back.iter().map(|shard| shard.lease(duty)));
            take.extend(moves.take.iter().map(|shard| shard.lease(duty)));
            keep[duty.index()] = mine(&look.leases, &me, duty).without(moves.give_back);
        }
        if self.sweep_is_free(&look) {
            take.push(SWEEP.to_owned());
        }
        self.publish(&look, keep, seen_at);
        if !give_back.is_empty() {
            self.bounded(leases::give_back(&self.registry.db, &me, &give_back))
                .await?;
            self.state.held.retain(|name| !give_back.contains(name));
            tracing::info!(shards = give_back.len(), "gave shards back");
        }
        if !take.is_empty() {
            self.bounded(leases::take(&self.registry.db, &me, &take, self.settings.lease))
                .await?;
            seen_at = Instant::now();
            look.leases = self.bounded(leases::read(&self.registry.db)).await?;
            self.keep_names(&look);
            let owned = Duty::ALL.map(|duty| mine(&look.leases, &me, duty));
            self.publish(&look, owned, seen_at);
            let shards = owned.iter().map(|set| set.len()).sum::<usize>();
            tracing::info!(shards, "took shards");
        }
        Ok(self.next(&look, settled, seen_at))
    }

    /// What to do about the shards of a duty.
    fn moves(&mut self, look: &Look, duty: Duty) -> Moves {
        let peers: Vec<&WorkerRecord> = takers(&look.workers, duty).collect();
        let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
        let place = |id: i64| peers.iter().position(|peer| peer.id == id);
        let mut held = [Held::Stranger; SHARDS as usize];
        for lease in &look.leases {
            let Some((of, shard)) = Shard::of_lease(&lease.name) else {
                continue;
            };
            if of != duty {
                continue;
            }
            held[shard.index()] = match lease.held_by() {
                None => Held::Free,
                Some(held_by) => find_holder(&look.workers, held_by)
                    .and_then(place)
                    .map_or(Held::Stranger, Held::By),
            };
        }
        let now = Instant::now();
        let mut neglected = ShardSet::default();
        for shard in Shard::all() {
            if held[shard.index()] == Held::Free {
                let since = *self.state.free_since.entry((duty, shard)).or_insert(now);
                if now - since > self.settings.renew_every {
                    neglected.insert(shard);
                }
            } else {
                self.state.free_since.remove(&(duty, shard));
            }
        }
        decide(&Scene {
            peers: &names,
            me: place(self.state.id).filter(|_| !self.state.draining),
            held: &held,
            mine: mine(&look.leases, &self.holder(), duty),
            neglected,
            give_back_at_once: self.settings.give_back_at_once,
        })
    }

    /// Tells the loops what they may act on, and until when: well before the first of the leases ends.
    fn publish(&self, look: &Look, shards: [ShardSet; 2], seen_at: Instant) {
        let me = self.holder();
        let left = |lease: &Lease| {
            let owned = Shard::of_lease(&lease.name)
                .is_some_and(|(duty, shard)| shards[duty.index()].contains(shard));
            (owned && lease.held_by() == Some(me.as_str())).then(|| lease.left())
        };
        let left = look
            .leases
            .iter()
            .filter_map(left)
            .min()
            .unwrap_or(self.settings.lease);
        let peers = |duty| u32::try_from(takers(&look.workers, duty).count()).unwrap_or(u32::MAX);
        let holdings = Holdings {
            shards,
            peers: Duty::ALL.map(peers),
            until: seen_at + left.saturating_sub(self.settings.margin),
        };
        publish(&self.sender, holdings);
    }

    /// When to look again: soon while something is to move, and at the moment at which a lease ends that is not
    /// renewed.
    fn next(&mut self, look: &Look, settled: bool, seen_at: Instant) -> Duration {
        let me = self.holder();
        self.state.hurried = if settled {
            0
        } else {
            self.state.hurried.saturating_add(1)
        };
        let pace = if settled || self.state.hurried > MAX_HURRY {
            self.pace()
        } else {
            self.settings.hurry
        };
        if self.who.capabilities.duties.is_empty() {
            return pace;
        }
        let others = look
            .leases
            .iter()
            .filter(|lease| lease.held_by().is_some_and(|by| by != me));
        let ends = others.map(|lease| lease.left() + Duration::from_millis(30)).min();
        // Measured from the look, while the caller measures from the beginning of the round: a little early at most.
        ends.map_or(pace, |ends| {
            pace.min(ends.max(self.settings.hurry / 4) + seen_at.elapsed())
        })
    }

    /// Marks the silent, when it falls to this worker and there is one.
    async fn sweep(&mut self, look: &Look) -> Result<(), DbErr> {
        if self.state.held.contains(SWEEP) && look.workers.iter().any(Registry::needs_sweep) {
            let marked = self.bounded(self.registry.sweep()).await?;
            if marked > 0 {
                tracing::info!(marked, "workers that fell silent are marked");
            }
        }
        Ok(())
    }

    fn sweep_is_free(&self, look: &Look) -> bool {
        let lease = look.leases.iter().find(|lease| lease.name == SWEEP);
        !self.state.draining && lease.is_none_or(|lease| lease.held_by().is_none())
    }

    /// Rows that no worker has needed before.
    async fn make_missing(&self, look: &mut Look) -> Result<(), DbErr> {
        let shards = self.who.capabilities.duties.iter();
        let wanted = shards
            .flat_map(|duty| Shard::all().map(|shard| shard.lease(*duty)))
            .chain([SWEEP.to_owned()]);
        let known: BTreeSet<&str> = look.leases.iter().map(|lease| lease.name.as_str()).collect();
        let missing: Vec<String> = wanted.filter(|name| !known.contains(name.as_str())).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.bounded(leases::make(&self.registry.db, &missing)).await?;
        look.leases = self.bounded(leases::read(&self.registry.db)).await?;
        Ok(())
    }

    fn keep_names(&mut self, look: &Look) {
        let me = self.holder();
        let held = look
            .leases
            .iter()
            .filter(|lease| lease.held_by() == Some(me.as_str()));
        self.state.held = held.map(|lease| lease.name.clone()).collect();
    }

    fn note_status(&mut self, look: &Look) {
        let row = look.workers.iter().find(|worker| worker.id == self.state.id);
        let status = row.map(|row| row.status);
        if self.state.status.is_some() && status != self.state.status {
            let reason = row
                .and_then(|row| row.status_reason.as_deref())
                .unwrap_or_default();
            tracing::info!(
                status = status.map_or("unknown", Status::as_str),
                reason,
                "this worker's status changed"
            );
        }
        self.state.status = status;
    }
}

/// The shards of a duty that `me` holds.
fn mine(leases: &[Lease], me: &str, duty: Duty) -> ShardSet {
    leases
        .iter()
        .filter(|lease| lease.held_by() == Some(me))
        .filter_map(|lease| Shard::of_lease(&lease.name))
        .filter(|(of, _)| *of == duty)
        .map(|(_, shard)| shard)
        .collect()
}
