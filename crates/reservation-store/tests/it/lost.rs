//! Answers that are lost, commits that are refused, a server that restarts: nothing is written twice and nothing is
//! lost.

use std::time::Duration;

use reservation_engine::{
    AttemptOutcome, Claim, OperationKind, ReservationStatus, State, Step, Store as _, StoreError,
    TimingSample,
};
use reservation_store::ReservationStore;
use store_support::Database;
use store_support::test_support;

use crate::proxy::{Mishap, Proxy};
use crate::{
    LEASE, a_claim, a_history_row, a_reservation, a_store, count, ending, find, id, new, now, rows, running,
    tell,
};

/// Repeats a call whose answer was lost, as the engine does. Says how often it was lost.
macro_rules! insist {
    ($lost:ident, $call:expr) => {{
        let mut tries = 0;
        loop {
            match $call.await {
                Err(StoreError::Unavailable(_)) if tries < 5 => {
                    tries += 1;
                    $lost += 1;
                }
                answer => break answer.unwrap(),
            }
        }
    }};
}

/// All that is written for a start, from the first call to the last; says how many answers were lost.
async fn a_start(store: &ReservationStore, claim: &Claim, name: &str) -> usize {
    let mut lost = 0;
    let wanted = new(OperationKind::Start, name, claim.host.as_str());
    let mut operation = insist!(lost, store.open_operation(claim, wanted.clone(), now()));
    for (step, next) in [(Step::Prepare, Step::Activate), (Step::Activate, Step::Activate)] {
        operation.state = running(step, 1);
        operation.prepare_began_at = Some(now());
        let attempt = insist!(lost, store.begin_attempt(claim, &operation, step, 1, now()));
        if step == Step::Activate {
            let (from, to) = (ReservationStatus::Confirmed, ReservationStatus::Active);
            insist!(lost, store.change_status(claim, &id(name), from, to, now()));
        }
        operation.state = State::Pending {
            step: next,
            failed: 0,
        };
        let mut history = [a_history_row("prepare"), a_history_row("scheduler:start")];
        for row in &mut history {
            row.reservation = id(name);
        }
        let end = ending(&operation, attempt, AttemptOutcome::Done, &history);
        insist!(lost, store.finish_attempt(claim, end));
    }
    let mut row = a_history_row("scheduler:end");
    row.reservation = id(name);
    let mut end = insist!(
        lost,
        store.open_operation(claim, new(OperationKind::End, name, claim.host.as_str()), now())
    );
    end.state = crate::done();
    insist!(
        lost,
        store.save_operation(claim, &end, std::slice::from_ref(&row), now())
    );
    let sample = [TimingSample::Prepare(LEASE)];
    insist!(lost, store.record_timing(claim, &sample, LEASE, now()));
    insist!(lost, store.find_work(&[id(name)]));
    insist!(lost, store.give_back(claim));
    lost
}

/// What the database holds of one reservation, without names and ids.
async fn written(store: &ReservationStore, db: &Database, name: &str, claim: &Claim) -> String {
    let item = find(store, name).await.unwrap();
    let mut tries = Vec::new();
    for operation in [item.start.as_ref().unwrap(), item.end.as_ref().unwrap()] {
        for row in store.attempts(operation.id).await.unwrap() {
            tries.push(format!("{} {} {:?}", row.step, row.attempt, row.outcome));
        }
        tries.push(format!("{:?}", operation.state));
    }
    let mut history: Vec<String> = Vec::new();
    let sql =
        format!("SELECT action FROM reservation_operations WHERE reservation_id = '{name}' ORDER BY id");
    for row in rows(db, &sql).await {
        history.push(row.try_get_by_index(0).unwrap());
    }
    let owed =
        format!("SELECT COUNT(*) FROM ops_operations WHERE reservation_id = '{name}' AND owes_release = 1");
    let timings = store
        .host_timings(std::slice::from_ref(&claim.host))
        .await
        .unwrap();
    format!(
        "{:?} {tries:?} {history:?} {} {:?} {:?}",
        item.reservation.status,
        count(db, &owed).await,
        timings.get(&claim.host),
        store.find_claim(&claim.host).await.unwrap()
    )
}

