//! The audit trail of the API: who asked for which change, from where, and what came of it. An entry is written before
//! the effect and completed after it. While the database is away the whole entry goes to the log, and the call goes on:
//! hosts have to be operable then as well.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{MatchedPath, RawPathParams, Request};
use axum::http::StatusCode;
use call_journal::{AuditEntry, AuditId, CallJournal};
use governor::clock::MonotonicClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use lab_model::{Clock as _, SystemClock};
use ops_runtime::{Chain, SiteHandle};
use serde_json::{Map, Value};
use tracing::Instrument as _;

use crate::answers::RequestId;
use crate::auth::{Caller, Trust};
use crate::body::Body;
use crate::error::ApiError;

/// Refused calls that are written down in a minute; whoever knocks more often fills the log, not the database.
const REFUSALS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).unwrap();
/// Longest text of a request that is kept.
const LONGEST: usize = 200;

/// Fields of a body that tell one change from another, none of which can be a secret. All others stay out.
const SHOWN: [&str; 12] = [
    "command",
    "enabled",
    "reason",
    "owner",
    "until",
    "credentialRef",
    "overwrite",
    "labId",
    "ttlSecs",
    "role",
    "wake",
    "prepare",
];
const HOST: [&str; 2] = ["host", "hostName"];
const RESERVATION: [&str; 2] = ["reservationId", "reservation_id"];

/// A change somebody asks for.
#[derive(Debug)]
pub(crate) struct Change(AuditEntry);

impl Change {
    /// What the header of a request says about it.
    pub(crate) fn new(
        request: &Request,
        route: &MatchedPath,
        names: &RawPathParams,
        caller: &Caller,
        trust: &Trust,
    ) -> Self {
        let route = route.as_str();
        let route = route.strip_prefix("/ops").unwrap_or(route);
        let id = request.extensions().get::<RequestId>();
        let from = trust.source(request);
        Self(AuditEntry {
            at: SystemClock.now(),
            request_id: id.map_or_else(String::new, |id| id.as_str().to_owned()),
            caller: caller.name.to_string(),
            role: caller.role.as_str().to_owned(),
            from: from.map_or_else(|| "unknown".to_owned(), |address| address.to_string()),
            action: format!("{} {route}", request.method()),
            subject: names.iter().next().map(|(_, name)| shortened(name)),
            detail: None,
        })
    }

    /// What its body says. It is only noted here; whether it makes sense is for the handler to say.
    pub(crate) fn read(&mut self, body: &Bytes) {
        // Read as the handlers do: the trail must not name another host than the one that was commanded.
        let Ok(body) = Body::parse(body) else {
            return;
        };
        let named = |keys: &[&str]| body.first(keys).and_then(|(_, value)| plain(value));
        let host = named(&HOST);
        let reservation = named(&RESERVATION);
        let mut detail: Map<String, Value> = SHOWN
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), plain(body.value(key)?)?)))
            .collect();
        let entry = &mut self.0;
        if entry.subject.is_none() {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            entry.subject = host.as_ref().or(reservation.as_ref()).map(text);
        }
        if host.is_some()
            && let Some(reservation) = reservation
        {
            detail.insert("reservationId".to_owned(), reservation);
        }
        entry.detail = (!detail.is_empty()).then_some(Value::Object(detail));
    }

    fn log(&self, problem: &str, status: Option<u16>, code: Option<&str>) {
        let entry = &self.0;
        let detail = entry.detail.as_ref().map(Value::to_string);
        tracing::warn!(
            at = %entry.at,
            caller = entry.caller,
            role = entry.role,
            from = entry.from,
            action = entry.action,
            subject = entry.subject,
            detail,
            status,
            code,
            "not in the audit trail: {problem}"
        );
    }
}

