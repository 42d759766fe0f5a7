//! Reports that the database refuses: the one that is to blame is found, and as much of it stored as can be.

use std::sync::Mutex;

use store_support::{DbErr, DbFault, classify};

use crate::batch::{self, Batch, BatchError, Care};
use crate::columns::cut;
use crate::prepared::Prepared;
use crate::report::Recorded;
use crate::store::{HeartbeatStore, HeartbeatStoreError};

impl Care {
    /// How to try again a single report that was refused; `None` when nothing is left to leave out.
    pub(crate) fn next(&self, refused: &DbErr) -> Option<Self> {
        let reason = || cut(&format!("the database refused it: {refused}"), 240);
        match self {
            Self::Plain => Some(Self::Ascii),
            Self::Ascii => Some(Self::SetAside(reason())),
            Self::SetAside(reason) => Some(Self::Bare(reason.clone())),
            Self::Bare(_) => None,
        }
    }
}

/// Whether trying the same again is of no use.
pub(crate) fn is_refusal(error: &DbErr) -> bool {
    matches!(classify(error), DbFault::Refused | DbFault::Unique)
}

/// Writes one report.
pub(crate) async fn one(
    store: &HeartbeatStore,
    report: &Prepared,
    action: &'static str,
) -> Result<Recorded, HeartbeatStoreError> {
    let outcome = Mutex::new(None);
    let (mut care, mut first, mut is_fresh) = (Care::Plain, None, false);
    loop {
        let batch = Batch {
            reports: &[report],
            keep: store.keep,
            care: &care,
            mark: None,
            outcome: &outcome,
        };
        let error = match batch::write(store, &batch).await {
            Ok(recorded) => match recorded.into_iter().next() {
                Some(recorded) => return Ok(recorded),
                None => DbErr::RecordNotFound("the outcome of a report".to_owned()),
            },
            Err(BatchError::Database(error)) => error,
            // Only a batch with a mark can be that.
            Err(BatchError::Stored) => DbErr::RecordNotFound("the mark of a report".to_owned()),
        };
        let next = match is_refusal(&error) {
            // The host may have been deleted since its id was read.
            true if !is_fresh => Some(care.clone()),
            true => care.next(&error),
            false => None,
        };
        store.ids.forget();
        is_fresh = true;
        let error = first.get_or_insert(error);
        match next {
            Some(next) => care = next,
            None => {
                let error = first.take().unwrap_or(DbErr::RecordNotUpdated);
                return Err(HeartbeatStoreError::from(action)(error));
            }
        }
        tracing::debug!(host.name = %report.host.name, %error, "a report was refused and is tried differently");
    }
}
