//! Every step: run twice, fail once, and die at each moment. A step that is added has to be added here.

use std::time::Duration;

use lab_model::LabId;
use reservation_engine::{NewOperation, OperationKind, ReservationStatus, State, Step, Store};

use crate::support::{Lab, Moment, Script, ShakyStore, at, counted, host, id};

/// How often a step's effect may be seen on the host when its process died once.
fn most_effects(step: Step) -> usize {
    match step {
        Step::Wake => 2,
        Step::Prepare | Step::Release | Step::Power => 1,
        // No effect on a host.
        Step::Activate | Step::Complete => 0,
    }
}

/// Runs a reservation; the first process dies at `moment` of `step`, and another copy goes on after `pause`.
async fn dies_once(step: Step, moment: Moment, pause: Duration) -> Lab {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let store = ShakyStore::dying_at(lab.store.clone(), step, moment);
    let died = store.died.clone();
    let first = lab.engine_on(store, "first");
    tokio::select! {
        _ = lab.run(&first, at(120)) => panic!("{step:?} {moment:?}: never reached"),
        () = died.cancelled() => {}
    }
    first.stop(Duration::ZERO).await;
    tokio::time::sleep(pause).await;
    lab.run(&lab.engine("second"), at(240)).await;
    lab
}

fn scheduled() -> impl Iterator<Item = Step> {
    // The scheduler plans no power step; `manual` has its tests.
    Step::ALL.into_iter().filter(|step| *step != Step::Power)
}

