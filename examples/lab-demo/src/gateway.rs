//! The part of the lab gateway: it writes reservations into the shared table, and cancels one.

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use ops_runtime::Site;
use sea_orm::{ConnectionTrait, Statement, Value};

use crate::day::{Day, Reservation, lab_id};

/// Writes the day's reservations, as agreed upon.
pub(crate) async fn reserve(site: &Site, day: &Day) -> anyhow::Result<()> {
    for reservation in &day.reservations {
        let sql = "INSERT INTO lab_reservations (transaction_hash, wallet_address, lab_id, start_time, end_time, \
                   status, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
        let values = [
            reservation.id.into(),
            "0x00000000000000000000000000000000000000de".into(),
            lab_id(reservation.host).into(),
            stamp(reservation.starts_at),
            stamp(reservation.ends_at),
            "CONFIRMED".into(),
            stamp(day.began_at),
            stamp(day.began_at),
        ];
        write(site, sql, values)
            .await
            .with_context(|| format!("write reservation {}", reservation.id))?;
    }
    Ok(())
}

/// The student cancels the reservation while it is active.
pub(crate) async fn cancel(site: &Site, reservation: &Reservation) -> anyhow::Result<()> {
    let sql = "UPDATE lab_reservations SET status = 'CANCELLED', updated_at = ? \
               WHERE transaction_hash = ? AND status = 'ACTIVE'";
    let changed = write(site, sql, [stamp(site.clock.now()), reservation.id.into()])
        .await
        .with_context(|| format!("cancel reservation {}", reservation.id))?;
    if changed != 1 {
        bail!(
            "reservation {} was no longer active when it was to be cancelled",
            reservation.id
        );
    }
    Ok(())
}

async fn write<const N: usize>(site: &Site, sql: &str, values: [Value; N]) -> Result<u64, sea_orm::DbErr> {
    let connection = site.database.connection();
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
    Ok(connection.execute_raw(statement).await?.rows_affected())
}

/// The column keeps whole seconds of UTC without a zone.
fn stamp(at: DateTime<Utc>) -> Value {
    use chrono::SubsecRound;
    at.trunc_subsecs(0).naive_utc().into()
}
