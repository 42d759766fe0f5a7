//! Delivers what is in the outbox, in the background: each receiver on its own, so that one that hangs delays no other.

use std::sync::Arc;
use std::time::Duration;

use lab_model::SharedClock;
use rand::RngExt as _;
use reqwest::Client;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::delivery::{DELIVERY_TIMEOUT, Receipt, deliver, http_client, next_wait};
use crate::outbox::{Outbox, Taken};
use crate::rows;
use crate::settings::{NotificationSettings, Webhook};
use crate::signature::Signature;

/// How many deliveries one receiver gets at the same moment from one process.
const AT_ONCE: usize = 4;
/// For how long a delivery is one process's own.
const LEASE: Duration = Duration::from_secs(3 * DELIVERY_TIMEOUT.as_secs());
/// Longest time until what another process has put in is seen.
const LOOK: Duration = Duration::from_secs(5);

/// Delivers notices to the webhooks of the settings. Any number of processes may.
#[derive(Debug)]
pub struct Sender {
    outbox: Outbox,
    webhooks: Vec<Webhook>,
    signature: Option<Signature>,
    clock: SharedClock,
    client: Client,
}

impl Sender {
    /// Takes the settings' webhooks.
    ///
    /// # Errors
    /// When there can be no TLS at all, in words.
    pub fn new(outbox: Outbox, settings: &NotificationSettings, clock: SharedClock) -> Result<Self, String> {
        Ok(Self {
            outbox,
            webhooks: settings.webhooks.clone(),
            signature: settings.secret.as_ref().map(Signature::new),
            clock,
            client: http_client()?,
        })
    }

    /// Delivers until `stop`. A delivery under way then is dropped, and made again by whoever comes after its lease.
    pub async fn run(self, stop: CancellationToken) {
        let sender = Arc::new(self);
        let mut receivers = JoinSet::new();
        for webhook in &sender.webhooks {
            let (sender, webhook, stop) = (Arc::clone(&sender), webhook.clone(), stop.clone());
            receivers.spawn(async move { sender.serve(&webhook, &stop).await });
        }
        while receivers.join_next().await.is_some() {}
    }

    async fn serve(self: &Arc<Self>, webhook: &Webhook, stop: &CancellationToken) {
        let mut running: JoinSet<()> = JoinSet::new();
        if let Ok(Some(left)) = self.outbox.gone_for(webhook.target()).await {
            let (webhook, left_hours) = (webhook.shown(), left.as_secs() / 3_600);
            tracing::warn!(
                webhook,
                left_hours,
                "the receiver said that it is gone (410): it gets no notices"
            );
        }
        loop {
            let changed = self.outbox.changed.notified();
            let wait = self.start_due(webhook, &mut running).await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = changed => {}
                () = sleep(wait) => {}
                Some(_) = running.join_next(), if !running.is_empty() => {}
            }
        }
        running.shutdown().await;
    }

    /// Starts what is due, and says how long to wait for more.
    async fn start_due(self: &Arc<Self>, webhook: &Webhook, running: &mut JoinSet<()>) -> Duration {
        let free = AT_ONCE.saturating_sub(running.len());
        if free == 0 {
            return LOOK;
        }
        let due = async {
            for taken in self.outbox.take(webhook.target(), free, LEASE).await? {
                let (sender, webhook) = (Arc::clone(self), webhook.clone());
                running.spawn(async move { sender.attempt(&webhook, taken).await });
            }
            self.outbox.next_due(webhook.target()).await
        };
        match due.await {
            // Zero would be a delivery that could not be taken since another process has it.
            Ok(due_in) => due_in.unwrap_or(LOOK).clamp(Duration::from_millis(50), LOOK),
            Err(error) => {
                tracing::debug!(%error, "the outbox cannot be read");
                LOOK
            }
        }
    }

    /// Tries one delivery and records how it ended.
    async fn attempt(&self, webhook: &Webhook, taken: Taken) {
        let now = self.clock.now();
        let receipt = deliver(&self.client, webhook, self.signature.as_ref(), &taken, now).await;
        let wait = match &receipt {
            Receipt::Later { wait, .. } => next_wait(&taken, *wait, rand::rng().random_range(0.0..1.0)),
            _ => None,
        };
        let over = wait.is_none();
        let row = over
            .then(|| rows::of_delivery(&taken, &receipt, webhook.shown(), self.clock.now()))
            .flatten();
        if over && !matches!(receipt, Receipt::Delivered { .. }) {
            let status = receipt.status();
            tracing::warn!(
                webhook = webhook.shown(),
                notice = taken.notice_id,
                status,
                "a notice was given up"
            );
        }
        if matches!(receipt, Receipt::Gone { .. }) {
            let webhook = webhook.shown();
            tracing::warn!(
                webhook,
                "the receiver is gone (410): it gets no notices for seven days"
            );
        }
        if let Err(error) = self.outbox.settle(&taken, &receipt, wait, row).await {
            tracing::debug!(%error, "a delivery could not be recorded; it is made again");
        }
    }
}
