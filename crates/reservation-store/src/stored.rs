//! Operations as rows, and what is made of rows that this release cannot understand.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use lab_model::{HostName, LabId, ReservationId};
use reservation_engine::{JOURNAL_VERSION, Operation, OperationId, OperationKind, State};

use crate::entity::operation;
use crate::fault::{Corrupt, Fault};

/// The words of states after which nothing more happens.
pub(crate) const FINAL: [&str; 2] = ["done", "needs_attention"];
/// The words of all others.
pub(crate) const OPEN: [&str; 4] = ["pending", "running", "checking", "waiting"];
/// The version that this release writes. It resumes what older ones wrote.
pub(crate) const OUR_VERSION: i32 = JOURNAL_VERSION.cast_signed();
/// How many unreadable rows are remembered, so that each is told of once.
const MAX_TOLD: usize = 10_000;

pub(crate) fn json(state: &State) -> Result<String, Corrupt> {
    serde_json::to_string(state).map_err(Corrupt::State)
}

/// Fails for a row that a later release wrote: acting on half an understanding could repeat what must not be
/// repeated.
pub(crate) fn must_be_ours(row: &operation::Model) -> Result<(), Corrupt> {
    if row.journal_version <= OUR_VERSION {
        Ok(())
    } else {
        Err(Corrupt::Newer {
            id: row.id,
            version: row.journal_version,
        })
    }
}

pub(crate) fn to_domain(row: &operation::Model) -> Result<Operation, Fault> {
    must_be_ours(row)?;
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

/// A row of a newer release, as far as every release understands it: whose it is, and which host it has.
fn foreign(row: &operation::Model) -> Option<Operation> {
    Some(Operation {
        id: OperationId(row.id),
        kind: OperationKind::parse(&row.kind)?,
        reservation: ReservationId::parse(&row.reservation_id).ok()?,
        lab: row.lab_id.as_deref().map(LabId::new),
        host: HostName::parse(&row.host).ok()?,
        state: State::Foreign {
            version: row.journal_version.unsigned_abs(),
            over: FINAL.contains(&row.state.as_str()),
        },
        prepare_began_at: row.prepare_began_at.map(|at| at.and_utc()),
        due_at: row.due_at.and_utc(),
        created_at: row.created_at.and_utc(),
    })
}

/// Which unreadable rows the log has been told of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<HashSet<i64>>>);

impl Told {
    /// Reads a row; says `None` for one that cannot be understood, loudly the first time: the others go on. One of a newer
    /// release is given as [`State::Foreign`].
    pub(crate) fn readable(&self, row: &operation::Model) -> Option<Operation> {
        let read = to_domain(row);
        if let Err(fault) = &read {
            self.tell(row, fault);
        }
        match read {
            Err(Fault::Corrupt(Corrupt::Newer { .. })) => foreign(row),
            read => read.ok(),
        }
    }

    /// The same; `None` for one of a newer release as well.
    pub(crate) fn ours(&self, row: &operation::Model) -> Option<Operation> {
        let read = self.readable(row);
        read.filter(|operation| !matches!(operation.state, State::Foreign { .. }))
    }

    fn tell(&self, row: &operation::Model, fault: &Fault) {
        if self.is_news(row.id) {
            tracing::error!(
                operation.id = row.id,
                reservation.id = row.reservation_id,
                host.name = row.host,
                error = %fault,
                "an operation cannot be understood and is left alone"
            );
        }
    }

    fn is_news(&self, id: i64) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        told.insert(id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::span;

    use super::*;

    /// Counts what is said.
    struct Ears(Arc<AtomicUsize>);

    impl tracing::Subscriber for Ears {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            assert_eq!(*event.metadata().level(), tracing::Level::ERROR);
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    fn row(id: i64, journal_version: i32) -> operation::Model {
        let at = chrono::NaiveDateTime::default();
        operation::Model {
            id,
            op_key: format!("start:{id}"),
            kind: "start".to_owned(),
            reservation_id: "0xaa".to_owned(),
            lab_id: None,
            host: "ws".to_owned(),
            state: "pending".to_owned(),
            state_json: r#"{"state": "pending", "step": "wake", "failed": 0}"#.to_owned(),
            step: None,
            token: 1,
            prepare_began_at: None,
            owes_release: false,
            due_at: at,
            created_at: at,
            updated_at: at,
            journal_version,
        }
    }

    #[test]
    fn a_row_of_a_newer_release_is_told_of_once_and_not_in_every_pass() {
        let said = Arc::new(AtomicUsize::new(0));
        tracing::subscriber::with_default(Ears(Arc::clone(&said)), || {
            let told = Told::default();
            for _ in 0..3 {
                assert!(told.readable(&row(1, OUR_VERSION)).is_some());
                assert!(told.readable(&row(2, 0)).is_some());
                let theirs = told.readable(&row(3, OUR_VERSION + 1)).unwrap();
                let version = JOURNAL_VERSION + 1;
                assert_eq!(theirs.state, State::Foreign { version, over: false });
                assert_eq!(told.clone().ours(&row(4, OUR_VERSION + 1)), None);
            }
        });
        assert_eq!(said.load(Ordering::SeqCst), 2);
    }
}
