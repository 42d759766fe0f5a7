//! What the end-to-end tests of both services stand on: simulated hosts with their `hosts.json`, the shared database
//! as another service sees it, and the programs as an operator starts them.

pub(crate) mod collector;
mod database;
mod forwarder;
mod lab;
mod process;
mod server;

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{Clock as _, SystemClock};

pub(crate) use collector::{a_collector, attribute};
pub(crate) use database::{
    HistoryRow, Journal, count, execute, history, journal, migrate, reservations, server_url, status,
};
pub(crate) use forwarder::Forwarder;
pub(crate) use lab::{Lab, Silence, asleep, awake, commands, dsn, packets};
pub(crate) use process::Process;
pub(crate) use server::{Server, new_schema, private_dsn};

/// Long enough for a busy machine; only a test that fails waits for it.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// Asks again and again until there is an answer.
pub(crate) async fn until<T, F>(what: &str, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    until_within(LIMIT, what, ask).await
}

/// The same with a limit of its own.
pub(crate) async fn until_within<T, F>(limit: Duration, what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    match tokio::time::timeout(limit, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited {limit:?} in vain until {what}"),
    }
}

/// The same for what needs no asking around.
pub(crate) async fn until_true(what: &str, mut is_so: impl FnMut() -> bool) {
    until(what, || std::future::ready(is_so().then_some(()))).await;
}

/// The wall clock.
pub(crate) fn now() -> DateTime<Utc> {
    SystemClock.now()
}

/// So many seconds from now; negative ones are over.
pub(crate) fn in_secs(secs: i64) -> DateTime<Utc> {
    now() + chrono::TimeDelta::seconds(secs)
}
