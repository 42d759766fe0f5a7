//! `POST /api/winrm`: runs one allowed station command and shows what it said.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::heartbeat::duration_ms;
use crate::app::{App, host_name, not_in_config};
use crate::body::Body;
use crate::error::ApiError;
use crate::{busy, station_error};

/// Commands that only look: they need no claim on the host, so they work while a reservation is being prepared.
const READ_ONLY: [&str; 2] = ["status-json", "status"];

/// Answers `{exit_code, stdout, stderr, duration_ms, parsed}`, whatever the exit code.
pub(crate) async fn run(State(app): State<App>, bytes: Bytes) -> Result<Json<Value>, ApiError> {
    let body = Body::parse(&bytes)?;
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
    let (name, word) = (host.name.clone(), command.to_owned());
    let wait = app.settings().host_wait;
    // In a task of its own, so that a caller who hangs up does not stop the command halfway.
    let work = tokio::spawn(async move {
        let running = site.station.run(&name, &word, &args, None);
        if READ_ONLY.contains(&word.as_str()) {
            Ok(running.await)
        } else {
            site.engine.with_host_claim(&name, wait, running).await
        }
    });
    let ran = work
        .await
        .map_err(|_| ApiError::stopping())?
        .map_err(busy::answer)?;
    let report = ran.map_err(|error| station_error::answer(&host.name, &error))?;
    let text = report.stdout.strip_prefix('\u{feff}').unwrap_or(&report.stdout);
    let parsed: Option<Value> = serde_json::from_str(text)
        .ok()
        .filter(|value: &Value| value.is_object() || value.is_array());
    Ok(Json(json!({
        "exit_code": report.exit_code,
        "stdout": report.stdout,
        "stderr": report.stderr,
        "duration_ms": duration_ms(report.duration),
        "parsed": parsed,
    })))
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
