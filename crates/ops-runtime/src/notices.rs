//! A site's outbox, what fills it and what empties it.

use std::time::Duration;

use lab_model::SharedClock;
use notifications::{Outbox, Sender, Teller};
use store_support::Database;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::settings::Settings;

/// The outbox of a site with its tasks in the background, which end with it.
#[derive(Debug)]
pub struct Notices {
    /// What is told.
    pub outbox: Outbox,
    /// The way into it, for those who must not wait.
    pub teller: Teller,
    _ends_tasks: DropGuard,
}

impl Notices {
    pub(crate) fn start(settings: &Settings, database: &Database, clock: &SharedClock) -> Self {
        let wanted = &settings.notifications;
        let outbox = Outbox::new(database.clone(), &settings.worker_name, &wanted.webhooks);
        let stop = CancellationToken::new();
        let teller = Teller::start(outbox.clone(), wanted.rules, stop.clone());
        if !wanted.webhooks.is_empty() {
            match Sender::new(outbox.clone(), wanted, clock.clone()) {
                Ok(sender) => {
                    tokio::spawn(sender.run(stop.clone()));
                }
                Err(error) => tracing::error!(error, "no notices can be sent"),
            }
        }
        Self {
            outbox,
            teller,
            _ends_tasks: stop.drop_guard(),
        }
    }

    /// Waits until what was told so far is in the outbox, at most for `within`.
    pub(crate) async fn settle(&self, within: Duration) {
        // What does not get there in time is lost with the process, and was only a notice.
        let _ = tokio::time::timeout(within, self.teller.settled()).await;
    }
}
