//! What an operator is told: for each stage and each kind of wait, one structured answer.

use std::sync::Arc;

use reservation_engine::{Engine, IdlePower, PowerMode};
use reservation_engine::{
    Explanation, HostExplanation, Maintenance, NextStep, Presence, ReservationStatus, Station, Step, Store,
    WaitCode,
};

use crate::support::{Lab, Rooms, Script, ShakyStore, at, host, id};

async fn told<S: Store, T: Station>(lab: &Lab, engine: &Engine<S, T>, name: &str) -> Explanation {
    engine
        .explain_reservation(&id(name), &*lab.map)
        .await
        .unwrap()
        .unwrap()
}

async fn told_of<S: Store, T: Station>(lab: &Lab, engine: &Engine<S, T>, number: u32) -> HostExplanation {
    engine
        .explain_host(&host(number), &*lab.map)
        .await
        .unwrap()
        .unwrap()
}

fn next(explanation: &Explanation) -> Option<NextStep> {
    explanation.next.as_ref().map(|next| next.what)
}

fn code(explanation: &Explanation) -> Option<WaitCode> {
    explanation.wait.as_ref().map(|wait| wait.code)
}

#[tokio::test(start_paused = true)]
async fn each_stage_of_a_reservation_says_what_comes_next_and_when() {
    let mut lab = Lab::new();
    lab.settings.idle_power = Some(IdlePower::new(PowerMode::Hibernate));
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    let early = told(&lab, &engine, "a").await;
    assert_eq!(
        (next(&early), code(&early)),
        (Some(NextStep::Wake), Some(WaitCode::NotDue))
    );
    assert_eq!(early.next.unwrap().at, Some(at(-2)));
    assert_eq!((early.host, early.operations.len()), (Some(host(1)), 0));
    let lead = early.lead.unwrap();
    assert_eq!(
        (lead.effective, lead.floor),
        (lab.settings.lead, lab.settings.lead)
    );

    lab.run(&engine, at(10)).await;
    let running = told(&lab, &engine, "a").await;
    assert_eq!(
        (next(&running), code(&running)),
        (Some(NextStep::Release), Some(WaitCode::NotDue))
    );
    assert_eq!(running.next.unwrap().at, Some(at(61)));
    assert_eq!(
        (running.operations[0].kind, running.operations[0].state),
        ("start", "done")
    );

    lab.run(&engine, at(65)).await;
    let idle = told(&lab, &engine, "a").await;
    assert_eq!(
        (next(&idle), code(&idle)),
        (Some(NextStep::Power), Some(WaitCode::HostIdle))
    );
    assert!(idle.summary.contains("hibernate"), "{}", idle.summary);

    lab.reserve("b", 1, 100, 120);
    lab.run(&engine, at(77)).await;
    let wanted = told(&lab, &engine, "a").await;
    assert_eq!(
        (next(&wanted), code(&wanted)),
        (Some(NextStep::Power), Some(WaitCode::HostWanted))
    );

    lab.cancel("b");
    lab.run(&engine, at(120)).await;
    let over = told(&lab, &engine, "a").await;
    assert_eq!((next(&over), code(&over)), (None, None));
    assert_eq!(over.summary, "over: the host was released");
    assert_eq!(over.last_failure, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_due_and_not_begun_says_since_when() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.sleep_until(at(-1)).await;
    let due = told(&lab, &lab.engine("only"), "a").await;
    assert_eq!((next(&due), code(&due)), (Some(NextStep::Wake), None));
    assert_eq!(due.next.unwrap().at, Some(at(-2)));
    assert_eq!(due.summary, "next: wake, due since 2026-03-01T08:58:00Z");
}

#[tokio::test(start_paused = true)]
async fn a_failure_says_step_rung_count_and_time_and_when_it_is_tried_again() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer"); 2]);
    let engine = lab.engine("only");
    lab.run(&engine, at(-1)).await;
    let waiting = told(&lab, &engine, "a").await;
    assert_eq!(
        (next(&waiting), code(&waiting)),
        (Some(NextStep::Wake), Some(WaitCode::Retry))
    );
    let failure = waiting.last_failure.clone().unwrap();
    assert_eq!(
        (
            failure.code.as_str(),
            failure.rung.as_deref(),
            failure.step,
            failure.attempt,
            failure.gave_up
        ),
        ("wake_no_answer", Some("tcp_port"), Some(Step::Wake), 1, false)
    );
    let failed_at = failure.at.unwrap();
    assert_eq!((failed_at - at(-2)).num_seconds(), 20);
    assert!(waiting.summary.contains("wake_no_answer"), "{}", waiting.summary);
    assert!(waiting.next.unwrap().at.unwrap() > failed_at);
    lab.run(&engine, at(10)).await;
    assert_eq!(
        told(&lab, &engine, "a").await.last_failure,
        None,
        "it succeeded since"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_says_why_a_person_is_needed() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer"); 50]);
    let engine = lab.engine("only");
    lab.run(&engine, at(70)).await;
    let over = told(&lab, &engine, "a").await;
    assert_eq!(next(&over), None);
    let failure = over.last_failure.unwrap();
    assert!(failure.gave_up && failure.at.is_some());
    assert!(failure.attempt > 1, "{failure:?}");
    assert_eq!(failure.attempt, over.operations[0].attempt);
    assert!(over.summary.starts_with("needs attention: "), "{}", over.summary);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_one_before_him_is_told_for_whom() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.reserve("b", 1, 60, 120);
    let engine = lab.engine("only");
    lab.run(&engine, at(59)).await;
    let waiting = told(&lab, &engine, "b").await;
    assert_eq!(
        (next(&waiting), code(&waiting)),
        (Some(NextStep::Wake), Some(WaitCode::HostOccupied))
    );
    assert!(waiting.summary.contains("reservation a"), "{}", waiting.summary);
    let host = told_of(&lab, &engine, 1).await;
    assert_eq!(host.next.unwrap().what, NextStep::Release);
    assert_eq!(host.next_for, Some(id("a")));
    let ids: Vec<_> = host
        .reservations
        .iter()
        .map(|one| one.reservation_id.as_str())
        .collect();
    assert_eq!(ids, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_nobody_knows_is_looked_at_next() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts.script(&host(1), Step::Release, &[Script::LostBefore]);
    lab.hosts.set_mute(&host(1), at(63));
    let engine = lab.engine("only");
    lab.run(&engine, at(61) + chrono::TimeDelta::seconds(8)).await;
    let unknown = told(&lab, &engine, "a").await;
    assert_eq!(
        (next(&unknown), code(&unknown)),
        (Some(NextStep::Check), Some(WaitCode::EffectUnknown)),
        "{unknown:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lab_without_a_host_and_a_host_that_is_gone_say_so() {
    let mut lab = Lab::new();
    let rooms = Arc::new(Rooms::new(&[(7, &[1])]));
    lab.map = rooms.clone();
    lab.reserve("a", 7, 0, 60);
    lab.reserve("b", 8, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(10)).await;
    let nowhere = told(&lab, &engine, "b").await;
    assert_eq!(
        (next(&nowhere), code(&nowhere)),
        (Some(NextStep::FindHost), Some(WaitCode::NoHost))
    );
    assert_eq!((nowhere.host, nowhere.lead), (None, None));
    rooms.set(7, &[]);
    lab.run(&engine, at(70)).await;
    let gone = told(&lab, &engine, "a").await;
    assert_eq!(
        (next(&gone), code(&gone)),
        (Some(NextStep::FindHost), Some(WaitCode::HostRemoved))
    );
    let host_gone = told_of(&lab, &engine, 1).await;
    assert_eq!(host_gone.presence, Presence::Removed);
    assert!(engine.explain_host(&host(2), &*lab.map).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn somebody_at_work_on_the_host_is_named_with_the_rest_of_his_lease() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("busy-one");
    lab.run(&engine, at(-2) + chrono::TimeDelta::seconds(5)).await;
    let asked = lab.engine("asked");
    let busy = told(&lab, &asked, "a").await;
    assert_eq!(
        (next(&busy), code(&busy)),
        (Some(NextStep::Wake), Some(WaitCode::UnderWay))
    );
    let claim = busy.claim.unwrap();
    assert!(claim.holder.starts_with("busy-one/"), "{}", claim.holder);
    let detail = format!(
        "waking, attempt 1, since 2026-03-01T08:58:00Z, by {}",
        claim.holder
    );
    assert_eq!(busy.wait.unwrap().detail, detail);
    assert_eq!(busy.summary, format!("{detail} (under_way)"));
    assert_eq!(busy.next.unwrap().at, Some(at(-2)));
    assert!(!claim.left.is_zero() && claim.left <= lab.settings.lease);
    let of_host = told_of(&lab, &asked, 1).await;
    assert!(of_host.summary.starts_with("busy-one/"), "{}", of_host.summary);
}

#[tokio::test(start_paused = true)]
async fn a_second_try_under_way_says_so_with_the_answer_to_the_first() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer")]);
    let engine = lab.engine("only");
    lab.run(&engine, at(-1)).await;
    let waiting = told(&lab, &engine, "a").await;
    assert_eq!(code(&waiting), Some(WaitCode::Retry));
    let again = waiting.next.unwrap().at.unwrap();
    lab.run(&engine, again + chrono::TimeDelta::seconds(5)).await;
    // Whichever copy is asked: the one at work, and another one.
    for asked in [&engine, &lab.engine("asked")] {
        let busy = told(&lab, asked, "a").await;
        assert_eq!(
            (next(&busy), code(&busy)),
            (Some(NextStep::Wake), Some(WaitCode::UnderWay))
        );
        assert_eq!(asked.under_way(&id("a")).await.unwrap(), busy.wait);
        let detail = busy.wait.unwrap().detail;
        assert!(
            detail.starts_with("waking, attempt 2, since 2026-03-01T08:5"),
            "{detail}"
        );
        assert!(detail.contains(", by only/"), "{detail}");
        let (_, answer) = detail.split_once("; the last answer was: ").unwrap();
        assert!(answer.ends_with("(wake_no_answer at rung tcp_port)"), "{detail}");
        let failure = busy.last_failure.unwrap();
        assert_eq!((failure.attempt, failure.step), (1, Some(Step::Wake)));
        assert!(failure.at.is_some() && !failure.gave_up);
    }
    lab.run(&engine, at(10)).await;
    assert_eq!(told(&lab, &engine, "a").await.last_failure, None);
    assert_eq!(engine.under_way(&id("a")).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_prepare_under_way_is_no_check() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(0) + chrono::TimeDelta::seconds(-98)).await;
    let busy = told(&lab, &lab.engine("asked"), "a").await;
    assert_eq!(
        (next(&busy), code(&busy)),
        (Some(NextStep::Prepare), Some(WaitCode::UnderWay))
    );
    assert!(
        busy.summary.starts_with("preparing, attempt 1, since "),
        "{}",
        busy.summary
    );
}

#[tokio::test(start_paused = true)]
async fn a_maintenance_that_outlasts_the_reservation_promises_no_wake() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 30);
    let engine = lab.engine("only");
    let taken = async |until: Option<i64>| {
        let one = Maintenance {
            reason: "new disk".to_owned(),
            owner: "ana".to_owned(),
            since: at(-60),
            until: until.map(at),
        };
        lab.store.set_maintenance(&host(1), Some(one));
        // Who asks twice in one instant is told the same.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    };
    let unless = "; it will be missed unless the maintenance ends before 2026-03-01T09:30:00Z";
    // Before it is due, and while it is due.
    for minutes in [-10, 5] {
        lab.sleep_until(at(minutes)).await;
        taken(Some(45)).await;
        let lost = told(&lab, &engine, "a").await;
        assert_eq!(
            (next(&lost), code(&lost)),
            (Some(NextStep::Close), Some(WaitCode::Maintenance))
        );
        assert_eq!(lost.next.unwrap().at, Some(at(30)));
        let wait = lost.wait.unwrap();
        assert!(wait.detail.ends_with(unless), "{}", wait.detail);
        assert!(!lost.summary.contains("wake"), "{}", lost.summary);
        taken(None).await;
        let open = told(&lab, &engine, "a").await;
        assert_eq!(
            (next(&open), code(&open)),
            (Some(NextStep::Wake), Some(WaitCode::Maintenance))
        );
        assert_eq!(open.next.unwrap().at, None, "nobody knows when");
        assert!(open.summary.contains(unless), "{}", open.summary);
        taken(Some(20)).await;
        let kept = told(&lab, &engine, "a").await;
        assert_eq!(
            (next(&kept), kept.next.as_ref().unwrap().at),
            (Some(NextStep::Wake), Some(at(20)))
        );
        assert!(!kept.summary.contains("missed"), "{}", kept.summary);
    }
    lab.store.set_maintenance(&host(1), None);
}

#[tokio::test(start_paused = true)]
async fn an_idle_host_says_that_nothing_is_planned_and_an_unknown_reservation_is_none() {
    let lab = Lab::new();
    let engine = lab.engine("only");
    let idle = told_of(&lab, &engine, 5).await;
    assert_eq!(
        (idle.next, idle.next_for, idle.summary.as_str()),
        (None, None, "nothing is planned")
    );
    assert_eq!(idle.presence, Presence::Here);
    assert!(
        engine
            .explain_reservation(&id("nobody"), &*lab.map)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn reservations_that_are_not_our_business_say_that_too() {
    let lab = Lab::new();
    lab.reserve("a", 1, 600, 660);
    let engine = lab.engine("only");
    let far = told(&lab, &engine, "a").await;
    assert_eq!(
        far.next.as_ref().unwrap().at,
        Some(at(598)),
        "also beyond what a pass reads"
    );
    lab.store.change(&id("a"), |reservation| {
        reservation.status = ReservationStatus::Pending
    });
    let pending = told(&lab, &engine, "a").await;
    assert_eq!(
        (next(&pending), pending.summary.as_str()),
        (None, "ignored until it is confirmed")
    );
    lab.cancel("a");
    assert_eq!(
        told(&lab, &engine, "a").await.summary,
        "cancelled: nothing is left to do"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_an_error_when_the_store_does_not_answer() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let store = ShakyStore::new(lab.store.clone());
    let engine = lab.engine_on(store.clone(), "only");
    store.set_down(true);
    assert!(engine.explain_reservation(&id("a"), &*lab.map).await.is_err());
    assert!(engine.explain_host(&host(1), &*lab.map).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_explanation_is_json_with_stable_words() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    let json = serde_json::to_value(told(&lab, &engine, "a").await).unwrap();
    assert_eq!(json["next"]["what"], "wake");
    assert_eq!(json["wait"]["code"], "not_due");
    assert_eq!(json["status"], "CONFIRMED");
    assert_eq!(json["lead"]["effectiveSecs"], 120.0);
    assert_eq!(json["startsAt"], "2026-03-01T09:00:00Z");
    let json = serde_json::to_value(told_of(&lab, &engine, 1).await).unwrap();
    assert_eq!(
        (&json["presence"], &json["nextFor"]),
        (&"here".into(), &"a".into())
    );
}
