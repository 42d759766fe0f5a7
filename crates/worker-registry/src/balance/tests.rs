//! A whole site of workers that look in turns, each acting on what it saw.

use proptest::prelude::*;

use super::*;

const ALL: usize = SHARDS as usize;

/// Workers that live, and who holds each shard: a living one's number, or nobody.
#[derive(Debug, Clone)]
struct Site {
    alive: Vec<usize>,
    holder: [Option<usize>; ALL],
    moved: usize,
}

fn name(worker: usize) -> String {
    format!("scheduler@gateway-{worker}")
}

impl Site {
    fn new(workers: usize, holder: [Option<usize>; ALL]) -> Self {
        Self {
            alive: (0..workers).collect(),
            holder,
            moved: 0,
        }
    }

    /// What `worker` decides on what is there now.
    fn decide(&self, worker: usize) -> Moves {
        let names: Vec<String> = self.alive.iter().map(|alive| name(*alive)).collect();
        let peers: Vec<&str> = names.iter().map(String::as_str).collect();
        let place = |holder: usize| self.alive.iter().position(|alive| *alive == holder);
        let held = self.holder.map(|holder| match holder {
            None => Held::Free,
            Some(holder) => place(holder).map_or(Held::Stranger, Held::By),
        });
        let mine = Shard::all()
            .filter(|shard| self.holder[shard.index()] == Some(worker))
            .collect();
        decide(&Scene {
            peers: &peers,
            me: place(worker),
            held: &held,
            mine,
            neglected: ShardSet::default(),
            give_back_at_once: 16,
        })
    }

    /// Carries out what `worker` decided, maybe on an older view: only what is free can be taken.
    fn carry_out(&mut self, worker: usize, moves: &Moves) {
        for shard in moves.give_back.iter() {
            if self.holder[shard.index()] == Some(worker) {
                self.holder[shard.index()] = None;
            }
        }
        for shard in moves.take.iter() {
            let place = &mut self.holder[shard.index()];
            if place.is_none() {
                *place = Some(worker);
                self.moved += 1;
            }
        }
    }

    /// Everybody looks once, one after the other.
    fn round(&mut self) {
        for worker in self.alive.clone() {
            let moves = self.decide(worker);
            self.carry_out(worker, &moves);
        }
    }

    /// Everybody looks at the same scene, then everybody acts.
    fn round_at_once(&mut self) {
        let moves: Vec<_> = self
            .alive
            .iter()
            .map(|worker| (*worker, self.decide(*worker)))
            .collect();
        for (worker, moves) in moves {
            self.carry_out(worker, &moves);
        }
    }

    fn counts(&self) -> Vec<usize> {
        let count = |worker: &usize| {
            self.holder
                .iter()
                .filter(|holder| **holder == Some(*worker))
                .count()
        };
        self.alive.iter().map(count).collect()
    }

    fn balanced(&self) -> bool {
        let counts = self.counts();
        let (least, most) = (ALL / self.alive.len(), ALL.div_ceil(self.alive.len()));
        self.holder
            .iter()
            .all(|holder| holder.is_some_and(|holder| self.alive.contains(&holder)))
            && counts.iter().all(|count| (least..=most).contains(count))
    }

    fn settle(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.round();
        }
    }
}

/// Rounds in which every site has to be in balance: 64 shards go from one to others 16 at a time, and one more to take
/// what was given back last.
const ROUNDS: usize = 6;

/// Rounds in which what is free has found its holders: whoever looks later sees other counts, and may leave the last
/// of it to somebody who has looked already.
const TAKE_OVER: usize = 2;

fn a_site() -> impl Strategy<Value = Site> {
    (1_usize..=12).prop_flat_map(|workers| {
        let holder = prop_oneof![1 => Just(None), 4 => (0..workers).prop_map(Some)];
        prop::collection::vec(holder, ALL).prop_map(move |holders| {
            let mut all = [None; ALL];
            all.copy_from_slice(&holders);
            Site::new(workers, all)
        })
    })
}

