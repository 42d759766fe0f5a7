//! The promises that the engine asks of every store.

use reservation_engine::testing::conformance::{Subject, broken_promises};
use reservation_engine::{Reservation, Store};
use reservation_store::ReservationStore;
use store_support::{Database, each_backend};

use crate::{a_store, count, run};

struct OnDatabase<'a> {
    store: ReservationStore,
    db: &'a Database,
}

impl Subject for OnDatabase<'_> {
    fn store(&self) -> &impl Store {
        &self.store
    }

    async fn put(&self, reservation: Reservation) {
        let (starts_at, ends_at) = (reservation.starts_at.naive_utc(), reservation.ends_at.naive_utc());
        let insert = format!(
            "INSERT INTO lab_reservations (transaction_hash, lab_id, start_time, end_time, status) \
             VALUES ('{}', '{}', '{starts_at}', '{ends_at}', '{}')",
            reservation.id,
            reservation.lab,
            reservation.status.as_str()
        );
        run(self.db, &insert).await;
    }

    async fn history(&self) -> usize {
        let rows = count(self.db, "SELECT COUNT(*) FROM reservation_operations").await;
        usize::try_from(rows).unwrap()
    }
}

each_backend! {
    async fn the_store_keeps_the_promises_of_its_port(test) {
        let store = a_store(&test).await;
        let subject = OnDatabase { store, db: test.database() };
        let broken = Box::pin(broken_promises(&subject)).await;
        assert_eq!(broken, Vec::<String>::new());
    }
}
