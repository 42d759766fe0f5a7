//! A store that takes seconds for each call makes everything late and leaves nobody out.

use std::time::Duration;

use reservation_engine::{OperationKind, ReservationStatus};

use crate::support::{Lab, ShakyStore, at, counted, host};

const WHOLE: [&str; 3] = ["wake", "prepare", "release --reboot"];

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_seconds_for_each_call_starves_nobody_and_repeats_nothing() {
    for millis in [2_000, 2_500, 2_900] {
        let lab = Lab::new();
        for number in 1..=40 {
            lab.reserve(&format!("r{number}"), number, 0, 60);
            lab.reserve(&format!("s{number}"), number, 90, 150);
        }
        let store = ShakyStore::new(lab.store.clone());
        store.set_latency(Duration::from_millis(millis));
        let engine = lab.engine_on(store.clone(), "only");
        lab.run(&engine, at(200)).await;
        for number in 1..=40 {
            for name in ["r", "s"] {
                let name = format!("{name}{number}");
                assert_eq!(lab.status(&name), ReservationStatus::Completed, "{millis} {name}");
                assert_eq!(lab.ending(&name, OperationKind::Start), "done", "{millis} {name}");
                assert_eq!(lab.ending(&name, OperationKind::End), "done", "{millis} {name}");
            }
            assert_eq!(
                lab.hosts.done_to(&host(number)),
                [WHOLE, WHOLE].concat(),
                "{millis}"
            );
        }
        // Each step was intended once, and each intent led to its effect.
        let attempts = counted(lab.store.attempts().iter().map(|attempt| attempt.step.as_str()));
        for step in ["wake", "prepare", "activate", "release", "complete"] {
            assert_eq!(attempts[step], 80, "{millis} {attempts:?}");
        }
        // Late by their own calls to the store, and not by those for forty hosts.
        let late = lab
            .hosts
            .effects()
            .into_iter()
            .filter(|effect| effect.what == "prepare");
        for effect in late {
            let from = if effect.at < at(60) { at(0) } else { at(90) };
            assert!((effect.at - from).num_seconds() < 0, "{millis} {effect:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_plan_is_dropped_when_its_reservation_was_called_off_meanwhile() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let store = ShakyStore::new(lab.store.clone());
    store.set_latency(Duration::from_secs(3));
    let engine = lab.engine_on(store, "only");
    // Planned and read, but the intent is still on its way.
    lab.run(&engine, at(-2) + chrono::TimeDelta::seconds(10)).await;
    assert_eq!(lab.store.attempts().len(), 0);
    lab.cancel("a");
    lab.run(&engine, at(5)).await;
    assert!(lab.hosts.effects().is_empty(), "{:?}", lab.hosts.effects());
    assert_eq!(lab.ending("a", OperationKind::Start), "done cancelled");
}
