//! Who watches which operation. However many viewers one has, one task reads the database for them, with one statement
//! a second at most while nothing ends.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use call_journal::CallRecord;
use ops_runtime::{Chain, Site};
use reservation_engine::OperationId;
use reservation_store::{JournalEntry, JournalKey};
use tokio::sync::watch as channel;
use tokio::time::{MissedTickBehavior, interval};

use super::view::{self, OperationDocument, OperationRef};
use crate::error::ApiError;

/// The pause between two statements.
const READ_EVERY: Duration = Duration::from_secs(1);

/// One state of the document.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Grows from one frame to the next, also over processes: it is made of the latest instant in the document.
    pub(crate) number: i64,
    /// The document.
    pub(crate) document: Arc<OperationDocument>,
}

/// The operations that are watched in this process. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Watches(Arc<Watched>);

#[derive(Default)]
struct Watched {
    senders: Mutex<HashMap<OperationRef, channel::Sender<Frame>>>,
    /// Held while the first look at an operation is taken, so that viewers who come together take one. By the hash of
    /// the operation: a fixed number of them needs no tidying, and one that hangs holds up few others.
    looks: [tokio::sync::Mutex<()>; 16],
}

impl Watches {
    /// Frames from the present one on, the last being that of the end; `None` when there is no such operation.
    pub(crate) async fn watch(
        &self,
        site: &Arc<Site>,
        id: OperationRef,
    ) -> Result<Option<channel::Receiver<Frame>>, ApiError> {
        if let Some(receiver) = self.known(id) {
            return Ok(Some(receiver));
        }
        let _look = self.look(id).lock().await;
        if let Some(receiver) = self.known(id) {
            return Ok(Some(receiver));
        }
        let Some(mut document) = view::document(site, id).await? else {
            return Ok(None);
        };
        let over = document.is_over();
        if !over {
            document.explain = None;
        }
        let frame = Frame {
            number: document.changed_at.timestamp_micros(),
            document: Arc::new(document),
        };
        let (sender, receiver) = channel::channel(frame);
        if !over {
            self.lock().insert(id, sender);
            // It ends with its last viewer, or with the operation.
            tokio::spawn(Reader::new(self.clone(), Arc::clone(site), id).run());
        }
        Ok(Some(receiver))
    }

    fn known(&self, id: OperationRef) -> Option<channel::Receiver<Frame>> {
        self.lock().get(&id).map(channel::Sender::subscribe)
    }

    fn look(&self, id: OperationRef) -> &tokio::sync::Mutex<()> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let looks = &self.0.looks;
        // Less than the length of the list, whatever the hash is.
        &looks[(hasher.finish() % looks.len() as u64) as usize]
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OperationRef, channel::Sender<Frame>>> {
        self.0.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the operation off the list when nobody watches it any more.
    fn leave_if_alone(&self, id: OperationRef) -> bool {
        let mut watched = self.lock();
        let alone = watched.get(&id).is_none_or(|sender| sender.receiver_count() == 0);
        if alone {
            watched.remove(&id);
        }
        alone
    }

    fn publish(&self, id: OperationRef, document: OperationDocument) {
        let over = document.is_over();
        let mut watched = self.lock();
        if let Some(sender) = watched.get(&id) {
            sender.send_if_modified(|frame| {
                let changed = *frame.document != document;
                if changed {
                    frame.number = document.changed_at.timestamp_micros().max(frame.number + 1);
                    frame.document = Arc::new(document);
                }
                changed
            });
        }
        if over {
            watched.remove(&id);
        }
    }
}

/// The one who reads for all viewers of an operation.
struct Reader {
    watches: Watches,
    site: Arc<Site>,
    id: OperationRef,
    call: Option<CallRecord>,
    entry: Option<JournalEntry>,
    steps_next: bool,
}

impl Reader {
    fn new(watches: Watches, site: Arc<Site>, id: OperationRef) -> Self {
        Self {
            watches,
            site,
            id,
            call: None,
            entry: None,
            steps_next: true,
        }
    }

    async fn run(mut self) {
        let mut ticks = interval(READ_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if self.watches.leave_if_alone(self.id) {
                return;
            }
            let Some(document) = self.read().await else {
                continue;
            };
            if !document.is_over() {
                self.watches.publish(self.id, document);
                continue;
            }
            // The last frame has everything.
            let whole = view::document(&self.site, self.id).await;
            let document = whole.ok().flatten().filter(OperationDocument::is_over);
            if let Some(document) = document {
                return self.watches.publish(self.id, document);
            }
        }
    }

    /// One statement: the call, and the steps, by turns.
    async fn read(&mut self) -> Option<OperationDocument> {
        match self.id {
            OperationRef::Journal(id) => {
                self.read_entry(JournalKey::Id(OperationId(id))).await;
                self.entry.as_ref().map(view::of_entry)
            }
            OperationRef::Call(id) => {
                let has_steps = self.call.as_ref().is_some_and(|call| view::has_steps(call.kind));
                if has_steps && self.steps_next && !self.steps_are_over() {
                    self.read_entry(JournalKey::Key(&view::journal_key(id))).await;
                } else {
                    match self.site.calls.find(id, self.site.clock.now()).await {
                        Ok(found) => self.call = found,
                        Err(error) => {
                            tracing::warn!(call.id = %id, error = %Chain(&error), "a watched call cannot be read")
                        }
                    }
                }
                self.steps_next = !self.steps_next;
                let call = self.call.as_ref()?;
                Some(view::of_call(call, self.entry.as_ref()))
            }
        }
    }

    fn steps_are_over(&self) -> bool {
        let state = self.entry.as_ref().map(|entry| entry.state.as_str());
        matches!(state, Some("done" | "needs_attention"))
    }

    async fn read_entry(&mut self, key: JournalKey<'_>) {
        match self.site.reservations.journal_entry(key).await {
            Ok(entry) => self.entry = entry,
            Err(error) => tracing::warn!(error = %Chain(&error), "a watched operation cannot be read"),
        }
    }
}
