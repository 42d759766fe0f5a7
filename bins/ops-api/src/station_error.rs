//! How the trouble of a host is told to a caller: 502 or 504 with a stable code, never a library's own text.

use axum::http::StatusCode;
use lab_model::HostName;
use station_control::{Effect, Refusal, StationError, WakeError};

use crate::error::ApiError;

/// 400 when the request's own words could not be sent, 504 when the host did not answer in time, 502 for the rest.
pub(crate) fn answer(host: &HostName, error: &StationError) -> ApiError {
    let status = match error {
        StationError::UnknownHost { .. } => StatusCode::NOT_FOUND,
        StationError::Refused {
            why: Refusal::Line(_) | Refusal::Command(_),
            ..
        } => StatusCode::BAD_REQUEST,
        StationError::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    tracing::info!(host.name = %host, error = %error.sentence(), "a host did not do what a caller asked");
    let effect = match error.effect() {
        Effect::None => "none",
        Effect::Unknown => "unknown",
    };
    ApiError::new(status, error.code(), error.outline())
        .with("host", host.as_str())
        .with("effect", effect)
}

/// Why no packet left, by the field that named where it should have gone.
pub(crate) fn no_packet(error: &WakeError) -> ApiError {
    let (status, field) = match error {
        WakeError::AddressNotAllowed { target, .. } if target == "the broadcast address" => {
            (StatusCode::BAD_REQUEST, Some("broadcast"))
        }
        WakeError::AddressNotAllowed { .. } | WakeError::Unresolved { .. } => {
            (StatusCode::BAD_REQUEST, Some("ping_target"))
        }
        WakeError::Send(_) => (StatusCode::INTERNAL_SERVER_ERROR, None),
    };
    let text = ops_runtime::Chain(error).to_string();
    tracing::info!(error = text, "no magic packet was sent for a caller");
    let answer = ApiError::new(status, error.code(), text);
    match field {
        Some(field) => answer.with("field", field),
        None => answer,
    }
}
