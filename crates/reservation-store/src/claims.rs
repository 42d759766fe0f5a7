//! Claims on hosts: rows of `ops_leases`, won and kept by conditional updates, ended by the database's clock.

use std::time::Duration;

use lab_model::HostName;
use reservation_engine::{Claim, ClaimInfo, FencingToken};
use sea_orm::{ConnectionTrait, Value};
use store_support::{Database, DbErr, retried};

use crate::fault::{Corrupt, Fault};

/// The widest `holder` that is stored, in characters.
const MAX_HOLDER: usize = 190;

fn lease_name(host: &HostName) -> String {
    format!("host:{}", host.key())
}

fn millis(duration: Duration) -> Value {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).into()
}

/// Takes the claim if it is free. The token is known before the update, which demands that nobody was faster;
/// so two grants never share one, not even two of the same holder.
pub(crate) async fn take(
    db: &Database,
    host: &HostName,
    holder: &str,
    lease: Duration,
) -> Result<Option<Claim>, Fault> {
    let chars = holder.chars().count();
    if chars > MAX_HOLDER {
        return Err(Corrupt::TooLong {
            column: "holder",
            chars,
            limit: MAX_HOLDER,
        }
        .into());
    }
    let name = lease_name(host);
    let seen = match read_fence(db, &name).await? {
        Some(fence) => fence,
        None => {
            let insert = format!(
                "{} INTO ops_leases (name, holder, fence, lease_until) VALUES (?, NULL, 0, 0)",
                db.backend().insert_if_absent()
            );
            execute(db, &insert, vec![name.as_str().into()]).await?;
            0
        }
    };
    let now = db.backend().now_ms();
    // `fence` stands before `holder`: MySQL assigns from left to right, should the former ever depend on the
    // latter.
    let take = format!(
        "UPDATE ops_leases SET fence = fence + 1, holder = ?, lease_until = {now} + ? \
         WHERE name = ? AND fence = ? AND lease_until <= {now}"
    );
    let values = vec![holder.into(), millis(lease), name.into(), seen.into()];
    let won = execute(db, &take, values).await? == 1;
    Ok(won.then(|| Claim {
        host: host.clone(),
        holder: holder.to_owned(),
        token: FencingToken(seen + 1),
    }))
}

async fn read_fence(db: &Database, name: &str) -> Result<Option<i64>, DbErr> {
    let read = db.statement("SELECT fence FROM ops_leases WHERE name = ?", [name.into()]);
    let row = db.bounded(db.connection().query_one_raw(read)).await?;
    row.map(|row| row.try_get_by_index(0)).transpose()
}

pub(crate) async fn renew(db: &Database, claim: &Claim, lease: Duration) -> Result<bool, Fault> {
    let now = db.backend().now_ms();
    let renew = format!(
        "UPDATE ops_leases SET lease_until = {now} + ? WHERE {} AND lease_until > {now}",
        HELD
    );
    let mut values = vec![millis(lease)];
    values.extend(held_by(claim));
    Ok(execute(db, &renew, values).await? == 1)
}

pub(crate) async fn give_back(db: &Database, claim: &Claim) -> Result<(), Fault> {
    let free = format!("UPDATE ops_leases SET holder = NULL, lease_until = 0 WHERE {HELD}");
    execute(db, &free, held_by(claim).to_vec()).await?;
    Ok(())
}

pub(crate) async fn find(db: &Database, host: &HostName) -> Result<Option<ClaimInfo>, Fault> {
    let now = db.backend().now_ms();
    let sql = format!(
        "SELECT holder, lease_until - {now} FROM ops_leases \
         WHERE name = ? AND holder IS NOT NULL AND lease_until > {now}"
    );
    let read = db.statement(&sql, [lease_name(host).into()]);
    let Some(row) = db.bounded(db.connection().query_one_raw(read)).await? else {
        return Ok(None);
    };
    let left: i64 = row.try_get_by_index(1)?;
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
    Ok(Some(ClaimInfo {
        holder: row.try_get_by_index(0)?,
        left,
    }))
}

/// The condition that a claim is still ours; the values are those of [`held_by`].
const HELD: &str = "name = ? AND fence = ? AND holder = ?";

fn held_by(claim: &Claim) -> [Value; 3] {
    [
        lease_name(&claim.host).into(),
        claim.token.0.into(),
        claim.holder.as_str().into(),
    ]
}

/// Begins a fenced transaction: fails unless the claim is ours and has not run out.
///
/// It really changes the row, by a millisecond of lease. Until the commit nobody else can take the host then;
/// and on a cluster, where the other one may be on another node, one of the two commits fails and is run
/// again, and looks again.
pub(crate) async fn fence(tx: &impl ConnectionTrait, db: &Database, claim: &Claim) -> Result<(), Fault> {
    let now = db.backend().now_ms();
    let touch =
        format!("UPDATE ops_leases SET lease_until = lease_until + 1 WHERE {HELD} AND lease_until > {now}");
    let touched = tx
        .execute_raw(db.statement(&touch, held_by(claim)))
        .await?
        .rows_affected();
    if touched == 1 {
        Ok(())
    } else {
        Err(Fault::Fenced(claim.host.clone()))
    }
}

async fn execute(db: &Database, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
    retried(|| async {
        let done = db
            .bounded(db.connection().execute_raw(db.statement(sql, values.clone())))
            .await?;
        Ok(done.rows_affected())
    })
    .await
}
