//! `POST` and `DELETE /api/hosts/{name}/maintenance`: keep reservations from a host at which somebody works, and let
//! them come again.

use axum::extract::{Path, State};
use axum::{Extension, Json};
use chrono::{DateTime, Months, SecondsFormat, Utc};
use lab_model::HostName;
use ops_runtime::Site;
use reservation_engine::Maintenance;
use reservation_store::NewMaintenance;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::app::{App, not_in_config};
use crate::auth::Caller;
use crate::body::Body;
use crate::error::ApiError;
use crate::fleet::MaintenanceView;

/// The longest reason, in characters.
const MAX_REASON: usize = 256;
/// The longest name of an owner, in characters.
const MAX_OWNER: usize = 128;
/// How far ahead an end may lie. Whoever means longer leaves it out.
const MAX_AHEAD: Months = Months::new(60);

/// What is said when a host is taken into maintenance.
#[derive(ToSchema)]
#[schema(as = MaintenanceRequest)]
#[expect(dead_code, reason = "it describes the body, whose fields are read one by one")]
pub(crate) struct Request {
    /// Why: 1 to 256 characters in one line.
    #[schema(
        example = "robot arm is being replaced",
        max_length = 256,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    reason: String,
    /// Who has the host, at most 128 characters; by default the name of the caller's token.
    #[schema(
        example = "ana.ruiz",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    owner: Option<String>,
    /// When it ends by itself, an instant with its offset, in the future and at most five years ahead; without it,
    /// somebody has to end it.
    #[schema(example = "2026-03-01T18:00:00Z", format = DateTime)]
    until: Option<String>,
}

/// A host in maintenance: no reservation is dispatched to it, polls go on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HostMaintenance)]
pub(crate) struct Record {
    /// The host's name, as the catalog has it.
    #[schema(example = "lab-ws-01")]
    host: String,
    /// Why.
    #[schema(example = "robot arm is being replaced")]
    reason: String,
    /// Who has the host.
    #[schema(example = "ana.ruiz")]
    owner: String,
    /// Since when.
    #[schema(example = "2026-03-01T08:12:30.250Z", format = DateTime)]
    since: String,
    /// When it ends by itself; null when somebody has to end it.
    #[schema(example = "2026-03-01T18:00:00.000Z", format = DateTime)]
    until: Option<String>,
}

/// What came of ending a maintenance.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MaintenanceEnded)]
pub(crate) struct Ended {
    /// The host's name.
    #[schema(example = "lab-ws-01")]
    host: String,
    /// Whether it was in maintenance until now.
    ended: bool,
}

