//! `POST` and `GET /api/hosts/winrm-credentials`, `DELETE /api/hosts/winrm-credentials/{ref}`: stored credentials, which
//! are written, used and removed, and never given out.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use chrono::{DateTime, SecondsFormat, Utc};
use credential_store::{Credential, CredentialError, StoredCredential, Written};
use lab_model::{Catalog, CredentialRef};
use ops_runtime::{Chain, hosts_of};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::audit::limit;
use crate::app::App;
use crate::auth::Caller;
use crate::body::{Body, type_of};
use crate::error::{ApiError, ErrorBody};

/// A credential to be stored.
#[derive(ToSchema)]
#[schema(as = WinrmCredentialRequest, rename_all = "camelCase")]
#[expect(dead_code, reason = "it describes the body, whose fields are read one by one")]
pub(crate) struct Request {
    /// The name by which hosts refer to it (`winrm_credential_ref` in `hosts.json`); case does not count.
    #[schema(
        example = "station-01",
        min_length = 1,
        max_length = 64,
        pattern = "^[A-Za-z0-9._-]+$"
    )]
    credential_ref: String,
    /// The account: `DOMAIN\user`, `user@realm` or `user`.
    #[schema(
        example = "LAB-WS-01\\LabGatewaySvc",
        max_length = 512,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    user: String,
    /// Its password, kept exactly as it is.
    #[schema(example = "correct horse battery staple", min_length = 1, max_length = 1024, format = Password, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    password: String,
    /// Whether one of that name may be replaced.
    #[schema(default = false)]
    overwrite: Option<bool>,
}

/// What became of a credential that was sent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WinrmCredentialStored)]
pub(crate) struct Stored {
    /// Its name, in lower case.
    #[schema(example = "station-01")]
    credential_ref: String,
    /// The id of the key that seals it.
    #[schema(example = "84e0c0ea")]
    key_id: String,
    /// Whether the name was new; false when another was replaced.
    created: bool,
    /// The hosts that name it, which use it from their next command on.
    #[schema(example = json!(["lab-ws-01"]))]
    hosts: Vec<String>,
}

/// What is shown of a stored credential: neither account nor password.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WinrmCredential)]
pub(crate) struct Shown {
    /// Its name.
    #[schema(example = "station-01")]
    credential_ref: String,
    /// The id of the key that seals it.
    #[schema(example = "84e0c0ea")]
    key_id: String,
    /// Whether this process has that key; false: the credential is of no use here.
    key_known: bool,
    /// When it was first written.
    #[schema(example = "2026-01-07T09:30:00.000Z", format = DateTime)]
    created_at: String,
    /// When it was last written.
    #[schema(example = "2026-03-01T08:12:30.250Z", format = DateTime)]
    updated_at: String,
    /// Time since then, in milliseconds.
    #[schema(example = 86_400_000)]
    age_ms: u64,
    /// Who wrote it last.
    #[schema(example = "gateway")]
    updated_by: String,
    /// The hosts that name it.
    #[schema(example = json!(["lab-ws-01"]))]
    hosts: Vec<String>,
}

/// Some of the stored credentials, by name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WinrmCredentialList)]
pub(crate) struct List {
    /// At most as many as were asked for.
    credentials: Vec<Shown>,
    /// How many there are in all.
    #[schema(example = 3)]
    total: u64,
    /// What `after` has to be for the next page; null on the last.
    #[schema(example = "station-99")]
    next: Option<String>,
    /// Whether this process has a key at all.
    key_configured: bool,
    /// When this was said.
    #[schema(example = "2026-03-01T08:12:30.250Z", format = DateTime)]
    generated_at: String,
}

/// What came of removing a credential.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WinrmCredentialRemoved)]
pub(crate) struct Removed {
    /// Its name.
    #[schema(example = "station-01")]
    credential_ref: String,
    /// The hosts that still name it, and cannot be reached now.
    #[schema(example = json!(["lab-ws-01"]))]
    hosts: Vec<String>,
}

/// Which of the stored credentials.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "describes the query, whose values are read one by one so that refusals name them"
)]
pub(crate) struct ListQuery {
    /// Those behind this name, which is the `next` of the page before.
    #[param(example = "station-01", max_length = 64, pattern = "^[A-Za-z0-9._-]*$")]
    after: Option<String>,
    /// Credentials of a page.
    #[param(example = 100, minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
}