#[tokio::test(start_paused = true)]
async fn another_copy_resumes_at_the_step_wherever_the_first_one_died() {
    for step in scheduled() {
        for moment in Moment::ALL {
            for pause in [0, 5] {
                let lab = dies_once(step, moment, Duration::from_secs(pause)).await;
                let told = format!("{step:?} {moment:?} after {pause} s");
                assert_eq!(lab.status("a"), ReservationStatus::Completed, "{told}");
                assert_eq!(lab.ending("a", OperationKind::Start), "done", "{told}");
                assert_eq!(lab.ending("a", OperationKind::End), "done", "{told}");
                let effects = counted(
                    lab.hosts
                        .done_to(&host(1))
                        .iter()
                        .map(|what| what.split(' ').next().unwrap()),
                );
                assert_eq!((effects["prepare"], effects["release"]), (1, 1), "{told}");
                assert!(effects["wake"] <= most_effects(Step::Wake), "{told}: {effects:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_comes_an_hour_later_does_what_is_still_right() {
    for step in [Step::Wake, Step::Prepare, Step::Activate] {
        for moment in Moment::ALL {
            let lab = dies_once(step, moment, Duration::from_hours(2)).await;
            let told = format!("{step:?} {moment:?}");
            let effects = lab.hosts.done_to(&host(1));
            let prepared = effects.iter().any(|what| what == "prepare");
            let released = effects.iter().any(|what| what.starts_with("release"));
            let began = lab
                .operation("a", OperationKind::Start)
                .is_some_and(|start| start.prepare_began_at.is_some());
            assert!(
                !prepared || released,
                "{told}: a prepared host is released, {effects:?}"
            );
            assert_eq!(released, began, "{told}: {effects:?}");
            let status = if began {
                ReservationStatus::Completed
            } else {
                ReservationStatus::Confirmed
            };
            assert_eq!(lab.status("a"), status, "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_step_that_fails_once_succeeds_at_the_next_try() {
    for step in scheduled() {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        match step {
            Step::Wake | Step::Prepare | Step::Release => {
                lab.hosts.script(&host(1), step, &[Script::Fail("broken")])
            }
            // Steps on the store alone fail when it does; see the outage tests.
            Step::Activate | Step::Complete | Step::Power => continue,
        }
        lab.run(&lab.engine("only"), at(90)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Completed, "{step:?}");
        let failed = if step == Step::Release {
            "scheduler:end failed"
        } else {
            "scheduler:start failed"
        };
        assert_eq!(counted(lab.history("a"))[failed], 1, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn warnings_are_a_success() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    for step in [Step::Wake, Step::Prepare, Step::Release] {
        lab.hosts.script(&host(1), step, &[Script::Warnings]);
    }
    lab.run(&lab.engine("only"), at(90)).await;
    assert_eq!(
        lab.hosts.done_to(&host(1)),
        ["wake", "prepare", "release --reboot"]
    );
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_found_out_by_looking_and_not_by_sending_again() {
    for step in [Step::Prepare, Step::Release] {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        lab.hosts.script(&host(1), step, &[Script::LostAfter]);
        lab.run(&lab.engine("only"), at(90)).await;
        assert_eq!(
            lab.hosts.done_to(&host(1)),
            ["wake", "prepare", "release --reboot"],
            "{step:?}"
        );
        assert_eq!(lab.hosts.looks(), 1, "{step:?}");
        assert_eq!(lab.status("a"), ReservationStatus::Completed, "{step:?}");
        let again = format!("{} completed", step.as_str());
        assert_eq!(counted(lab.history("a"))[&again], 1, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_had_no_effect_is_sent_again_after_looking() {
    for (step, effects) in [
        (Step::Prepare, vec!["wake", "wake", "prepare", "release --reboot"]),
        (Step::Release, vec!["wake", "prepare", "release --reboot"]),
    ] {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        lab.hosts.script(&host(1), step, &[Script::LostBefore]);
        lab.run(&lab.engine("only"), at(90)).await;
        assert_eq!(lab.hosts.done_to(&host(1)), effects);
        assert_eq!(lab.hosts.looks(), 1, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_left_during_its_release_is_looked_at_until_it_answers() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Release, &[Script::LostAndGone(120)]);
    lab.run(&lab.engine("only"), at(90)).await;
    assert_eq!(
        lab.hosts.done_to(&host(1)),
        ["wake", "prepare", "release --reboot"]
    );
    assert!((3..=10).contains(&lab.hosts.looks()), "{}", lab.hosts.looks());
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_left_during_its_prepare_is_woken_and_not_prepared_twice() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Prepare, &[Script::LostAndGone(10)]);
    lab.run(&lab.engine("only"), at(30)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake", "prepare", "wake"]);
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_station_that_never_answers_is_cut_off_at_its_deadline() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts.script(&host(1), Step::Wake, &[Script::Hang]);
    lab.run(&lab.engine("only"), at(30)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    assert_eq!(counted(lab.history("a"))["wake failed"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_missed_reservation_is_said_to_be_missed_once_whatever_answer_is_lost() {
    for call in ["open_operation", "save_operation"] {
        let lab = Lab::new();
        lab.reserve("a", 1, -120, -60);
        let store = ShakyStore::new(lab.store.clone());
        store.lose_answer_of(call);
        lab.run(&lab.engine_on(store, "only"), at(0)).await;
        assert_eq!(
            lab.ending("a", OperationKind::Start),
            "needs_attention missed",
            "{call}"
        );
        assert_eq!(lab.history("a"), ["scheduler:start failed"], "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missed_reservation_is_said_to_be_missed_by_whoever_comes_after_a_crash() {
    let lab = Lab::new();
    lab.reserve("a", 1, -120, -60);
    let lease = Duration::from_secs(10);
    let claim = lab
        .store
        .claim_host(&host(1), "died", lease)
        .await
        .unwrap()
        .unwrap();
    let new = NewOperation {
        key: "start:a".to_owned(),
        kind: OperationKind::Start,
        reservation: id("a"),
        lab: Some(LabId::new("1")),
        host: host(1),
        state: State::first(Step::Wake),
        due_at: at(-122),
    };
    lab.store.open_operation(&claim, new, at(-50)).await.unwrap();
    lab.run(&lab.engine("second"), at(0)).await;
    assert_eq!(lab.ending("a", OperationKind::Start), "needs_attention missed");
    assert_eq!(lab.history("a"), ["scheduler:start failed"]);
}