/// A text, number or boolean, cut to what is worth keeping.
fn plain(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => Some(Value::String(shortened(text))),
        Value::Number(_) | Value::Bool(_) => Some(value.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// A change that was begun: in the trail, or only in the log.
#[derive(Debug)]
pub(crate) enum Begun {
    Written(CallJournal, AuditId),
    Logged(Change),
}

/// Writes the trail; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Auditor {
    handle: SiteHandle,
    /// Of callers that are known and of those that are not, so that these cannot hide what those try.
    refusals: Arc<[RateLimiter<NotKeyed, InMemoryState, MonotonicClock>; 2]>,
}

impl Auditor {
    pub(crate) fn new(handle: SiteHandle) -> Self {
        let quota = Quota::per_minute(REFUSALS_PER_MINUTE);
        Self {
            handle,
            refusals: Arc::new([(); 2].map(|()| RateLimiter::direct_with_clock(quota, MonotonicClock))),
        }
    }

    /// Notes a change before its effect.
    pub(crate) async fn begin(&self, change: Change) -> Begun {
        match self.write(&change).await {
            Ok((calls, id)) => Begun::Written(calls, id),
            Err(problem) => {
                change.log(&problem, None, None);
                Begun::Logged(change)
            }
        }
    }

    /// Notes what came of it.
    pub(crate) async fn end(&self, begun: Begun, status: StatusCode, code: Option<&str>) {
        let status = status.as_u16();
        let (calls, id) = match begun {
            Begun::Written(calls, id) => (calls, id),
            Begun::Logged(change) => return change.log("this is its outcome", Some(status), code),
        };
        let writing = calls.audit_end(id, status, code, SystemClock.now());
        let problem = match calls.database().spare(writing).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Chain(&error).to_string(),
            Err(no_answer) => no_answer.to_string(),
        };
        tracing::warn!(
            audit.id = id.0,
            status,
            code,
            "an outcome is not in the audit trail: {problem}"
        );
    }

    /// Notes a call that was turned away, in the background: it waits for nobody.
    pub(crate) fn refused(&self, change: Change, error: &ApiError, is_known: bool) {
        let [unknown, known] = &*self.refusals;
        let counted = if is_known { known } else { unknown };
        if counted.check().is_err() {
            return;
        }
        let (auditor, status, code) = (self.clone(), error.status(), error.code().to_owned());
        let noting = async move {
            let begun = auditor.begin(change).await;
            auditor.end(begun, status, Some(&code)).await;
        };
        tokio::spawn(noting.in_current_span());
    }

    async fn write(&self, change: &Change) -> Result<(CallJournal, AuditId), String> {
        let site = self.handle.current().ok_or("the database was not reached yet")?;
        let calls = site.calls.clone();
        match site.database.spare(calls.audit_begin(change.0.clone())).await {
            Ok(Ok(id)) => Ok((calls, id)),
            Ok(Err(error)) => Err(Chain(&error).to_string()),
            Err(no_answer) => Err(no_answer.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_is_what_the_handler_reads() {
        let subject = |body: &str| {
            let mut change = Change(AuditEntry {
                at: SystemClock.now(),
                request_id: String::new(),
                caller: String::new(),
                role: String::new(),
                from: String::new(),
                action: String::new(),
                subject: None,
                detail: None,
            });
            change.read(&Bytes::copy_from_slice(body.as_bytes()));
            change.0.subject
        };
        for (body, expected) in [
            (r#"{"host": "a", "hostName": "b"}"#, Some("a")),
            (r#"{"host": "", "hostName": "b"}"#, Some("b")),
            (r#"{"host": false, "hostName": "b"}"#, Some("b")),
            (r#"{"host": 0, "hostName": "b"}"#, Some("b")),
            (r#"{"host": [], "reservation_id": 7}"#, Some("7")),
            (r#"{"reservationId": "", "reservation_id": "x"}"#, Some("x")),
            (r#"{}"#, None),
            ("[]", None),
            ("nonsense", None),
        ] {
            assert_eq!(subject(body).as_deref(), expected, "{body}");
        }
    }
}
