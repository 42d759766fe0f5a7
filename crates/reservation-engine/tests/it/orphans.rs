//! What was begun for a reservation that somebody deleted.

use reservation_engine::{OperationKind, Step};

use crate::support::{Lab, Script, ShakyStore, at, host, id};

#[tokio::test(start_paused = true)]
async fn what_was_begun_for_a_reservation_that_is_gone_is_closed_and_nothing_is_sent() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.reserve("b", 1, 300, 360);
    lab.hosts
        .script(&host(1), Step::Prepare, &[Script::Fail("broken"); 9]);
    let engine = lab.engine("only");
    lab.run(&engine, at(5)).await;
    lab.store.remove(&id("a"));
    let sent = lab.hosts.effects().len();
    // As long as a release is tried it may come back.
    lab.run(&engine, at(240)).await;
    assert_eq!(lab.ending("a", OperationKind::Start), "waiting");
    lab.run(&engine, at(290)).await;
    assert_eq!(lab.hosts.effects().len(), sent);
    lab.run(&engine, at(420)).await;
    assert_eq!(
        lab.ending("a", OperationKind::Start),
        "needs_attention reservation_gone"
    );
    assert_eq!(
        lab.history("a").last().map(String::as_str),
        Some("scheduler:start failed")
    );
    let rows = lab.store.history();
    let said = rows.iter().filter(|row| {
        row.payload
            .as_ref()
            .is_some_and(|payload| payload.to_string().contains("reservation_gone"))
    });
    let said: Vec<_> = said.collect();
    assert_eq!(said.len(), 1);
    let payload = said[0].payload.as_ref().unwrap().to_string();
    assert!(payload.contains("perhaps never released"), "{payload}");
}

#[tokio::test(start_paused = true)]
async fn orphans_are_looked_for_seldom_and_closed_once_by_several_copies() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer"); 9]);
    let first = lab.engine("first");
    lab.run(&first, at(5)).await;
    lab.store.remove(&id("a"));
    lab.sleep_until(at(600)).await;
    let store = ShakyStore::new(lab.store.clone());
    let second = lab.engine_on(store.clone(), "second");
    tokio::join!(lab.run(&first, at(660)), lab.run(&second, at(660)));
    assert_eq!(
        lab.ending("a", OperationKind::Start),
        "needs_attention reservation_gone"
    );
    let closed = lab
        .history("a")
        .iter()
        .filter(|row| *row == "scheduler:start failed")
        .count();
    let tried = lab.store.attempts().len();
    assert_eq!(closed, tried + 1);
    assert!(store.calls()["orphaned"] <= 9, "{:?}", store.calls());
}
