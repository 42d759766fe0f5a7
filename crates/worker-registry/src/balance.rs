//! Who should hold what: a pure function of what one worker sees.
//!
//! Each worker moves only its own hands. It gives back what it holds beyond its share, and takes what is free up to its
//! share. Whoever holds something keeps it while its share allows, so no more moves than has to.

use crate::shard::{SHARDS, Shard, ShardSet};

/// Who holds a shard, as one worker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nobody.
    Free,
    /// One of those who may, by its place among them.
    By(usize),
    /// Somebody who may not, or who is dead while its lease still runs.
    Stranger,
}

/// What one worker is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    pub(crate) take: ShardSet,
    pub(crate) give_back: ShardSet,
    /// Whether it holds exactly its share; if not, it should look again soon.
    pub(crate) settled: bool,
}

/// What one worker sees of the shards of a duty.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    /// The names of those who may hold shards.
    pub(crate) peers: &'a [&'a str],
    /// Which of them is asking; `None` when it may not hold any (more).
    pub(crate) me: Option<usize>,
    /// Who holds each shard, by its number.
    pub(crate) held: &'a [Held; SHARDS as usize],
    /// What the asking worker holds.
    pub(crate) mine: ShardSet,
    /// What was free for so long that whose turn it is no longer matters.
    pub(crate) neglected: ShardSet,
    /// The most that is given back in one round, so that not too much is in nobody's hands at once.
    pub(crate) give_back_at_once: usize,
}

/// Decides what to take and what to give back.
pub(crate) fn decide(scene: &Scene<'_>) -> Moves {
    let Some(me) = scene.me else {
        return Moves {
            give_back: scene.mine,
            settled: scene.mine.is_empty(),
            ..Moves::default()
        };
    };
    let mut counts = vec![0_usize; scene.peers.len()];
    for held in scene.held {
        if let Held::By(peer) = held {
            counts[*peer] += 1;
        }
    }
    let shares = shares(&counts, scene.peers);
    let surplus = counts[me].saturating_sub(shares[me]);
    let mut lacking: Vec<usize> = shares
        .iter()
        .zip(&counts)
        .map(|(share, count)| share.saturating_sub(*count))
        .collect();
    let settled = surplus == 0 && lacking[me] == 0;

    let mut take = ShardSet::default();
    for shard in Shard::all().filter(|shard| scene.held[shard.index()] == Held::Free) {
        let best = (0..scene.peers.len())
            .filter(|peer| lacking[*peer] > 0)
            .max_by_key(|peer| shard.affinity(scene.peers[*peer]));
        if let Some(best) = best {
            lacking[best] -= 1;
        }
        if best == Some(me) || scene.neglected.contains(shard) {
            take.insert(shard);
        }
    }
    Moves {
        take,
        give_back: least_fitting(scene, me, surplus.min(scene.give_back_at_once)),
        settled,
    }
}

/// How many shards each peer should hold: all the same, but for the remainder, which those get who hold most.
fn shares(counts: &[usize], peers: &[&str]) -> Vec<usize> {
    let shards = usize::from(SHARDS);
    let share = shards / peers.len().max(1);
    let remainder = shards - share * peers.len();
    let mut order: Vec<usize> = (0..peers.len()).collect();
    order.sort_by(|a, b| counts[*b].cmp(&counts[*a]).then_with(|| peers[*a].cmp(peers[*b])));
    let mut shares = vec![share; peers.len()];
    for peer in order.into_iter().take(remainder) {
        shares[peer] += 1;
    }
    shares
}

fn least_fitting(scene: &Scene<'_>, me: usize, many: usize) -> ShardSet {
    let mut mine: Vec<Shard> = scene.mine.iter().collect();
    mine.sort_by_key(|shard| shard.affinity(scene.peers[me]));
    mine.into_iter().take(many).collect()
}

#[cfg(test)]
mod tests;
