//! What is told, and the document that a webhook gets.

use chrono::{DateTime, SecondsFormat, Utc};
use lab_model::{HostName, LabId, ReservationId};
use reservation_engine::Reason;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The longest sentence that is told, in characters.
const MAX_SENTENCE: usize = 500;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// A reservation will not be tried again by itself: a person has to look.
    NeedsAttention,
    /// A reservation was over before anything could be done for it.
    Missed,
    /// A wake, prepare, release or power failed; it may be tried again.
    StepFailed,
    /// A host failed so often in so short a time that a person should look.
    RepeatedFailures,
    /// Nothing is heard of a host that somebody needs.
    HostSilent,
    /// A host for which an alert was raised, or of whose silence was told, answers again.
    HostBack,
    /// A scheduler took over a host whose former owner has vanished.
    ClaimTakenOver,
}

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// For the record.
    Info,
    /// Look when there is time.
    Warning,
    /// Somebody's reservation is at stake.
    Critical,
}

impl Severity {
    /// The word in the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl NoticeKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NeedsAttention,
        Self::Missed,
        Self::StepFailed,
        Self::RepeatedFailures,
        Self::HostSilent,
        Self::HostBack,
        Self::ClaimTakenOver,
    ];

    /// The word that is stored and sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeedsAttention => "reservation_needs_attention",
            Self::Missed => "reservation_missed",
            Self::StepFailed => "step_failed",
            Self::RepeatedFailures => "repeated_failures",
            Self::HostSilent => "host_silent",
            Self::HostBack => "host_back",
            Self::ClaimTakenOver => "claim_taken_over",
        }
    }

    /// How urgent it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::NeedsAttention | Self::Missed | Self::RepeatedFailures => Severity::Critical,
            Self::StepFailed | Self::HostSilent | Self::ClaimTakenOver => Severity::Warning,
            Self::HostBack => Severity::Info,
        }
    }
}

/// One thing to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// By which a receiver knows it again.
    pub id: Uuid,
    /// What happened.
    pub kind: NoticeKind,
    /// When, by our clock.
    pub at: DateTime<Utc>,
    /// On which host.
    pub host: Option<HostName>,
    /// For which reservation.
    pub reservation: Option<ReservationId>,
    /// In which lab.
    pub lab: Option<LabId>,
    /// One sentence for a person, without secrets.
    pub sentence: String,
    /// Why, where there is a reason.
    pub reason: Option<Reason>,
    /// What else is known, such as the step and how often it was tried.
    pub details: Map<String, Value>,
}

impl Notice {
    /// A notice of which only this is known. A sentence of more than 500 characters is cut.
    #[must_use]
    pub fn new(kind: NoticeKind, at: DateTime<Utc>, sentence: impl Into<String>) -> Self {
        let sentence: String = sentence.into();
        Self {
            id: Uuid::new_v4(),
            kind,
            at,
            host: None,
            reservation: None,
            lab: None,
            sentence: sentence.chars().take(MAX_SENTENCE).collect(),
            reason: None,
            details: Map::new(),
        }
    }

    /// Names the host.
    #[must_use]
    pub fn on(mut self, host: &HostName) -> Self {
        self.host = Some(host.clone());
        self
    }

    /// Names the reservation.
    #[must_use]
    pub fn of(mut self, reservation: &ReservationId) -> Self {
        self.reservation = Some(reservation.clone());
        self
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, reason: Option<&Reason>) -> Self {
        self.reason = reason.cloned();
        self
    }

    /// Adds something that is known.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// The document that is sent. `source` names the process that saw it.
    pub(crate) fn document(&self, source: &str) -> Value {
        let reason = self.reason.as_ref().map(|reason| {
            let detail: String = reason.detail.chars().take(MAX_SENTENCE).collect();
            json!({"code": reason.code, "rung": reason.rung, "detail": detail})
        });
        json!({
            "id": self.id,
            "kind": self.kind.as_str(),
            "severity": self.kind.severity().as_str(),
            "at": self.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "host": self.host,
            "reservationId": self.reservation,
            "labId": self.lab,
            "text": self.sentence,
            "reason": reason,
            "details": self.details,
            "source": source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_what_happened_and_over_long_sentences_are_cut() {
        let at = "2026-03-01T09:00:00.25Z".parse().unwrap();
        let host = HostName::parse("lab-ws-01").unwrap();
        let reason = Reason::new("wake_no_answer", "x".repeat(900)).at_rung("tcp_port");
        let notice = Notice::new(NoticeKind::StepFailed, at, "y".repeat(900))
            .on(&host)
            .because(Some(&reason))
            .with("step", "wake");
        let document = notice.document("scheduler@gateway");
        assert_eq!(document["kind"], "step_failed");
        assert_eq!(document["severity"], "warning");
        assert_eq!(document["at"], "2026-03-01T09:00:00.250Z");
        assert_eq!(document["host"], "lab-ws-01");
        assert_eq!(document["reservationId"], Value::Null);
        assert_eq!(document["reason"]["rung"], "tcp_port");
        assert_eq!(document["details"]["step"], "wake");
        assert_eq!(document["text"].as_str().unwrap().len(), 500);
        assert_eq!(document["reason"]["detail"].as_str().unwrap().len(), 500);
    }

    #[test]
    fn every_kind_has_a_word_of_its_own_that_fits_its_column() {
        let words: std::collections::BTreeSet<_> = NoticeKind::ALL.map(NoticeKind::as_str).into();
        assert_eq!(words.len(), NoticeKind::ALL.len());
        assert!(words.iter().all(|word| word.len() <= 32));
    }
}
