//! Faults planted in the engine and in its store: each has to be found, or the auditor is asleep.

use std::collections::BTreeMap;

use lab_days::{Invariant, Options, run_day};
use reservation_engine::Mutant;

/// By which day at the latest a mutant has to be found.
const WITHIN: u64 = 300;

/// Runs days until the auditor finds the promise broken that a mutant breaks first of all; says which ones it found
/// broken on the way.
#[expect(clippy::print_stdout, reason = "what caught a mutant is part of the evidence")]
fn objections(mutant: Mutant, invariant: Invariant) -> BTreeMap<Invariant, usize> {
    let options = Options {
        mutant: Some(mutant),
        ..Options::default()
    };
    let mut caught = BTreeMap::new();
    for seed in 0..WITHIN {
        let day = run_day(seed, &options).unwrap();
        for violation in &day.violations {
            if caught.is_empty() {
                println!("{mutant:?}: seed {seed}: {violation}");
            }
            *caught.entry(violation.invariant).or_insert(0) += 1;
        }
        if caught.contains_key(&invariant) {
            break;
        }
    }
    println!("{mutant:?}: {caught:?}");
    caught
}

fn is_caught_by(mutant: Mutant, invariant: Invariant) {
    let caught = objections(mutant, invariant);
    assert!(
        caught.contains_key(&invariant),
        "{mutant:?} within {WITHIN} days: {caught:?}"
    );
}

#[test]
fn a_store_that_takes_writes_under_any_token_is_caught() {
    is_caught_by(Mutant::SkipTokenCheck, Invariant::OneOwner);
}

#[test]
fn an_outcome_that_is_written_before_its_effect_is_caught() {
    is_caught_by(Mutant::OutcomeBeforeEffect, Invariant::Journalled);
}

#[test]
fn a_lease_that_is_judged_by_the_wall_clock_is_caught() {
    is_caught_by(Mutant::WallClockLease, Invariant::NoneAfterNewerToken);
}

#[test]
fn a_plan_that_forgets_the_end_of_a_reservation_is_caught() {
    is_caught_by(Mutant::ForgetEndCheck, Invariant::NobodyWokenForNothing);
}

#[test]
fn a_plan_that_forgets_that_somebody_works_at_the_host_is_caught() {
    is_caught_by(Mutant::ForgetMaintenance, Invariant::NothingInMaintenance);
}