/// Stores a credential
///
/// Encrypted with the first key of `OPS_SECRETS_KEY`. Nothing gives it out again. Hosts that name it use it from their
/// next command on, over a new connection.
#[utoipa::path(
    post,
    path = "/api/hosts/winrm-credentials", operation_id = "store_credential",
    tag = "hosts",
    request_body = inline(Request),
    responses(
        (status = 201, description = "Stored under a new name", body = Stored),
        (status = 200, description = "Stored in the place of another, as `overwrite` allows", body = Stored),
        (status = 409, description = "`credential_exists`: the name is taken", body = ErrorBody),
        (status = 503, description = "`secrets_key_missing`: there is no key to encrypt with", body = ErrorBody),
    )
)]
pub(crate) async fn put(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<(StatusCode, Json<Stored>), ApiError> {
    let required = |field: &str| ApiError::required(&format!("{field} is required")).with("field", field);
    let name = body.parsed("credentialRef", CredentialRef::parse)?;
    let name = name.ok_or_else(|| required("credentialRef"))?;
    let user = body.text("user")?.ok_or_else(|| required("user"))?;
    let password = match body.value("password") {
        Some(Value::String(text)) if !text.is_empty() => SecretString::from(text.as_str()),
        None | Some(Value::String(_)) => return Err(required("password")),
        Some(other) => {
            let problem = format!("must be text, is {}", type_of(other));
            return Err(ApiError::field("password", problem));
        }
    };
    let credential = Credential::new(user, password);
    let credential = credential.map_err(|wrong| ApiError::field(wrong.part, wrong.problem))?;
    // Never by a slip: no word and no number counts as true here.
    let overwrite = match body.value("overwrite") {
        None => false,
        Some(Value::Bool(overwrite)) => *overwrite,
        Some(other) => {
            let problem = format!("must be true or false, is {}", type_of(other));
            return Err(ApiError::field("overwrite", problem));
        }
    };
    let site = app.site()?;
    let key_id = site.credentials.store().ring()?.first_id().to_owned();
    let written = site
        .credentials
        .put(&name, &credential, &caller.name, overwrite)
        .await?;
    let created = written == Written::Created;
    tracing::info!(credential = %name, caller = %caller.name, created, "a credential was stored");
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let stored = Stored {
        hosts: hosts(&site.catalog.current(), &name),
        credential_ref: name.to_string(),
        key_id,
        created,
    };
    Ok((status, Json(stored)))
}

/// Lists the stored credentials
///
/// Their names, keys, ages and hosts. Accounts and passwords are never shown.
#[utoipa::path(
    get,
    path = "/api/hosts/winrm-credentials", operation_id = "list_credentials",
    tag = "hosts",
    params(ListQuery),
    responses((status = 200, description = "Some of them, by name", body = List))
)]
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<List>, ApiError> {
    let limit = limit(&query)?;
    let after = query
        .get("after")
        .map(|text| text.trim())
        .filter(|text| !text.is_empty());
    let after = after.map(CredentialRef::parse).transpose();
    let after = after.map_err(|problem| ApiError::field("after", problem))?;
    let site = app.site()?;
    let store = site.credentials.store();
    let rows = store.list(after.as_ref(), limit).await?;
    let is_full = u32::try_from(rows.len()).is_ok_and(|rows| rows == limit);
    let catalog = site.catalog.current();
    Ok(Json(List {
        next: rows
            .last()
            .filter(|_| is_full)
            .map(|row| row.reference.to_string()),
        credentials: rows
            .into_iter()
            .map(|row| show(&app, row, &catalog))
            .collect::<Result<_, _>>()?,
        total: store.count().await?,
        key_configured: site.credentials.has_key(),
        generated_at: stamp(site.clock.now()),
    }))
}

/// Removes a stored credential
///
/// Hosts that name it cannot be reached then, until it is stored again.
#[utoipa::path(
    delete,
    path = "/api/hosts/winrm-credentials/{ref}", operation_id = "remove_credential",
    tag = "hosts",
    params(("ref" = String, Path, description = "The credential's name", example = "station-01",
        max_length = 64, pattern = "^[A-Za-z0-9._-]+$")),
    responses(
        (status = 200, description = "It is gone", body = Removed),
        (status = 404, description = "`unknown_credential`: there was none", body = ErrorBody),
    )
)]
pub(crate) async fn remove(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Removed>, ApiError> {
    let name = CredentialRef::parse(&name).map_err(|problem| ApiError::field("ref", problem))?;
    let site = app.site()?;
    if !site.credentials.remove(&name).await? {
        let text = format!("no credential is stored as {:?}", name.as_str());
        return Err(ApiError::new(StatusCode::NOT_FOUND, "unknown_credential", text));
    }
    tracing::info!(credential = %name, caller = %caller.name, "a credential was removed");
    Ok(Json(Removed {
        hosts: hosts(&site.catalog.current(), &name),
        credential_ref: name.to_string(),
    }))
}

fn hosts(catalog: &Catalog, name: &CredentialRef) -> Vec<String> {
    hosts_of(catalog, name).into_iter().collect()
}

fn show(app: &App, row: StoredCredential, catalog: &Catalog) -> Result<Shown, ApiError> {
    let site = app.site()?;
    let ring = site.credentials.store().ring();
    Ok(Shown {
        hosts: hosts(catalog, &row.reference),
        key_known: ring.is_ok_and(|ring| ring.has(&row.key_id)),
        credential_ref: row.reference.to_string(),
        key_id: row.key_id,
        created_at: stamp(row.created_at),
        updated_at: stamp(row.updated_at),
        age_ms: u64::try_from(row.age.as_millis()).unwrap_or(u64::MAX),
        updated_by: row.updated_by,
    })
}

fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl From<CredentialError> for ApiError {
    fn from(error: CredentialError) -> Self {
        match &error {
            CredentialError::NoKey => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "secrets_key_missing",
                "no key for stored credentials is configured",
            ),
            CredentialError::Exists { reference } => {
                let text = format!("a credential {:?} is stored already", reference.as_str());
                Self::new(StatusCode::CONFLICT, "credential_exists", text).with("field", "credentialRef")
            }
            CredentialError::Unavailable(_) => Self::database_unavailable(),
            CredentialError::Unreadable { .. }
            | CredentialError::NoRandomness
            | CredentialError::Refused { .. } => {
                tracing::error!(error = %Chain(&error), "a credential was not stored or read");
                Self::internal()
            }
        }
    }
}