proptest! {
    #[test]
    fn from_any_beginning_every_shard_is_owned_in_equal_shares_and_then_nothing_moves(mut site in a_site()) {
        site.settle(ROUNDS);
        prop_assert!(site.balanced(), "{:?}", site.counts());
        let moved = site.moved;
        site.settle(3);
        prop_assert_eq!(site.moved, moved);
        prop_assert!(site.alive.iter().all(|worker| site.decide(*worker).settled));
    }

    #[test]
    fn workers_that_look_at_the_same_moment_come_to_the_same_end(mut site in a_site()) {
        for _ in 0..2 * ROUNDS {
            site.round_at_once();
        }
        prop_assert!(site.balanced(), "{:?}", site.counts());
    }

    #[test]
    fn a_newcomer_gets_its_share_and_nothing_else_moves(mut site in a_site()) {
        site.settle(ROUNDS);
        let before = site.moved;
        let newcomer = site.alive.len();
        site.alive.push(newcomer);
        site.settle(ROUNDS);
        prop_assert!(site.balanced());
        prop_assert!(site.moved - before <= ALL.div_ceil(site.alive.len()), "{} moved", site.moved - before);
    }

    #[test]
    fn what_the_dead_held_is_spread_and_nothing_else_moves(mut site in a_site(), which in any::<prop::sample::Index>()) {
        prop_assume!(site.alive.len() > 1);
        site.settle(ROUNDS);
        let before = site.moved;
        let dead = site.alive.remove(which.index(site.alive.len()));
        let orphaned = site.holder.iter().filter(|holder| **holder == Some(dead)).count();
        // Its lease still runs: nobody touches what it held.
        site.round();
        prop_assert_eq!(site.moved, before);
        site.holder = site.holder.map(|holder| holder.filter(|holder| *holder != dead));
        site.settle(TAKE_OVER);
        prop_assert!(site.balanced(), "{:?}", site.counts());
        prop_assert_eq!(site.moved - before, orphaned);
    }

    #[test]
    fn whoever_may_hold_nothing_gives_back_everything_at_once(mut site in a_site()) {
        prop_assume!(site.alive.len() > 1);
        site.settle(ROUNDS);
        let cordoned = site.alive.pop().unwrap();
        let moves = site.decide(cordoned);
        prop_assert_eq!(moves.give_back.len(), ALL - site.counts().iter().sum::<usize>());
        prop_assert!(moves.take.is_empty());
        site.carry_out(cordoned, &moves);
        site.settle(TAKE_OVER);
        prop_assert!(site.balanced());
    }
}

#[test]
fn one_alone_takes_everything_in_its_first_round() {
    let mut site = Site::new(1, [None; ALL]);
    site.round();
    assert_eq!(site.counts(), [ALL]);
}

#[test]
fn no_more_than_the_limit_is_given_back_in_one_round() {
    let mut site = Site::new(1, [Some(0); ALL]);
    site.alive.push(1);
    let moves = site.decide(0);
    assert_eq!((moves.give_back.len(), moves.settled), (16, false));
    assert!(!site.decide(1).settled, "the newcomer waits for its share");
}

#[test]
fn what_nobody_takes_for_long_is_taken_out_of_turn() {
    let mut held = [Held::By(0); ALL];
    held[7] = Held::Free;
    let mine = Shard::all().filter(|shard| shard.number() != 7).collect();
    let seven = Shard::all().filter(|shard| shard.number() == 7).collect();
    let scene = |neglected| Scene {
        peers: &["a", "b"],
        me: Some(0),
        held: &held,
        mine,
        neglected,
        give_back_at_once: 0,
    };
    assert!(decide(&scene(ShardSet::default())).take.is_empty());
    assert_eq!(decide(&scene(seven)).take, seven);
}
