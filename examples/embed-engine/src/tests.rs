use reservation_engine::testing::conformance::{Subject, broken_promises};
use reservation_engine::{Reservation, ReservationStatus, Store, WorkItem};

use crate::afternoon;
use crate::store::OwnStore;

#[tokio::test(start_paused = true)]
async fn an_afternoon_is_prepared_and_released_on_time() {
    let store = afternoon(&[("robot", "7", 10), ("robot-2", "7", 40)]).await.unwrap();
    let rows = store.rows();
    let steps: Vec<_> =
        rows.history.iter().map(|row| (row.at.format("%H:%M").to_string(), row.action.as_str())).collect();
    let expected = [
        ("12:08", "wake"),
        ("12:08", "prepare"),
        ("12:08", "scheduler:start"),
        // The next one waits for the host, so that it is released without delay.
        ("12:40", "release"),
        ("12:40", "scheduler:end"),
        ("12:40", "wake"),
        ("12:40", "prepare"),
        ("12:40", "scheduler:start"),
        ("13:11", "release"),
        ("13:11", "scheduler:end"),
    ];
    assert_eq!(steps, expected.map(|(at, action)| (at.to_owned(), action)));
    assert!(rows.history.iter().all(|row| row.success));
    let completed = |item: &WorkItem| item.reservation.status == ReservationStatus::Completed;
    assert!(rows.items.iter().all(completed));
}

struct Own(OwnStore);

impl Subject for Own {
    fn store(&self) -> &impl Store {
        &self.0
    }

    async fn put(&self, reservation: Reservation) {
        let item = WorkItem { reservation, start: None, end: None };
        self.0.rows().items.push(item);
    }

    async fn history(&self) -> usize {
        self.0.rows().history.len()
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_keeps_the_promises_of_its_port() {
    let broken = broken_promises(&Own(OwnStore::default())).await;
    assert_eq!(broken, Vec::<String>::new());
}
