//! `POST /api/winrm`: runs one allowed station command and shows what it said.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use call_journal::CallKind;
use lab_model::HostName;
use ops_runtime::Site;
use serde_json::{Value, json};

use super::heartbeat::duration_ms;
use super::maintenance;
use super::requests::{AskingHeaders, AskingQuery, WinrmAnswer, WinrmRequest};
use crate::app::{App, host_name, not_in_config};
use crate::body::Body;
use crate::calls::{Accepted, Asking, Failure, Order};
use crate::error::{ApiError, ErrorBody};
use crate::{busy, station_error};

/// Commands that only look: they need no claim on the host, so they work while a reservation is being prepared.
const READ_ONLY: [&str; 2] = ["status-json", "status"];

/// Runs one station command
///
/// Answers whatever the exit code is, with `parsed` where the output is JSON. `persisted` says whether the database
/// took the call. With `Prefer: respond-async` the answer is 202 at once.
#[utoipa::path(
    post, path = "/api/winrm", operation_id = "run_command", tag = "hosts",
    params(AskingHeaders, AskingQuery), request_body = WinrmRequest,
    responses(
        (status = 200, description = "The command ran", body = WinrmAnswer),
        (status = 202, description = "Taken; look at `location` for what comes of it", body = Accepted),
        (status = 404, description = "No such host", body = ErrorBody),
        (status = 409, description = "Somebody else works on the host, or the call of this key was interrupted", body = ErrorBody),
        (status = 422, description = "The key was used for another request", body = ErrorBody),
        (status = 502, description = "The host failed; `effect` says what may have happened", body = ErrorBody),
        (status = 504, description = "The host did not answer in time; `effect` says what may have happened", body = ErrorBody),
    )
)]
pub(crate) async fn run(State(app): State<App>, asking: Asking, body: Body) -> Result<Response, ApiError> {
    let (Some(sent), Some(command)) = (host_name(&body, "host")?, body.text("command")?) else {
        return Err(ApiError::required("host and command are required"));
    };
    if !app.allowed.allows(command) {
        let shown: String = command.chars().take(64).collect();
        let error = format!("command '{shown}' not allowed");
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "command_not_allowed",
            error,
        ));
    }
    let host = app.find_host(sent, not_in_config)?;
    let args = body.arguments("args")?.unwrap_or_default();
    refuse_overrides(&body, &host)?;
    let site = app.site()?;
    let (name, word) = (host.name, command.to_owned());
    let wait = app.settings().host_wait;
    let call = Order {
        kind: CallKind::Winrm,
        host: Some(name.clone()),
        reservation: None,
        lab: None,
        request: body.canonical(CallKind::Winrm.as_str()),
        work: Box::new(move |_| Box::pin(async move { carry_out(&site, &name, &word, &args, wait).await })),
    };
    app.calls.run(&app.handle, asking, call).await
}

async fn carry_out(
    site: &Site,
    host: &HostName,
    word: &str,
    args: &[String],
    wait: Duration,
) -> Result<(StatusCode, Value), Failure> {
    let running = site.station.run(host, word, args, None);
    let told = maintenance::told(site, host);
    let (ran, maintenance) = if READ_ONLY.contains(&word) {
        tokio::join!(running, told)
    } else {
        busy::check(site).map_err(Failure::not_begun)?;
        let (claimed, maintenance) = tokio::join!(site.engine.with_host_claim(host, wait, running), told);
        (claimed.map_err(busy::failure)?, maintenance)
    };
    let report = ran.map_err(|error| station_error::answer(host, &error))?;
    let text = report.stdout.strip_prefix('\u{feff}').unwrap_or(&report.stdout);
    let parsed: Option<Value> = serde_json::from_str(text)
        .ok()
        .filter(|value: &Value| value.is_object() || value.is_array());
    let mut answer = json!({
        "exit_code": report.exit_code,
        "stdout": report.stdout,
        "stderr": report.stderr,
        "duration_ms": duration_ms(report.duration),
        "parsed": parsed,
        "persisted": true,
    });
    if let Some(maintenance) = maintenance {
        answer["maintenance"] = maintenance;
    }
    Ok((StatusCode::OK, answer))
}

/// The older worker let a request choose account, transport and port: an oracle for passwords, and a way to send
/// stored ones elsewhere. What equals the host's entry is accepted, anything else is refused before a packet leaves.
pub(super) fn refuse_overrides(body: &Body, host: &lab_model::Host) -> Result<(), ApiError> {
    let differs = |field: &str| {
        Err(ApiError::field(
            field,
            "differs from the host's entry, which alone decides",
        ))
    };
    if body.value("password").is_some() {
        return differs("password");
    }
    if body.text("user")?.is_some_and(|user| user != host.winrm.user) {
        return differs("user");
    }
    if body
        .whole("port", 1..=65_535)?
        .is_some_and(|port| port != u32::from(host.winrm.port))
    {
        return differs("port");
    }
    if body.value("use_ssl").is_some() && body.switch("use_ssl", false) != host.winrm.use_tls {
        return differs("use_ssl");
    }
    let transport = host.public_view()["winrm_transport"].as_str().map(str::to_owned);
    if body
        .text("transport")?
        .is_some_and(|word| Some(word.to_lowercase()) != transport)
    {
        return differs("transport");
    }
    Ok(())
}
