//! What the database knows of all hosts, by a fixed number of statements however many there are.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use heartbeat_store::{HeartbeatStoreError, HostState};
use lab_model::Catalog;
use ops_runtime::{Demand, Site};
use reservation_engine::StoreError;

/// What was read.
#[derive(Debug)]
pub(crate) struct Facts {
    /// When, by our clock.
    pub(crate) at: DateTime<Utc>,
    /// By the host's name in lower case.
    pub(crate) states: HashMap<String, HostState>,
    pub(crate) demand: Demand,
}

/// Which store did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatherError {
    #[error(transparent)]
    Reservations(#[from] StoreError),
    #[error(transparent)]
    Heartbeats(#[from] HeartbeatStoreError),
}

/// One statement after the other: a view for people takes one connection of the pool, not all of them.
pub(super) async fn gather(site: &Site, catalog: &Catalog) -> Result<Facts, GatherError> {
    let at = site.clock.now();
    let states = site.heartbeats.host_states().await?;
    Ok(Facts {
        at,
        states: states
            .into_iter()
            .map(|state| (state.host.clone(), state))
            .collect(),
        demand: Demand::read(site, catalog).await?,
    })
}
