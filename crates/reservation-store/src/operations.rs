//! The journal: operations and the attempts of their steps, each write under the claim.

use chrono::{DateTime, NaiveDateTime, Utc};
use lab_model::{HostName, LabId, ReservationId};
use reservation_engine::{
    AttemptId, AttemptOutcome, Claim, HistoryRow, NewOperation, Operation, OperationId, OperationKind,
    Reason, State, Step,
};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, OnConflict};
use sea_orm::{ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, QueryFilter as _};
use store_support::{Database, DbErr, transaction};

use crate::claims::fence;
use crate::columns::{cut, microseconds};
use crate::entity::{attempt, operation};
use crate::fault::{Corrupt, Fault};
use crate::history;

/// The words of states after which nothing more happens.
pub(crate) const FINAL: [&str; 2] = ["done", "needs_attention"];
/// The words of all others.
pub(crate) const OPEN: [&str; 4] = ["pending", "running", "checking", "waiting"];
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
    let row = new_row(claim, new, microseconds(now))?;
    let row = &row;
    let found = transaction(db, |tx| {
        Box::pin(async move {
            fence(&**tx, db, claim).await?;
            operation::Entity::insert(row.clone())
                .on_conflict(
                    OnConflict::column(operation::Column::OpKey)
                        .do_nothing_on([operation::Column::Id])
                        .to_owned(),
                )
                .try_insert()
                .exec_without_returning(&**tx)
                .await?;
            let by_key = operation::Entity::find().filter(operation::Column::OpKey.eq(&new.key));
            by_key
                .one(&**tx)
                .await?
                .ok_or_else(|| Fault::Database(DbErr::RecordNotInserted))
        })
    })
    .await?;
    to_domain(&found)
}

fn new_row(claim: &Claim, new: &NewOperation, now: NaiveDateTime) -> Result<operation::ActiveModel, Fault> {
    Ok(operation::ActiveModel {
        op_key: Set(new.key.clone()),
        kind: Set(new.kind.as_str().to_owned()),
        reservation_id: Set(new.reservation.as_str().to_owned()),
        lab_id: Set(new.lab.as_ref().map(|lab| cut(lab.as_str(), 128))),
        host: Set(new.host.as_str().to_owned()),
        state: Set(new.state.name().to_owned()),
        state_json: Set(json(&new.state)?),
        step: Set(step_of(&new.state).map(|step| step.as_str().to_owned())),
        token: Set(claim.token.0),
        prepare_began_at: Set(None),
        owes_release: Set(false),
        due_at: Set(microseconds(new.due_at)),
        created_at: Set(now),
        updated_at: Set(now),
        journal_version: Set(1),
        ..Default::default()
    })
}

pub(crate) async fn begin_attempt(
    db: &Database,
    claim: &Claim,
    op: &Operation,
    step: Step,
    attempt: u32,
    now: DateTime<Utc>,
) -> Result<AttemptId, Fault> {
    transaction(db, |tx| {
        Box::pin(async move {
            fence(&**tx, db, claim).await?;
            save(&**tx, claim, op, now).await?;
            let row = attempt::ActiveModel {
                operation_id: Set(op.id.0),
                step: Set(step.as_str().to_owned()),
                attempt: Set(i32::try_from(attempt).unwrap_or(i32::MAX)),
                token: Set(claim.token.0),
                intent_at: Set(microseconds(now)),
                ..Default::default()
            };
            Ok(AttemptId(
                attempt::Entity::insert(row).exec(&**tx).await?.last_insert_id,
            ))
        })
    })
    .await
}

/// What came of an attempt.
pub(crate) struct Ending<'a> {
    pub(crate) attempt: AttemptId,
    pub(crate) outcome: AttemptOutcome,
    pub(crate) reason: Option<&'a Reason>,
}

/// Saves the operation's state and its history; with `ending`, the outcome of an attempt as well.
pub(crate) async fn finish(
    db: &Database,
    claim: &Claim,
    op: &Operation,
    ending: Option<Ending<'_>>,
    rows: &[HistoryRow],
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let ending = ending.as_ref();
    transaction(db, |tx| {
        Box::pin(async move {
            fence(&**tx, db, claim).await?;
            save(&**tx, claim, op, now).await?;
            if let Some(ending) = ending {
                end_attempt(&**tx, op.id, ending, now).await?;
            }
            if op.kind == OperationKind::End && op.state.is_final() {
                settle_release(&**tx, &op.reservation).await?;
            }
            history::add(&**tx, rows).await?;
            Ok(())
        })
    })
    .await
}

