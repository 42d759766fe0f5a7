//! How many rows the history has, without counting millions of them for each page.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reservation_store::{HistoryFilter, ReservationStore};
use tokio::time::Instant;

use crate::error::ApiError;

/// After this time everything is counted again: other services may take rows away.
const COUNT_AGAIN: Duration = Duration::from_secs(600);
/// The newest ids are always counted anew: a row may become visible after one with a greater id.
const UNSETTLED: i64 = 1_000;

/// What is known of the whole history's size. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals(Arc<Mutex<Option<Base>>>);

/// So many rows have ids up to this one.
#[derive(Debug, Clone, Copy)]
struct Base {
    upto: i64,
    rows: u64,
    counted_at: Instant,
}

impl Totals {
    /// How many rows a filter lets through. Those of one host or reservation are few enough to be counted.
    pub(crate) async fn of(&self, store: &ReservationStore, filter: &HistoryFilter) -> Result<u64, ApiError> {
        if *filter != HistoryFilter::default() {
            return Ok(store.count_operations(filter, 0, None).await?);
        }
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let base = match known.filter(|base| base.counted_at.elapsed() < COUNT_AGAIN) {
            Some(base) => base,
            None => self.counted(store).await?,
        };
        let newer = store.count_operations(filter, base.upto, None).await?;
        Ok(base.rows + newer)
    }

    /// Counts what is settled, and nothing that comes while it is counted.
    async fn counted(&self, store: &ReservationStore) -> Result<Base, ApiError> {
        let counted_at = Instant::now();
        let upto = (store.newest_operation().await? - UNSETTLED).max(0);
        let rows = match upto {
            0 => 0,
            upto => {
                store
                    .count_operations(&HistoryFilter::default(), 0, Some(upto))
                    .await?
            }
        };
        let base = Base {
            upto,
            rows,
            counted_at,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(base);
        Ok(base)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use sea_orm::ConnectionTrait as _;
    use store_support::{Database, each_backend};

    use super::*;

    async fn add(db: &Database, rows: usize) {
        let row = "('0xaa', 'h', 'wake', 'completed', '2026-02-01 09:00:00')";
        let sql = format!(
            "INSERT INTO reservation_operations (reservation_id, host, action, status, created_at) VALUES {}",
            vec![row; rows].join(", ")
        );
        db.connection().execute_unprepared(&sql).await.unwrap();
    }

    each_backend! {
        async fn a_long_history_is_counted_once_and_what_comes_is_added(test) {
            let db = test.database();
            migrations::run(db.connection()).await.unwrap();
            let store = ReservationStore::new(db.clone());
            let (totals, all) = (Totals::default(), HistoryFilter::default());
            assert_eq!(totals.of(&store, &all).await.unwrap(), 0);
            let totals = Totals::default();
            add(db, 2_500).await;
            assert_eq!(totals.of(&store, &all).await.unwrap(), 2_500);
            let base = totals.0.lock().unwrap().unwrap();
            assert_eq!((base.rows, base.upto), (1_500, 1_500), "the newest thousand are not settled");
            add(db, 700).await;
            assert_eq!(totals.of(&store, &all).await.unwrap(), 3_200);
            let of_one = HistoryFilter { host: Some("nobody".to_owned()), ..all.clone() };
            assert_eq!(totals.of(&store, &of_one).await.unwrap(), 0);
            let again = totals.0.lock().unwrap().unwrap();
            assert_eq!((again.rows, again.counted_at), (base.rows, base.counted_at));
        }

        async fn rows_that_come_while_it_is_counted_are_in_the_next_total(test) {
            let db = test.database();
            migrations::run(db.connection()).await.unwrap();
            let store = ReservationStore::new(db.clone());
            add(db, 2_000).await;
            let over = Arc::new(AtomicBool::new(false));
            let coming = {
                let (db, over) = (db.clone(), Arc::clone(&over));
                tokio::spawn(async move {
                    let mut rows = 2_000;
                    while !over.load(Ordering::Relaxed) && rows < 20_000 {
                        add(&db, 7).await;
                        rows += 7;
                    }
                    rows
                })
            };
            let all = HistoryFilter::default();
            let mut begun = Vec::new();
            for _ in 0..20 {
                let totals = Totals::default();
                totals.of(&store, &all).await.unwrap();
                begun.push(totals);
            }
            over.store(true, Ordering::Relaxed);
            let rows = coming.await.unwrap();
            for totals in begun {
                assert_eq!(totals.of(&store, &all).await.unwrap(), rows);
            }
        }
    }
}
