//! Claims on hosts: rows of `ops_leases`, won and kept by conditional updates, ended by the database's clock.

use std::time::Duration;

use lab_model::HostName;
use reservation_engine::{Claim, ClaimInfo, FencingToken};
use sea_orm::{ConnectionTrait, ExecResult, Value};
use store_support::{Backend, Database, DbErr, retried};

use crate::fault::{Corrupt, Fault};

/// The widest `holder` that is stored, in characters.
const MAX_HOLDER: usize = 190;

/// The name of the lease on a host.
pub(crate) fn lease_name(host: &HostName) -> String {
    format!("host:{}", host.key())
}

fn millis(duration: Duration) -> Value {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).into()
}

/// Takes the claim if it is free: one statement raises the token, where the lease is over, and says what it is now.
/// A host that was never claimed has no row yet; it is taken by making one.
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
    let token = match raise(db, &name, holder, lease).await? {
        Some(token) => Some(token),
        None => make(db, &name, holder, lease).await?.then_some(1),
    };
    Ok(token.map(|token| Claim {
        host: host.clone(),
        holder: holder.to_owned(),
        token: FencingToken(token),
    }))
}

async fn raise(db: &Database, name: &str, holder: &str, lease: Duration) -> Result<Option<i64>, DbErr> {
    let now = db.backend().now_ms();
    let take = |fence: &str, returning: &str| {
        let sql = format!(
            "UPDATE ops_leases SET fence = {fence}, holder = ?, lease_until = {now} + ? \
             WHERE name = ? AND lease_until <= {now}{returning}"
        );
        db.statement(&sql, [holder.into(), millis(lease), name.into()])
    };
    match db.backend() {
        // The server hands the argument back with the answer to this very statement.
        Backend::MySql => {
            let done = execute(db, || take("LAST_INSERT_ID(fence + 1)", "")).await?;
            if done.rows_affected() == 0 {
                return Ok(None);
            }
            i64::try_from(done.last_insert_id())
                .map(Some)
                .map_err(|_| DbErr::Type("a fencing token beyond 63 bits".to_owned()))
        }
        Backend::Sqlite => {
            let row = db.bounded(retried(|| {
                let take = take("fence + 1", " RETURNING fence");
                async { db.connection().query_one_raw(take).await }
            }));
            row.await?.map(|row| row.try_get_by_index(0)).transpose()
        }
    }
}

async fn make(db: &Database, name: &str, holder: &str, lease: Duration) -> Result<bool, DbErr> {
    let insert = format!(
        "{} INTO ops_leases (name, holder, fence, lease_until) VALUES (?, ?, 1, {} + ?)",
        db.backend().insert_if_absent(),
        db.backend().now_ms()
    );
    let values = [name.into(), holder.into(), millis(lease)];
    let done = execute(db, || db.statement(&insert, values.clone())).await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn renew(db: &Database, claim: &Claim, lease: Duration) -> Result<bool, Fault> {
    let now = db.backend().now_ms();
    let renew = format!(
        "UPDATE ops_leases SET lease_until = {now} + ? WHERE {} AND lease_until > {now}",
        HELD.replace('@', "")
    );
    let mut values = vec![millis(lease)];
    values.extend(held_by(claim));
    let done = execute(db, || db.statement(&renew, values.clone())).await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn give_back(db: &Database, claim: &Claim) -> Result<(), Fault> {
    let free = format!(
        "UPDATE ops_leases SET holder = NULL, lease_until = 0 WHERE {}",
        HELD.replace('@', "")
    );
    execute(db, || db.statement(&free, held_by(claim))).await?;
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

/// The claim that this holder has now, if he has it.
pub(crate) async fn find_own(db: &Database, host: &HostName, holder: &str) -> Result<Option<Claim>, Fault> {
    let sql = format!(
        "SELECT fence FROM ops_leases WHERE name = ? AND holder = ? AND lease_until > {}",
        db.backend().now_ms()
    );
    let read = db.statement(&sql, [lease_name(host).into(), holder.into()]);
    let Some(row) = db.bounded(db.connection().query_one_raw(read)).await? else {
        return Ok(None);
    };
    Ok(Some(Claim {
        host: host.clone(),
        holder: holder.to_owned(),
        token: FencingToken(row.try_get_by_index(0)?),
    }))
}

/// The condition that a claim is still ours, with `@` for the table; the values are those of [`held_by`]. That the
/// lease has not run out is another one.
pub(crate) const HELD: &str = "@name = ? AND @fence = ? AND @holder = ?";

pub(crate) fn held_by(claim: &Claim) -> [Value; 3] {
    [
        lease_name(&claim.host).into(),
        claim.token.0.into(),
        claim.holder.as_str().into(),
    ]
}

/// Fails unless the claim is ours and has not run out: asked when a fenced write found nothing to change, to tell
/// why.
pub(crate) async fn must_hold(
    connection: &impl ConnectionTrait,
    db: &Database,
    claim: &Claim,
) -> Result<(), Fault> {
    let sql = format!(
        "SELECT 1 FROM ops_leases WHERE {} AND lease_until > {}",
        HELD.replace('@', ""),
        db.backend().now_ms()
    );
    match connection
        .query_one_raw(db.statement(&sql, held_by(claim)))
        .await?
    {
        Some(_) => Ok(()),
        None => Err(Fault::Fenced(claim.host.clone())),
    }
}

async fn execute(db: &Database, statement: impl Fn() -> sea_orm::Statement) -> Result<ExecResult, DbErr> {
    db.bounded(retried(|| {
        let statement = statement();
        async { db.connection().execute_raw(statement).await }
    }))
    .await
}