async fn save(
    tx: &impl ConnectionTrait,
    claim: &Claim,
    op: &Operation,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    use operation::Column;
    let began = op.prepare_began_at.map(microseconds);
    // Owed from the first intent to prepare on. It stands before the column it looks at: MySQL assigns from
    // left to right.
    let first_intent = op.kind == OperationKind::Start && began.is_some();
    let owes = CaseStatement::new()
        .case(
            Condition::all()
                .add(Column::PrepareBeganAt.is_null())
                .add(Expr::value(first_intent)),
            Expr::value(true),
        )
        .finally(Expr::col(Column::OwesRelease));
    let saved = operation::Entity::update_many()
        .col_expr(Column::OwesRelease, owes.into())
        .col_expr(Column::PrepareBeganAt, Expr::value(began))
        .col_expr(Column::State, Expr::value(op.state.name()))
        .col_expr(Column::StateJson, Expr::value(json(&op.state)?))
        .col_expr(Column::Step, Expr::value(step_of(&op.state).map(Step::as_str)))
        .col_expr(Column::Token, Expr::value(claim.token.0))
        .col_expr(Column::DueAt, Expr::value(microseconds(op.due_at)))
        .col_expr(Column::UpdatedAt, Expr::value(microseconds(now)))
        .filter(Column::Id.eq(op.id.0))
        // The claim speaks for one host only.
        .filter(Expr::value(claim.host == op.host).eq(true))
        .exec(tx)
        .await?;
    if saved.rows_affected == 1 {
        Ok(())
    } else {
        Err(Corrupt::NoOperation { id: op.id.0 }.into())
    }
}

async fn end_attempt(
    tx: &impl ConnectionTrait,
    op: OperationId,
    ending: &Ending<'_>,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    use attempt::Column;
    let reason = ending
        .reason
        .map(serde_json::to_string)
        .transpose()
        .map_err(Corrupt::State)?;
    let ended = attempt::Entity::update_many()
        .col_expr(Column::Outcome, Expr::value(ending.outcome.as_str()))
        .col_expr(Column::OutcomeAt, Expr::value(microseconds(now)))
        .col_expr(Column::ReasonJson, Expr::value(reason))
        .filter(Column::Id.eq(ending.attempt.0))
        .filter(Column::OperationId.eq(op.0))
        .exec(tx)
        .await?;
    if ended.rows_affected == 1 {
        Ok(())
    } else {
        Err(Corrupt::NoAttempt {
            id: ending.attempt.0,
            operation: op.0,
        }
        .into())
    }
}

/// The end is decided: whatever the start prepared needs no release any more.
async fn settle_release(tx: &impl ConnectionTrait, reservation: &ReservationId) -> Result<(), DbErr> {
    use operation::Column;
    operation::Entity::update_many()
        .col_expr(Column::OwesRelease, Expr::value(false))
        .filter(Column::ReservationId.eq(reservation.as_str()))
        .filter(Column::Kind.eq(OperationKind::Start.as_str()))
        .exec(tx)
        .await?;
    Ok(())
}

fn json(state: &State) -> Result<String, Corrupt> {
    serde_json::to_string(state).map_err(Corrupt::State)
}

fn step_of(state: &State) -> Option<Step> {
    match state {
        State::Pending { step, .. }
        | State::Running { step, .. }
        | State::Checking { step, .. }
        | State::Waiting { step, .. } => Some(*step),
        State::NeedsAttention { step, .. } => *step,
        State::Done { .. } => None,
    }
}

/// Fails for a row that a later release wrote: acting on half an understanding could repeat what must not be
/// repeated.
pub(crate) fn to_domain(row: &operation::Model) -> Result<Operation, Fault> {
    let unreadable = |column| Fault::Corrupt(Corrupt::Unreadable { id: row.id, column });
    Ok(Operation {
        id: OperationId(row.id),
        kind: OperationKind::parse(&row.kind).ok_or_else(|| unreadable("kind"))?,
        reservation: ReservationId::parse(&row.reservation_id).map_err(|_| unreadable("reservation_id"))?,
        lab: row.lab_id.as_deref().map(LabId::new),
        host: HostName::parse(&row.host).map_err(|_| unreadable("host"))?,
        state: serde_json::from_str(&row.state_json).map_err(|_| unreadable("state_json"))?,
        prepare_began_at: row.prepare_began_at.map(|at| at.and_utc()),
        due_at: row.due_at.and_utc(),
        created_at: row.created_at.and_utc(),
    })
}
