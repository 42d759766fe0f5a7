//! `POST /api/wol`: magic packets until something answers at the host's address. It says "reachable", not "ready".

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use lab_model::Host;
use serde_json::{Value, json};
use station_control::WakeRequest;

use super::heartbeat::duration_ms;
use crate::app::{App, host_name};
use crate::body::Body;
use crate::error::ApiError;
use crate::{busy, station_error};

/// Answers `{success, attempts_used, duration_ms, ping_target}`; not reachable is `success: false` with 200.
pub(crate) async fn wake(State(app): State<App>, bytes: Bytes) -> Result<Json<Value>, ApiError> {
    let body = Body::parse(&bytes)?;
    let host = match host_name(&body, "host")? {
        Some(sent) => app.handle.catalog().current().find(sent).cloned(),
        None => None,
    };
    let request = request(&body, host.as_ref())?;
    let ping_target = request.ping_target.clone();
    let site = app.site()?;
    let wait = app.settings().host_wait;
    // In a task of its own, so that a caller who hangs up does not stop it halfway.
    let work = tokio::spawn(async move {
        let waking = site.station.wake_address(request);
        match host {
            None => Ok(waking.await),
            Some(host) => site.engine.with_host_claim(&host.name, wait, waking).await,
        }
    });
    let woken = work
        .await
        .map_err(|_| ApiError::stopping())?
        .map_err(busy::answer)?;
    let woken = woken.map_err(|error| station_error::no_packet(&error))?;
    Ok(Json(json!({
        "success": woken.success,
        "attempts_used": woken.attempts_used,
        "duration_ms": duration_ms(woken.duration),
        "ping_target": ping_target,
    })))
}

/// The packet's numbers are bounded: the older worker slept for years when asked to.
fn request(body: &Body, host: Option<&Host>) -> Result<WakeRequest, ApiError> {
    let mac = body
        .parsed("mac", str::parse::<wol::MacAddr>)?
        .or(host.and_then(|host| host.wake.mac));
    let Some(mac) = mac else {
        return Err(ApiError::required("mac is required"));
    };
    let broadcast = body.parsed("broadcast", |text| {
        text.parse::<Ipv4Addr>()
            .map_err(|_| format!("is {text:?}, which is no IPv4 address"))
    })?;
    let port = body
        .whole("port", 1..=65_535)?
        .and_then(|port| u16::try_from(port).ok());
    let timeout = body.number("ping_timeout", 0.0..=120.0)?.unwrap_or(10.0);
    let attempts = body.whole("attempts", 1..=20)?;
    let ping_target = match body.parsed("ping_target", check_target)? {
        Some(target) => Some(target),
        None => host.map(|host| host.ping_target.clone()),
    };
    let mut request = WakeRequest::new(mac);
    request.broadcast = broadcast.unwrap_or(request.broadcast);
    request.port = port.unwrap_or(request.port);
    request.attempts = attempts.unwrap_or(request.attempts);
    request.ping_target = ping_target;
    request.ping_timeout = Duration::from_secs_f64(timeout);
    if let Some(host) = host {
        request.probe_ports = vec![host.winrm.port];
    }
    Ok(request)
}

/// An address or a name of DNS characters; the older worker handed any text to a program.
pub(super) fn check_target(text: &str) -> Result<String, String> {
    let named = text.len() <= 253
        && !text.starts_with('-')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    if named || text.parse::<std::net::IpAddr>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "is {text:?}, which is neither an IP address nor a host name"
        ))
    }
}
