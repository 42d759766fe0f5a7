//! Which reservations a status asks to be looked at, found without reading those that are settled.
//!
//! A reservation whose start failed stays `CONFIRMED` for ever, so the settled ones pile up in front of the few that
//! matter. Those that began lately are read in every pass; older ones in slices of a bounded size, one slice in each
//! pass, from the newest to the oldest and then from the beginning again. So an outage of any length heals, and a
//! pass costs the same whatever lies behind.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{NaiveDateTime, TimeDelta};
use sea_orm::{DatabaseConnection, EntityTrait as _, QueryResult, Statement, Value};
use store_support::{Database, DbErr};

use crate::entity::reservation;

/// How far back every pass looks.
const LATELY: TimeDelta = TimeDelta::days(2);
/// How many older rows of each status one pass looks at; more when they began at the same instant.
const SLICE: u64 = 500;
/// How many reservations a pass shows whose release was given up. They are for a person.
const MAX_GIVEN_UP: u64 = 100;

/// Where the slices go on; `None` begins with the newest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slices(Arc<Mutex<[Option<NaiveDateTime>; 2]>>);

/// The statuses that ask for work, in the order in which [`Slices`] keeps their places.
const STATUSES: [&str; 2] = ["CONFIRMED", "ACTIVE"];

/// Older rows of one status: from `from` (or the oldest) until before `to`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    pub(crate) from: Option<NaiveDateTime>,
    pub(crate) to: NaiveDateTime,
}

/// `CONFIRMED` ones that start before the horizon and are not settled, `ACTIVE` ones whose end is not, and a few
/// `ACTIVE` ones whose release was given up.
pub(crate) async fn by_status(
    connection: &DatabaseConnection,
    db: &Database,
    slices: &Slices,
    now: NaiveDateTime,
    horizon: NaiveDateTime,
    limit: u64,
) -> Result<Vec<reservation::Model>, DbErr> {
    let lately = now.checked_sub_signed(LATELY).unwrap_or(now);
    let starts = slices.read();
    let tops = starts.map(|start| start.map_or(lately, |start| start.min(lately)));
    let mut parts = tops.map(|to| Slice { from: None, to });
    for row in sea_orm::ConnectionTrait::query_all_raw(connection, bounds(db, tops)).await? {
        let (which, from) = bound(&row)?;
        parts[which].from = Some(from);
    }
    let found = reservation::Entity::find()
        .from_raw_sql(statuses(db, parts, lately, horizon, limit))
        .all(connection)
        .await?;
    slices.write(parts.map(|part| part.from));
    Ok(found)
}

impl Slices {
    fn read(&self) -> [Option<NaiveDateTime>; 2] {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, places: [Option<NaiveDateTime>; 2]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = places;
    }
}

/// Where each slice begins: nothing for one that reaches back to the oldest row.
pub(crate) fn bounds(db: &Database, tops: [NaiveDateTime; 2]) -> Statement {
    let part = |which: usize| {
        format!(
            "SELECT * FROM (SELECT {which} AS which, start_time FROM lab_reservations \
             WHERE status = '{}' AND start_time < ? ORDER BY start_time DESC LIMIT 1 OFFSET {SLICE}) s{which}",
            STATUSES[which]
        )
    };
    let sql = format!("{} UNION ALL {}", part(0), part(1));
    db.statement(&sql, tops.map(Value::from))
}

fn bound(row: &QueryResult) -> Result<(usize, NaiveDateTime), DbErr> {
    let which: i64 = row.try_get("", "which")?;
    let from: chrono::DateTime<chrono::Utc> = row.try_get("", "start_time")?;
    let which = usize::from(which != 0);
    Ok((which, from.naive_utc()))
}

const COLUMNS: &str = "r.id, r.transaction_hash, r.wallet_address, r.lab_id, r.start_time, r.end_time, r.status, \
                       r.created_at, r.updated_at";

/// A start that is done although the reservation is `CONFIRMED` was called off, and is done once more if there is time;
/// what is long over is not looked at again. Unlike `NOT EXISTS` this form is never turned into a join that reads all of
/// the journal first.
const START_OPEN: &str = "(SELECT 1 FROM ops_operations o WHERE o.reservation_id = r.transaction_hash \
                          AND o.state IN ('done', 'needs_attention') \
                          AND (o.kind = 'end' OR (o.kind = 'start' AND o.owes_release = 0)) \
                          AND (r.end_time < ? OR (o.kind = 'start' AND o.state = 'needs_attention')) LIMIT 1) IS NULL";
/// An end from before the newest start was for an earlier one.
const END_OPEN: &str = "(SELECT 1 FROM ops_operations o WHERE o.reservation_id = r.transaction_hash \
                        AND o.state IN ('done', 'needs_attention') AND o.kind = 'end' \
                        AND (SELECT 1 FROM ops_operations s WHERE s.reservation_id = o.reservation_id \
                        AND s.kind = 'start' AND s.id > o.id LIMIT 1) IS NULL LIMIT 1) IS NULL";

pub(crate) fn statuses(
    db: &Database,
    [confirmed, active]: [Slice; 2],
    lately: NaiveDateTime,
    horizon: NaiveDateTime,
    limit: u64,
) -> Statement {
    let mut values = Vec::new();
    let mut arms = Vec::new();
    let mut arm = |status: &str,
                   which: &str,
                   (from, to): (Option<NaiveDateTime>, Option<NaiveDateTime>),
                   order: &str,
                   limit: u64| {
        let mut when = String::new();
        for (sign, at) in [(">=", from), ("<", to)] {
            if let Some(at) = at {
                when += &format!(" AND r.start_time {sign} ?");
                values.push(Value::from(at));
            }
        }
        if which == START_OPEN {
            values.push(Value::from(lately));
        }
        let number = arms.len();
        arms.push(format!(
            "SELECT * FROM (SELECT {COLUMNS} FROM lab_reservations r WHERE r.status = '{status}'{when} AND {which} \
             ORDER BY r.start_time {order} LIMIT {limit}) a{number}"
        ));
    };
    arm(
        "CONFIRMED",
        START_OPEN,
        (Some(lately), Some(horizon)),
        "ASC",
        limit,
    );
    arm(
        "CONFIRMED",
        START_OPEN,
        (confirmed.from, Some(confirmed.to.min(horizon))),
        "ASC",
        limit,
    );
    arm("ACTIVE", END_OPEN, (Some(lately), None), "ASC", limit);
    arm("ACTIVE", END_OPEN, (active.from, Some(active.to)), "ASC", limit);
    let given_up = format!("NOT ({END_OPEN})");
    arm(
        "ACTIVE",
        &given_up,
        (Some(lately), None),
        "DESC",
        limit.min(MAX_GIVEN_UP),
    );
    arm(
        "ACTIVE",
        &given_up,
        (active.from, Some(active.to)),
        "DESC",
        limit.min(MAX_GIVEN_UP),
    );
    db.statement(&arms.join(" UNION ALL "), values)
}
