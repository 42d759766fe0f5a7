//! Rows of `reservation_operations`, so that the timeline of a reservation says who was told.

use reservation_engine::HistoryRow;
use serde_json::json;

use crate::delivery::Receipt;
use crate::notice::Notice;
use crate::outbox::Taken;

/// The row `alert`; there is none without a reservation.
pub(crate) fn of_alert(notice: &Notice) -> Option<HistoryRow> {
    Some(HistoryRow {
        reservation: notice.reservation.clone()?,
        lab: notice.lab.clone(),
        host: notice.host.as_ref().map_or_else(String::new, ToString::to_string),
        action: "alert".to_owned(),
        status: "completed",
        success: true,
        response_code: None,
        duration_ms: None,
        payload: Some(json!({"noticeId": notice.id, "details": notice.details})),
        message: Some(notice.sentence.clone()),
        at: notice.at,
    })
}

/// The row `notification` of a delivery that has ended, well or not; there is none without a reservation.
pub(crate) fn of_delivery(
    taken: &Taken,
    receipt: &Receipt,
    shown: &str,
    at: chrono::DateTime<chrono::Utc>,
) -> Option<HistoryRow> {
    let success = matches!(receipt, Receipt::Delivered { .. });
    let message = match receipt {
        Receipt::Delivered { .. } => "Delivered".to_owned(),
        Receipt::Gone { .. } => "The receiver wants no more notices".to_owned(),
        Receipt::Later { error, .. } => format!("Given up: {error}"),
    };
    Some(HistoryRow {
        reservation: taken.reservation.clone()?,
        lab: taken.lab.clone(),
        host: taken.host.clone().unwrap_or_default(),
        action: "notification".to_owned(),
        status: if success { "completed" } else { "failed" },
        success,
        response_code: receipt.status().map(i32::from),
        duration_ms: None,
        payload: Some(json!({
            "noticeId": taken.notice_id, "kind": taken.kind, "webhook": shown, "tries": taken.tries,
        })),
        message: Some(message),
        at,
    })
}
