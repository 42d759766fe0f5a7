//! A reservation as the gateway stored it. It belongs to another service: we read it and move its status.

use chrono::{DateTime, Utc};
use lab_model::{LabId, ReservationId};
use serde::{Deserialize, Serialize};

/// The words of `lab_reservations.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ReservationStatus {
    /// Not agreed yet: ignored, unless its host was prepared before it was taken back. That is released at once.
    Pending,
    /// Agreed: the host is prepared from the start minus the lead.
    Confirmed,
    /// The host was handed over.
    Active,
    /// The host was released.
    Completed,
    /// Called off: a host that was prepared for it is released at once.
    Cancelled,
}

impl ReservationStatus {
    /// The word as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Confirmed => "CONFIRMED",
            Self::Active => "ACTIVE",
            Self::Completed => "COMPLETED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Reads the stored word; `None` for one this release does not know.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Pending,
            Self::Confirmed,
            Self::Active,
            Self::Completed,
            Self::Cancelled,
        ]
        .into_iter()
        .find(|status| status.as_str().eq_ignore_ascii_case(word.trim()))
    }
}

/// Somebody's right to a lab from `starts_at` to `ends_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// `transaction_hash`.
    pub id: ReservationId,
    /// The lab; a host is found for it in the catalog.
    pub lab: LabId,
    /// As last read.
    pub status: ReservationStatus,
    /// When the student may begin.
    pub starts_at: DateTime<Utc>,
    /// When the student has to stop.
    pub ends_at: DateTime<Utc>,
}
