//! The journal: operations and the attempts of their steps, each write under the claim.
//!
//! Every call may be repeated when its answer was lost: what it wrote the first time is then found, and nothing is
//! written twice.

use chrono::{DateTime, NaiveDateTime, Utc};
use lab_model::{HostName, LabId};
use reservation_engine::{
    AttemptEnd, AttemptId, Claim, HistoryRow, NewOperation, Operation, OperationId, OperationKind, Step,
};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExecResult, QueryFilter as _, QueryOrder as _, Value,
};
use store_support::{Backend, Database, DbErr, DbFault, classify, retried, transaction};

use crate::claims::{HELD, held_by, must_hold};
use crate::columns::{cut, microseconds};
use crate::entity::{attempt, operation};
use crate::fault::{Corrupt, Fault};
use crate::fenced::{Change, write, write_alone};
use crate::history;
use crate::stored::{OUR_VERSION, json, must_be_ours, to_domain};

/// The widest key that is stored, in characters.
const MAX_KEY: usize = 190;

/// Inserts unless the key is known, and gives the row that has it now.
pub(crate) async fn open(
    db: &Database,
    claim: &Claim,
    new: &NewOperation,
    now: DateTime<Utc>,
) -> Result<Operation, Fault> {
    let chars = new.key.chars().count();
    if chars > MAX_KEY {
        return Err(Corrupt::TooLong {
            column: "key",
            chars,
            limit: MAX_KEY,
        }
        .into());
    }
    match insert(db, claim, new, microseconds(now)).await {
        Ok(done) if done.rows_affected() == 1 => opened(new, done.last_insert_id(), now),
        // The statement found no lease to insert under.
        Ok(_) => Err(Fault::Fenced(claim.host.clone())),
        Err(Fault::Database(error)) if classify(&error) == DbFault::Unique => {
            known(db, claim, &new.key).await
        }
        Err(fault) => Err(fault),
    }
}

