//! The databases that are measured, a fresh one for each figure, and the reservations in them.

use anyhow::{Context as _, Result};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use lab_model::{LabId, ReservationId};
use reservation_engine::{Reservation, ReservationStatus};
use sea_orm::ConnectionTrait as _;
use store_support::test_support::{TestDatabase, on_mysql, on_sqlite};
use store_support::{Database, DatabaseSettings};
use tokio::sync::oneshot;

/// A real database, and how many connections a scheduler has to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) connections: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    MariaDb,
}

/// Rows in one `INSERT`.
const CHUNK: usize = 500;

/// Runs `work` on a fresh, migrated database. `None` when `TEST_MYSQL_URL` names no server.
pub(crate) async fn fresh<R, F, W>(place: Place, work: W) -> Result<Option<R>>
where
    R: Send + 'static,
    F: Future<Output = Result<R>> + Send,
    W: FnOnce(Database) -> F + Send + 'static,
{
    let (tell, told) = oneshot::channel();
    let body = |test: TestDatabase| async move {
        let _ = tell.send(opened(&test, place.connections, work).await);
    };
    match place.kind {
        Kind::Sqlite => on_sqlite(body).await,
        Kind::MariaDb => on_mysql(body).await,
    }
    told.await.ok().transpose()
}

async fn opened<R, F, W>(test: &TestDatabase, connections: u32, work: W) -> Result<R>
where
    F: Future<Output = Result<R>>,
    W: FnOnce(Database) -> F,
{
    let product = DatabaseSettings {
        max_connections: connections,
        ..test.settings().clone()
    };
    let db = Database::connect(&product).await?;
    migrations::run(db.connection()).await?;
    let result = work(db.clone()).await;
    db.close().await;
    result
}

/// A confirmed hour for lab `number`, which has a host of its own.
pub(crate) fn reservation(number: usize, starts_at: DateTime<Utc>) -> Result<Reservation> {
    Ok(Reservation {
        id: ReservationId::parse(&format!("0x{number:06x}{:08x}", starts_at.timestamp()))?,
        lab: LabId::new(&number.to_string()),
        status: ReservationStatus::Confirmed,
        starts_at,
        ends_at: starts_at + TimeDelta::hours(1),
    })
}

/// Writes reservations as the gateway does.
pub(crate) async fn book(db: &Database, reservations: &[Reservation]) -> Result<()> {
    for part in reservations.chunks(CHUNK) {
        let rows: Vec<String> = part.iter().map(row).collect();
        let insert = format!(
            "INSERT INTO lab_reservations (transaction_hash, lab_id, start_time, end_time, status) VALUES {}",
            rows.join(", ")
        );
        let written = db.connection().execute_unprepared(&insert).await;
        written.context("writing reservations")?;
    }
    Ok(())
}

fn row(reservation: &Reservation) -> String {
    let (starts_at, ends_at) = (reservation.starts_at.naive_utc(), reservation.ends_at.naive_utc());
    let (id, lab) = (&reservation.id, &reservation.lab);
    format!("('{id}', '{lab}', '{starts_at}', '{ends_at}', 'CONFIRMED')")
}

/// The next whole second after `now` plus `ahead`, since databases keep whole seconds.
pub(crate) fn whole_second(now: DateTime<Utc>, ahead: TimeDelta) -> DateTime<Utc> {
    now.trunc_subsecs(0) + TimeDelta::seconds(1) + ahead
}
