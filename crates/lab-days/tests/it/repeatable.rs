//! A seed is worth something only when it gives the same day each time.

use lab_days::{FaultKind, Options, Swarm, run_day};

#[test]
fn a_seed_gives_the_same_day_to_the_byte() {
    let options = Options {
        keep_trace: true,
        ..Options::default()
    };
    for seed in 0..12 {
        let (once, again) = (run_day(seed, &options).unwrap(), run_day(seed, &options).unwrap());
        assert_eq!(once.fingerprint, again.fingerprint, "seed {seed}");
        assert_eq!(once.trace, again.trace, "seed {seed}");
        assert!(once.trace.unwrap().lines().count() > 50, "seed {seed}");
    }
}

#[test]
fn different_seeds_give_different_days() {
    let options = Options {
        keep_trace: true,
        ..Options::default()
    };
    let mut seen: Vec<_> = (0..12)
        .map(|seed| run_day(seed, &options).unwrap().fingerprint)
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 12);
}

#[test]
fn every_kind_of_fault_occurs_when_it_is_switched_on() {
    for kind in FaultKind::ALL {
        // An order is sent twice only when there is one.
        let swarm = Swarm::of(&[(kind, 3), (FaultKind::ManualOrder, 3)]);
        let options = Options {
            swarm: Some(swarm),
            ..Options::default()
        };
        let hits: u64 = (0..3)
            .map(|seed| run_day(seed, &options).unwrap())
            .filter_map(|day| day.faults.get(&kind).copied())
            .sum();
        assert!(hits > 0, "{kind} never occurred");
    }
}