async fn insert(
    db: &Database,
    claim: &Claim,
    new: &NewOperation,
    now: NaiveDateTime,
) -> Result<ExecResult, Fault> {
    let columns: [(&str, Value); 14] = [
        ("op_key", new.key.as_str().into()),
        ("kind", new.kind.as_str().into()),
        ("reservation_id", new.reservation.as_str().into()),
        (
            "lab_id",
            new.lab.as_ref().map(|lab| cut(lab.as_str(), 128)).into(),
        ),
        ("host", new.host.as_str().into()),
        ("state", new.state.name().into()),
        ("state_json", json(&new.state)?.into()),
        ("step", new.state.step().map(Step::as_str).into()),
        ("token", claim.token.0.into()),
        ("owes_release", false.into()),
        ("due_at", microseconds(new.due_at).into()),
        ("created_at", now.into()),
        ("updated_at", now.into()),
        ("journal_version", OUR_VERSION.into()),
    ];
    let (names, mut values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let places = vec!["?"; names.len()].join(", ");
    // With the lock nobody takes the host between the look at the lease and the insert.
    let lock = match db.backend() {
        Backend::MySql => " FOR UPDATE",
        Backend::Sqlite => "",
    };
    let sql = format!(
        "INSERT INTO ops_operations ({}) SELECT {places} FROM ops_leases WHERE {} AND lease_until > {}{lock}",
        names.join(", "),
        HELD.replace('@', ""),
        db.backend().now_ms(),
    );
    values.extend(held_by(claim));
    let call = retried(|| {
        let insert = db.statement(&sql, values.clone());
        async { db.connection().execute_raw(insert).await }
    });
    Ok(db.bounded(call).await?)
}

/// As the row reads that was inserted just now.
fn opened(new: &NewOperation, id: u64, now: DateTime<Utc>) -> Result<Operation, Fault> {
    let id = i64::try_from(id).map_err(|_| DbErr::RecordNotInserted)?;
    Ok(Operation {
        id: OperationId(id),
        kind: new.kind,
        reservation: new.reservation.clone(),
        lab: new.lab.as_ref().map(|lab| LabId::new(&cut(lab.as_str(), 128))),
        host: new.host.clone(),
        state: new.state.clone(),
        prepare_began_at: None,
        due_at: microseconds(new.due_at).and_utc(),
        created_at: microseconds(now).and_utc(),
    })
}

async fn known(db: &Database, claim: &Claim, key: &str) -> Result<Operation, Fault> {
    let call = retried(|| async {
        must_hold(db.connection(), db, claim).await?;
        let by_key = operation::Entity::find().filter(operation::Column::OpKey.eq(key));
        Ok(by_key.one(db.connection()).await?)
    });
    let row: Result<_, Fault> = db.bounded(async { Ok(call.await) }).await?;
    to_domain(&row?.ok_or(DbErr::RecordNotInserted)?)
}

/// Commits the state and the intent. The state that was begun shows whether this was done before.
pub(crate) async fn begin_attempt(
    db: &Database,
    claim: &Claim,
    op: &Operation,
    step: Step,
    attempt: u32,
    now: DateTime<Utc>,
) -> Result<AttemptId, Fault> {
    let row = attempt::ActiveModel {
        operation_id: Set(op.id.0),
        step: Set(step.as_str().to_owned()),
        attempt: Set(i32::try_from(attempt).unwrap_or(i32::MAX)),
        token: Set(claim.token.0),
        intent_at: Set(microseconds(now)),
        ..Default::default()
    };
    must_be_here(claim, op)?;
    let mut change = saved(claim, op, now)?;
    change
        .conditions
        .push(("@state_json <> ?", vec![json(&op.state)?.into()]));
    if step == Step::Prepare && op.kind == OperationKind::Start {
        // From the first intent on, for the answer may be lost.
        change.sets.push(("owes_release", true.into()));
    }
    let (row, change) = (&row, &[change]);
    transaction(db, |tx| {
        Box::pin(async move {
            if write(tx, db, claim, change).await?.is_some() {
                must_be_saved(&**tx, db, claim, op).await?;
                if let Some(begun) = begun(&**tx, row).await? {
                    return Ok(AttemptId(begun));
                }
            }
            let inserted = attempt::Entity::insert(row.clone()).exec(&**tx).await?;
            Ok(AttemptId(inserted.last_insert_id))
        })
    })
    .await
}

/// Steps are carried out on the claim's host only.
fn must_be_here(claim: &Claim, op: &Operation) -> Result<(), Corrupt> {
    if claim.host == op.host {
        Ok(())
    } else {
        Err(Corrupt::NoOperation { id: op.id.0 })
    }
}

/// The same try, begun under the same token, that has not ended.
async fn begun(tx: &impl ConnectionTrait, row: &attempt::ActiveModel) -> Result<Option<i64>, DbErr> {
    use attempt::Column;
    let newest = attempt::Entity::find()
        .filter(Column::Outcome.is_null())
        .filter(Column::OperationId.eq(*row.operation_id.as_ref()))
        .filter(Column::Step.eq(row.step.as_ref()))
        .filter(Column::Attempt.eq(*row.attempt.as_ref()))
        .filter(Column::Token.eq(*row.token.as_ref()))
        .order_by_desc(Column::Id)
        .one(tx)
        .await?;
    Ok(newest.map(|row| row.id))
}

/// Commits an outcome, the state and the history; nothing when the attempt has an outcome already.
pub(crate) async fn finish_attempt(db: &Database, claim: &Claim, end: &AttemptEnd<'_>) -> Result<(), Fault> {
    let (op, now) = (end.operation, end.now);
    must_be_here(claim, op)?;
    let reason = end
        .reason
        .map(serde_json::to_string)
        .transpose()
        .map_err(Corrupt::State)?;
    let ended = Change {
        table: "ops_attempts",
        sets: vec![
            ("outcome", end.outcome.as_str().into()),
            ("outcome_at", microseconds(now).into()),
            ("reason_json", reason.into()),
        ],
        kept: &[],
        conditions: vec![
            ("@id = ?", vec![end.attempt.0.into()]),
            ("@operation_id = ?", vec![op.id.0.into()]),
            ("@outcome IS NULL", vec![]),
        ],
    };
    let changes = &[ended, saved(claim, op, now)?];
    transaction(db, |tx| {
        Box::pin(async move {
            match write(tx, db, claim, changes).await? {
                None => beside(&**tx, op, end.history).await,
                Some(0) => must_have_ended(&**tx, db, claim, end).await,
                Some(_) => {
                    find(&**tx, op.id).await?;
                    Err(Corrupt::NoOperation { id: op.id.0 }.into())
                }
            }
        })
    })
    .await
}

/// Fails unless the attempt has an outcome, saying why it has none.
async fn must_have_ended(
    tx: &impl ConnectionTrait,
    db: &Database,
    claim: &Claim,
    end: &AttemptEnd<'_>,
) -> Result<(), Fault> {
    must_hold(tx, db, claim).await?;
    let op = end.operation.id.0;
    let row = attempt::Entity::find_by_id(end.attempt.0).one(tx).await?;
    match row.filter(|row| row.operation_id == op) {
        Some(row) if row.outcome.is_some() => Ok(()),
        Some(_) => {
            find(tx, end.operation.id).await?;
            Err(Corrupt::NoOperation { id: op }.into())
        }
        None => Err(Corrupt::NoAttempt {
            id: end.attempt.0,
            operation: op,
        }
        .into()),
    }
}

/// Saves a state with its history; nothing when it was saved already. An operation that is handed over to another
/// host is stored with its former one, which the claim is for, until then.
pub(crate) async fn save(
    db: &Database,
    claim: &Claim,
    op: &Operation,
    rows: &[HistoryRow],
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let mut change = saved(claim, op, now)?;
    change.sets.push(("host", op.host.as_str().into()));
    if !rows.is_empty() {
        let same = vec![json(&op.state)?.into(), op.host.as_str().into()];
        change
            .conditions
            .push(("NOT (@state_json = ? AND @host = ?)", same));
    }
    if rows.is_empty() && !settles_release(op) && claim.host == op.host {
        return save_alone(db, claim, op, change).await;
    }
    let change = &change;
    transaction(db, |tx| {
        Box::pin(async move {
            let mut change = change.clone();
            if claim.host != op.host {
                let stored = find(&**tx, op.id).await?;
                if HostName::parse(&stored.host).ok().as_ref() != Some(&claim.host) {
                    return must_be_saved(&**tx, db, claim, op).await;
                }
                change.conditions.push(("@host = ?", vec![stored.host.into()]));
            }
            match write(tx, db, claim, &[change]).await? {
                None => beside(&**tx, op, rows).await,
                Some(_) => must_be_saved(&**tx, db, claim, op).await,
            }
        })
    })
    .await
}

/// Nothing else is written along with it, so that one statement does without a transaction.
async fn save_alone(db: &Database, claim: &Claim, op: &Operation, change: Change) -> Result<(), Fault> {
    if db.bounded(retried(|| write_alone(db, claim, &change))).await? {
        return Ok(());
    }
    let call = retried(|| must_be_saved(db.connection(), db, claim, op));
    db.bounded(async { Ok(call.await) }).await?
}

/// Fails unless the row is as it would be now, saying why it could not be written.
async fn must_be_saved(
    connection: &impl ConnectionTrait,
    db: &Database,
    claim: &Claim,
    op: &Operation,
) -> Result<(), Fault> {
    must_hold(connection, db, claim).await?;
    let stored = find(connection, op.id).await?;
    if stored.host == op.host.as_str() && stored.state_json == json(&op.state)? {
        Ok(())
    } else {
        Err(Corrupt::NoOperation { id: op.id.0 }.into())
    }
}

/// The columns that every write of an operation sets. The claim speaks for one host only, and what a newer release
/// wrote is left alone.
fn saved(claim: &Claim, op: &Operation, now: DateTime<Utc>) -> Result<Change, Fault> {
    let mut conditions = vec![
        ("@id = ?", vec![op.id.0.into()]),
        ("@journal_version <= ?", vec![OUR_VERSION.into()]),
    ];
    if claim.host == op.host {
        conditions.push(("@host = ?", vec![op.host.as_str().into()]));
    }
    Ok(Change {
        table: "ops_operations",
        sets: vec![
            ("state", op.state.name().into()),
            ("state_json", json(&op.state)?.into()),
            ("step", op.state.step().map(Step::as_str).into()),
            ("token", claim.token.0.into()),
            ("prepare_began_at", op.prepare_began_at.map(microseconds).into()),
            ("due_at", microseconds(op.due_at).into()),
            ("updated_at", microseconds(now).into()),
            ("journal_version", OUR_VERSION.into()),
        ],
        kept: &[],
        conditions,
    })
}

async fn find(connection: &impl ConnectionTrait, id: OperationId) -> Result<operation::Model, Fault> {
    let row = operation::Entity::find_by_id(id.0).one(connection).await?;
    let row = row.ok_or(Corrupt::NoOperation { id: id.0 })?;
    must_be_ours(&row)?;
    Ok(row)
}

/// What is written along with a state: the history, and, once the end is decided, that whatever the start prepared
/// needs no release any more.
async fn beside(tx: &impl ConnectionTrait, op: &Operation, rows: &[HistoryRow]) -> Result<(), Fault> {
    use operation::Column;
    if settles_release(op) {
        operation::Entity::update_many()
            .col_expr(Column::OwesRelease, Expr::value(false))
            .filter(Column::ReservationId.eq(op.reservation.as_str()))
            .filter(Column::Kind.eq(OperationKind::Start.as_str()))
            .filter(Column::JournalVersion.lte(OUR_VERSION))
            .exec(tx)
            .await?;
    }
    history::add(tx, rows).await?;
    Ok(())
}

fn settles_release(op: &Operation) -> bool {
    op.kind == OperationKind::End && op.state.is_final()
}
