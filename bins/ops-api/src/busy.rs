//! What a caller is told when somebody else works on the host.

use axum::http::StatusCode;
use ops_runtime::Site;
use reservation_engine::ManualError;

use crate::calls::Failure;
use crate::error::ApiError;

/// 503 at once while the database is away: work under a claim cannot begin then, and its caller need not wait to hear so.
pub(crate) fn check(site: &Site) -> Result<(), ApiError> {
    if site.database.is_away() {
        return Err(ApiError::database_unavailable());
    }
    Ok(())
}

/// What a caller is told, with what is known of the effect: a host that is busy was left alone, and what a stop cut off is
/// uncertain.
pub(crate) fn failure(error: ManualError) -> Failure {
    match &error {
        ManualError::HostBusy { .. } => Failure::not_begun(answer(error)),
        ManualError::Stopping => Failure::interrupted(answer(error)),
        ManualError::Store(_) | ManualError::Illegal(_) => Failure::tried(answer(error)),
    }
}

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
