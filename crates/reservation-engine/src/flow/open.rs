//! Opens operations: under which key the one is found again that another copy, or the same one before a crash, began.

use chrono::{DateTime, Utc};
use tracing::{debug, warn};

use super::{Flow, FlowError};
use crate::held::insist;
use crate::operation::{NewOperation, Operation, OperationKind, Step};
use crate::ports::{Station, Store, StoreError, WorkItem};
use crate::reason::Reason;
use crate::state::{Event, State};

impl<S: Store, T: Station> Flow<'_, S, T> {
    pub(crate) async fn open(
        &self,
        item: &WorkItem,
        kind: OperationKind,
        state: State,
        due_at: DateTime<Utc>,
    ) -> Result<Operation, StoreError> {
        let id = &item.reservation.id;
        let key = match item.start.as_ref().filter(|_| kind == OperationKind::Start) {
            Some(former) => format!("start:{id}:{}", former.id),
            None => format!("{}:{id}", kind.as_str()),
        };
        let mut operation = self.open_as(key, item, kind, state.clone(), due_at).await?;
        match &item.start {
            Some(start) if kind == OperationKind::End && operation.id < start.id => {
                // That end was for an earlier start.
                let key = format!("end:{id}:{}", start.id);
                return self.open_as(key, item, kind, state, due_at).await;
            }
            Some(_) if kind == OperationKind::Start => {
                operation.prepare_began_at = operation.prepare_began_at.or(item.left_prepared());
            }
            _ => {}
        }
        Ok(operation)
    }

    async fn open_as(
        &self,
        key: String,
        item: &WorkItem,
        kind: OperationKind,
        state: State,
        due_at: DateTime<Utc>,
    ) -> Result<Operation, StoreError> {
        let new = NewOperation {
            key,
            kind,
            reservation: item.reservation.id.clone(),
            lab: Some(item.reservation.lab.clone()),
            host: self.host.clone(),
            state,
            due_at,
        };
        let (now, store) = (self.inner.now(), &self.inner.store);
        insist(|| store.open_operation(self.held.claim(), new.clone(), now)).await
    }

    /// Records a reservation that was over before anything was done for it. A crash between the two writes leaves an
    /// operation that is closed for the same reason.
    pub(super) async fn miss(&mut self, item: &WorkItem, reason: Reason) -> Result<(), FlowError> {
        warn!(%reason, "missed");
        let untried = State::first(Step::Wake);
        let due_at = crate::instant::earlier(item.reservation.starts_at, self.lead());
        let operation = self
            .open(item, OperationKind::Start, untried.clone(), due_at)
            .await?;
        if operation.state != untried || operation.host != *self.host {
            debug!("another copy was faster");
            return Ok(());
        }
        let at = self.inner.now();
        self.end(item, operation, Event::GaveUp { reason, at }).await
    }
}

/// Where an operation of this kind begins.
pub(crate) fn first_step(kind: OperationKind) -> Step {
    match kind {
        OperationKind::Start | OperationKind::ManualStart => Step::Wake,
        OperationKind::End | OperationKind::ManualEnd => Step::Release,
    }
}
