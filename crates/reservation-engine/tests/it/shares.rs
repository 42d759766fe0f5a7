//! Several processes that share the hosts of one lab: who goes on when an operation changes hosts.

use std::sync::Arc;

use chrono::TimeDelta;
use reservation_engine::{OperationKind, ReservationStatus, Step};

use crate::support::{Lab, Rooms, Script, Share, at, counted, host};

/// One lab on two hosts, of which the first cannot be woken; each process sees to one of them.
fn divided() -> (Lab, [Share; 2]) {
    let mut lab = Lab::new();
    lab.settings.host_pooling = true;
    let rooms = Arc::new(Rooms::new(&[(7, &[1, 2])]));
    lab.map = rooms.clone();
    lab.reserve("a", 7, 0, 60);
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer"); 9]);
    let share = |ours| Share {
        rooms: rooms.clone(),
        ours: vec![ours],
    };
    let shares = [share(1), share(2)];
    (lab, shares)
}

#[tokio::test(start_paused = true)]
async fn whoever_handed_over_goes_on_with_the_next_host_at_once_although_it_is_another_ones() {
    let (lab, [first, second]) = divided();
    let (one, other) = (lab.engine("first"), lab.engine("second"));
    // The second looks every 30 s, in between: by itself it would begin on the next host at 08:58:45.
    let late = async {
        lab.sleep_until(at(-10) + TimeDelta::seconds(15)).await;
        lab.run_seeing(&second, &lab.wall, &other, at(70)).await
    };
    tokio::join!(lab.run_seeing(&first, &lab.wall, &one, at(70)), late);
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
    let effects = lab.hosts.effects();
    let woken = effects.iter().find(|effect| effect.what == "wake").unwrap();
    assert_eq!(woken.host, host(2));
    // Due at 08:58, the first host fails after 20 s, and the second one wakes in 20 s.
    let took = woken.at - at(-2);
    assert!(
        took < TimeDelta::seconds(42),
        "woken {took} after the start was due"
    );
    let all = counted(
        effects
            .iter()
            .map(|effect| format!("{} {}", effect.host, effect.what)),
    );
    let expected = ["ws-2 wake", "ws-2 prepare", "ws-2 release --reboot"];
    assert_eq!(all, expected.map(|what| (what.to_owned(), 1)).into());
}

#[tokio::test(start_paused = true)]
async fn a_host_is_followed_for_two_minutes_and_then_left_to_whoever_sees_to_it() {
    let (lab, [first, second]) = divided();
    let engine = lab.engine("first");
    lab.run_seeing(&first, &lab.wall, &engine, at(70)).await;
    assert_eq!(
        lab.status("a"),
        ReservationStatus::Active,
        "started by the first, and ended by nobody"
    );
    assert!(lab.operation("a", OperationKind::End).is_none());
    lab.run_seeing(&second, &lab.wall, &lab.engine("second"), at(72))
        .await;
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
    assert_eq!(
        lab.hosts.done_to(&host(2)),
        ["wake", "prepare", "release --reboot"]
    );
}
