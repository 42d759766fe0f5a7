//! What a caller is told when somebody else works on the host.

use axum::http::StatusCode;
use reservation_engine::ManualError;

use crate::error::ApiError;

/// 409 with the holder and the time after which trying again makes sense, or the store's own trouble.
pub(crate) fn answer(error: ManualError) -> ApiError {
    match error {
        ManualError::HostBusy { host, holder, left } => {
            let text = format!("host '{host}' is busy: {holder} works on it");
            ApiError::new(StatusCode::CONFLICT, "host_busy", text)
                .with("host", host.as_str())
                .with("holder", holder)
                .retry_after(left.as_secs().clamp(1, 60))
        }
        ManualError::Store(error) => error.into(),
        ManualError::Stopping => ApiError::stopping(),
        ManualError::Illegal(error) => {
            tracing::error!(%error, "an operation was moved in a way that cannot be");
            ApiError::internal()
        }
    }
}
