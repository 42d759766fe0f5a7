//! Ready means ready, also when the one who made it so is dead.

use std::time::Duration;

use reservation_engine::{ReservationStatus, Step};

use crate::support::{Lab, Moment, ShakyStore, at, host};

/// A process prepares a host and dies before the reservation becomes active; the host reboots; another copy comes.
async fn rebooted_meanwhile(step: Step, moment: Moment) -> Lab {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let store = ShakyStore::dying_at(lab.store.clone(), step, moment);
    let died = store.died.clone();
    let first = lab.engine_on(store, "first");
    tokio::select! {
        _ = lab.run(&first, at(60)) => panic!("{step:?} {moment:?}: never reached"),
        () = died.cancelled() => {}
    }
    first.stop(Duration::ZERO).await;
    assert_eq!(lab.status("a"), ReservationStatus::Confirmed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    lab.hosts.boot(&host(1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    lab.run(&lab.engine("second"), at(30)).await;
    lab
}

#[tokio::test(start_paused = true)]
async fn a_host_that_rebooted_before_the_reservation_became_active_is_prepared_again() {
    for (step, moment) in [
        (Step::Prepare, Moment::AfterOutcome),
        (Step::Activate, Moment::BeforeIntent),
        (Step::Activate, Moment::AfterIntent),
    ] {
        let lab = rebooted_meanwhile(step, moment).await;
        assert_eq!(
            lab.hosts.done_to(&host(1)),
            ["wake", "prepare", "wake", "prepare"],
            "{step:?} {moment:?}"
        );
        assert_eq!(lab.status("a"), ReservationStatus::Active);
    }
}