/// Takes a host into maintenance, or changes what is said of one that is in maintenance.
///
/// From now on no reservation is dispatched to it: no wake, no prepare, no idle power order. A step that is under way is
/// let to its end. A reservation that was started before is released at its end, without a reboot. What waits says so,
/// and goes on by itself when the maintenance is over, as long as its own time lasts; with pooling it goes to another
/// host. Polls and callers' own orders go on.
#[utoipa::path(
    post,
    path = "/api/hosts/{name}/maintenance", operation_id = "begin_maintenance",
    tag = "hosts",
    params(("name" = String, Path, description = "The host's name", example = "lab-ws-01",
        max_length = 128, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$")),
    request_body = inline(Request),
    responses(
        (status = 200, description = "As it stands now", body = Record),
        (status = 404, description = "`unknown_host`: the host is not in the catalog"),
    )
)]
pub(crate) async fn begin(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Record>, ApiError> {
    let host = app.find_host(&name, not_in_config)?.name;
    let site = app.site()?;
    let now = site.clock.now();
    let Some(reason) = line(&body, "reason", MAX_REASON)? else {
        return Err(ApiError::required("reason is required").with("field", "reason"));
    };
    let owner = line(&body, "owner", MAX_OWNER)?;
    let new = NewMaintenance {
        reason,
        owner: owner.unwrap_or_else(|| caller.name.chars().take(MAX_OWNER).collect()),
        until: body.parsed("until", |text| ahead(text, now))?,
    };
    let stored = site.reservations.put_maintenance(&host, &new, now).await?;
    tracing::info!(host.name = %host, reason = new.reason, owner = new.owner, "in maintenance");
    Ok(Json(Record::of(&host, stored)))
}

/// Takes a host out of maintenance: what waited for it goes on within seconds.
#[utoipa::path(
    delete,
    path = "/api/hosts/{name}/maintenance", operation_id = "end_maintenance",
    tag = "hosts",
    params(("name" = String, Path, description = "The host's name", example = "lab-ws-01",
        max_length = 128, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$")),
    responses(
        (status = 200, description = "It is not in maintenance now", body = Ended),
        (status = 404, description = "`unknown_host`: the host is not in the catalog, and was not in maintenance"),
    )
)]
pub(crate) async fn end(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Ended>, ApiError> {
    let site = app.site()?;
    let known = app.find_host(&name, not_in_config);
    // One that was taken out of the catalog meanwhile may still be in maintenance.
    let host = match (&known, HostName::parse(&name)) {
        (Ok(host), _) => host.name.clone(),
        (Err(_), Ok(host)) => host,
        (Err(_), Err(problem)) => return Err(ApiError::field("name", problem)),
    };
    let ended = site.reservations.end_maintenance(&host, site.clock.now()).await?;
    if !ended {
        known?;
    }
    tracing::info!(host.name = %host, ended, "out of maintenance");
    Ok(Json(Ended {
        host: host.as_str().to_owned(),
        ended,
    }))
}

/// Who works at a host, as the answer to a caller's order names it. The order is carried out nevertheless, for whoever
/// gives it may be the one; also when this cannot be found out.
pub(super) async fn told(site: &Site, host: &HostName) -> Option<Value> {
    match site.database.spare(site.engine.maintenance(host)).await {
        Ok(Ok(maintenance)) => maintenance.as_ref().map(shown),
        Ok(Err(error)) => {
            tracing::debug!(host.name = %host, %error, "whether it is in maintenance could not be read");
            None
        }
        Err(_) => None,
    }
}

/// A maintenance within an answer.
pub(super) fn shown(maintenance: &Maintenance) -> Value {
    json!(MaintenanceView::of(maintenance))
}

impl Record {
    fn of(host: &HostName, one: Maintenance) -> Self {
        Self {
            host: host.as_str().to_owned(),
            reason: one.reason,
            owner: one.owner,
            since: instant(one.since),
            until: one.until.map(instant),
        }
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// One line of text: it is shown inside of other lines.
fn line(body: &Body, field: &str, limit: usize) -> Result<Option<String>, ApiError> {
    body.parsed(field, |text| {
        let chars = text.chars().count();
        if chars > limit {
            return Err(format!("is {chars} characters long, at most {limit} are taken"));
        }
        if text.chars().any(char::is_control) {
            return Err("must be one line without control characters".to_owned());
        }
        Ok(text.to_owned())
    })
}

fn ahead(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let shown: String = text.chars().take(60).collect();
    let at = DateTime::parse_from_rfc3339(text)
        .map_err(|_| format!("must be an instant such as 2026-03-01T18:00:00Z, is {shown:?}"))?
        .to_utc();
    if at <= now {
        return Err(format!("must be in the future, is {}", instant(at)));
    }
    match now.checked_add_months(MAX_AHEAD) {
        Some(last) if at > last => Err(format!(
            "must be within five years, is {shown:?}; leave it out for longer"
        )),
        _ => Ok(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_an_instant_with_its_offset_in_the_future() {
        let now = "2026-03-01T09:00:00Z".parse().unwrap();
        let taken = ahead("2026-03-01T18:00:00+02:00", now).unwrap();
        assert_eq!(instant(taken), "2026-03-01T16:00:00.000Z");
        for (text, problem) in [
            ("2026-03-01T09:00:00Z", "must be in the future"),
            ("2026-03-01T18:00:00", "must be an instant"),
            ("tomorrow", "must be an instant"),
            ("2031-03-01T09:00:01Z", "must be within five years"),
            ("9999-12-31T23:59:59Z", "must be within five years"),
        ] {
            let refused = ahead(text, now).unwrap_err();
            assert!(refused.starts_with(problem), "{text}: {refused}");
        }
    }
}
