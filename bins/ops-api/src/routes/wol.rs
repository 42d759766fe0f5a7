//! `POST /api/wol`: magic packets until something answers at the host's address. It says "reachable", not "ready".

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use call_journal::CallKind;
use lab_model::Host;
use ops_runtime::Site;
use serde_json::{Value, json};
use station_control::WakeRequest;

use super::heartbeat::duration_ms;
use super::maintenance;
use super::requests::{AskingHeaders, AskingQuery, WolAnswer, WolRequest};
use crate::app::{App, host_name};
use crate::body::Body;
use crate::calls::{Accepted, Asking, Failure, Order};
use crate::error::{ApiError, ErrorBody};
use crate::{busy, station_error};

/// Wakes a host
///
/// Magic packets until something answers at the host's address; not reachable is `success: false` with 200. With
/// `Prefer: respond-async` the answer is 202 at once.
#[utoipa::path(
    post, path = "/api/wol", operation_id = "wake_host", tag = "hosts",
    params(AskingHeaders, AskingQuery), request_body = WolRequest,
    responses(
        (status = 200, description = "The packets were sent", body = WolAnswer),
        (status = 202, description = "Taken; look at `location` for what comes of it", body = Accepted),
        (status = 409, description = "Somebody else works on the host, or the call of this key was interrupted", body = ErrorBody),
        (status = 422, description = "The key was used for another request", body = ErrorBody),
    )
)]
pub(crate) async fn wake(State(app): State<App>, asking: Asking, body: Body) -> Result<Response, ApiError> {
    let host = match host_name(&body, "host")? {
        Some(sent) => app.handle.catalog().current().find(sent).cloned(),
        None => None,
    };
    let request = request(&body, host.as_ref())?;
    let site = app.site()?;
    let wait = app.settings().host_wait;
    let call = Order {
        kind: CallKind::Wol,
        host: host.as_ref().map(|host| host.name.clone()),
        reservation: None,
        lab: None,
        request: body.canonical(CallKind::Wol.as_str()),
        work: Box::new(move |_| Box::pin(async move { carry_out(&site, host, request, wait).await })),
    };
    app.calls.run(&app.handle, asking, call).await
}

async fn carry_out(
    site: &Site,
    host: Option<Host>,
    request: WakeRequest,
    wait: Duration,
) -> Result<(StatusCode, Value), Failure> {
    let ping_target = request.ping_target.clone();
    let waking = site.station.wake_address(request);
    let (woken, maintenance) = match host {
        None => (waking.await, None),
        Some(host) => {
            busy::check(site).map_err(Failure::not_begun)?;
            let claimed = site.engine.with_host_claim(&host.name, wait, waking);
            let (woken, maintenance) = tokio::join!(claimed, maintenance::told(site, &host.name));
            (woken.map_err(busy::failure)?, maintenance)
        }
    };
    let woken = woken.map_err(|error| station_error::no_packet(&error))?;
    let mut answer = json!({
        "success": woken.success,
        "attempts_used": woken.attempts_used,
        "duration_ms": duration_ms(woken.duration),
        "ping_target": ping_target,
    });
    if let Some(maintenance) = maintenance {
        answer["maintenance"] = maintenance;
    }
    Ok((StatusCode::OK, answer))
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