/// Lets `mishap` strike at each command in turn, until there is none left; says how many there were and how many
/// answers were lost in all.
async fn at_every_command(mishap: Mishap, test: &test_support::TestDatabase) -> (usize, usize) {
    let direct = a_store(test).await;
    let proxy = Proxy::start().await;
    let db = proxy.connect(test).await;
    let store = ReservationStore::new(db.clone());
    let (mut expected, mut lost) = (None, 0);
    for nth in 0..200 {
        let name = format!("0x{nth}");
        a_reservation(test.database(), &name, "CONFIRMED", 0).await;
        let claim = a_claim(&direct, &format!("ws-{nth}")).await;
        if nth > 0 {
            proxy.arm(nth, mishap);
        }
        lost += a_start(&store, &claim, &name).await;
        let struck = proxy.has_struck();
        let written = written(&direct, test.database(), &name, &claim).await;
        let expected = expected.get_or_insert_with(|| written.clone());
        assert_eq!(written, *expected, "{mishap:?} at command {nth}");
        if nth > 0 && !struck {
            db.close().await;
            return (nth - 1, lost);
        }
    }
    panic!("more commands than a start can need");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_lost_before_any_command_loses_nothing_and_doubles_nothing() {
    test_support::on_mysql(|test| async move {
        let (commands, lost) = at_every_command(Mishap::CutBefore, &test).await;
        tell(&format!("{commands} commands, {lost} answers lost"));
        assert!(commands >= 15 && lost >= commands / 2, "{commands} {lost}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_after_any_command_loses_nothing_and_doubles_nothing() {
    test_support::on_mysql(|test| async move {
        let (commands, lost) = at_every_command(Mishap::CutAfter, &test).await;
        tell(&format!("{commands} commands, {lost} answers lost"));
        assert!(commands >= 15 && lost >= commands / 2, "{commands} {lost}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_certification_or_a_lock_wait_is_run_again_inside_the_call() {
    test_support::on_mysql(|test| async move {
        for number in [1213, 1205] {
            let db = test.database();
            migrations::run(db.connection()).await.unwrap();
            for table in [
                "ops_operations",
                "lab_reservations",
                "reservation_operations",
                "ops_leases",
            ] {
                crate::run(db, &format!("DELETE FROM {table}")).await;
            }
            let (commands, lost) = at_every_command(Mishap::Refused(number), &test).await;
            tell(&format!(
                "{number}: {commands} statements and commits, {lost} answers lost"
            ));
            assert_eq!(lost, 0, "{number}");
            assert!(commands >= 12, "{commands}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_between_two_calls_is_found_again() {
    test_support::on_mysql(|test| async move {
        let direct = a_store(&test).await;
        let proxy = Proxy::start().await;
        let db = proxy.connect(&test).await;
        let store = ReservationStore::new(db.clone());
        let claim = a_claim(&store, "ws").await;
        let wanted = new(OperationKind::Start, "0xaa", "ws");
        let mut operation = store.open_operation(&claim, wanted, now()).await.unwrap();
        proxy.down();
        operation.state = running(Step::Wake, 1);
        let began = tokio::time::Instant::now();
        for _ in 0..3 {
            let down = tokio::time::timeout(
                Duration::from_secs(60),
                store.begin_attempt(&claim, &operation, Step::Wake, 1, now()),
            );
            let down = down.await.expect("each call ends within its bound");
            assert!(matches!(down, Err(StoreError::Unavailable(_))), "{down:?}");
        }
        tell(&format!(
            "three calls to a server that is down took {:?}",
            began.elapsed()
        ));
        assert_eq!(direct.attempts(operation.id).await.unwrap(), []);
        proxy.up();
        let mut lost = 0;
        let first = insist!(
            lost,
            store.begin_attempt(&claim, &operation, Step::Wake, 1, now())
        );
        tell(&format!("{lost} more before it was found again"));
        let again = store
            .begin_attempt(&claim, &operation, Step::Wake, 1, now())
            .await
            .unwrap();
        assert_eq!(first, again);
        assert_eq!(direct.attempts(operation.id).await.unwrap().len(), 1);
        db.close().await;
    })
    .await;
}
