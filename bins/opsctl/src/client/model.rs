//! What the answers hold, as far as this program shows it. Everything may be missing: an older service says less.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An id or a lab: text, or a number written as one.
fn loose<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(loosely(&Value::deserialize(deserializer)?))
}

fn loosely(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A list in which numbers count as text; null is an empty one.
fn loose_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let list = Option::<Vec<Value>>::deserialize(deserializer)?;
    Ok(list.unwrap_or_default().iter().filter_map(loosely).collect())
}

/// Null is the same as nothing.
fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A switch as the service writes it: true, 1, or null.
fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Bool(truth) => Some(truth),
        Value::Number(number) => Some(number.as_i64() != Some(0)),
        _ => None,
    })
}

macro_rules! documents {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(rename_all = "camelCase", default)]
            pub(crate) struct $name {
                $($(#[$field_meta])* pub(crate) $field: $type,)*
            }
        )*
    };
}

mod hosts;
mod past;
mod reservations;
mod service;
mod work;

pub(crate) use hosts::{Claim, Host, HostConfig, HostList, Maintenance, Polled};
pub(crate) use past::{Event, EventList, History, Hours, Latency};
pub(crate) use reservations::{
    Booking, EffectiveLead, Explanation, HostExplanation, LastFailure, Next, Pagination, RecentOperations,
    ReservationList, Row, Timeline, Wait,
};
pub(crate) use service::{Audit, Health, Worker, WorkerList};
pub(crate) use work::{Operation, OperationStep, Ran, StepsAnswer, Told, Woken};
