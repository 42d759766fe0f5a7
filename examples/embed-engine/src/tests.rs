use reservation_engine::testing::conformance::{Subject, broken_promises};
use reservation_engine::{Reservation, ReservationStatus, Store};

use crate::{OwnStore, afternoon};

#[tokio::test(start_paused = true)]
async fn an_afternoon_is_prepared_and_released_on_time() {
    let rows = afternoon(&[("robot", "7", 10), ("robot-2", "7", 40)])
        .await
        .unwrap();
    let steps: Vec<_> = rows
        .history
        .iter()
        .map(|row| (row.at.format("%H:%M").to_string(), row.action.as_str()))
        .collect();
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
    let completed = |known: &Reservation| known.status == ReservationStatus::Completed;
    assert!(rows.reservations.values().all(completed));
}

struct Own(OwnStore);

impl Subject for Own {
    fn store(&self) -> &impl Store {
        &self.0
    }

    async fn put(&self, reservation: Reservation) {
        let id = reservation.id.clone();
        self.0.rows().reservations.insert(id, reservation);
    }

    async fn history(&self) -> usize {
        self.0.rows().history.len()
    }

    fn tells_holders(&self) -> bool {
        false
    }

    fn keeps_tries(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_keeps_the_promises_of_its_port() {
    let broken = broken_promises(&Own(OwnStore::default())).await;
    assert_eq!(broken, Vec::<String>::new());
}
