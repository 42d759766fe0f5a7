//! How the explanations look, for the description of the API: the engine, which makes them, knows no HTTP.

#![expect(
    dead_code,
    reason = "these describe what the engine's own types are written as"
)]

use utoipa::ToSchema;

use crate::fleet::ClaimView;

/// One reservation, explained.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ReservationExplained {
    /// When this was true.
    #[schema(example = "2026-03-01T08:57:40.120Z")]
    at: String,
    /// Which reservation.
    #[schema(example = "0x5f3c")]
    reservation_id: String,
    /// Its lab.
    #[schema(example = "7")]
    lab_id: String,
    /// `PENDING`, `CONFIRMED`, `ACTIVE`, `COMPLETED` or `CANCELLED`.
    #[schema(example = "CONFIRMED")]
    status: String,
    /// When the student may begin.
    #[schema(example = "2026-03-01T09:00:00Z")]
    starts_at: String,
    /// When the student has to stop.
    #[schema(example = "2026-03-01T10:00:00Z")]
    ends_at: String,
    /// The host that serves it; null when none does.
    #[schema(example = "lab-ws-01")]
    host: Option<String>,
    /// All of this in one line.
    #[schema(example = "waits for its next try at 08:59:10: the port stays closed")]
    summary: String,
    /// What happens next; null when nothing will.
    next: Option<NextExplained>,
    /// What that waits for; null when it waits for nothing.
    wait: Option<WaitExplained>,
    /// Why the last try failed; null once something succeeded.
    last_failure: Option<FailureExplained>,
    /// What was begun for it, the start before the end.
    operations: Vec<OperationExplained>,
    /// Who acts on the host at this moment.
    claim: Option<ClaimView>,
    /// How early its host is woken, and why; null without a host.
    lead: Option<LeadExplained>,
}

/// One host, explained.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct HostExplained {
    /// When this was true.
    #[schema(example = "2026-03-01T08:57:40.120Z")]
    at: String,
    /// Which host.
    #[schema(example = "lab-ws-01")]
    host: String,
    /// `here`, or `removed` when it is no longer in the catalog.
    #[schema(example = "here")]
    presence: String,
    /// All of this in one line.
    #[schema(example = "is woken at 08:58:00 for 0x5f3c")]
    summary: String,
    /// What happens next on it; null when nothing will.
    next: Option<NextExplained>,
    /// For which reservation.
    #[schema(example = "0x5f3c")]
    next_for: Option<String>,
    /// Who acts on it at this moment.
    claim: Option<ClaimView>,
    /// How early it is woken, and why.
    lead: LeadExplained,
    /// Its reservations that may need something, in the order in which they are served.
    reservations: Vec<ReservationExplained>,
}

/// What happens next.
#[derive(ToSchema)]
pub(crate) struct NextExplained {
    /// `wake`, `prepare`, `activate`, `release`, `complete`, `power`, `check`, `find_host`, `hand_over`, `postpone` or
    /// `close`.
    #[schema(example = "wake")]
    what: String,
    /// When, at the earliest; in the past when it is due and not begun yet.
    #[schema(example = "2026-03-01T08:59:10Z")]
    at: Option<String>,
}

/// What is waited for.
#[derive(ToSchema)]
pub(crate) struct WaitExplained {
    /// A stable word.
    #[schema(example = "retry")]
    code: String,
    /// One sentence for people.
    #[schema(example = "waits for its next try")]
    detail: String,
    /// When it is looked at again; null when something else has to happen first.
    #[schema(example = "2026-03-01T08:59:10Z")]
    until: Option<String>,
}

/// Why the last try failed.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct FailureExplained {
    /// A stable word.
    #[schema(example = "wake_no_answer")]
    code: String,
    /// One sentence for people.
    #[schema(example = "the port stays closed")]
    detail: String,
    /// Which rung of the wake ladder failed, if it was one.
    #[schema(example = "tcp_port")]
    rung: Option<String>,
    /// Which step; null when none was tried.
    #[schema(example = "wake")]
    step: Option<String>,
    /// How many tries failed so far, also once it was given up; 0 when that is not kept.
    #[schema(example = 2)]
    attempt: u32,
    /// When.
    #[schema(example = "2026-03-01T08:58:10Z")]
    at: Option<String>,
    /// Whether no further try will be made: a person has to look.
    gave_up: bool,
}

/// One operation.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct OperationExplained {
    /// Row id in the journal.
    #[schema(example = 4711)]
    id: i64,
    /// `start` or `end`.
    #[schema(example = "start")]
    kind: String,
    /// On which host.
    #[schema(example = "lab-ws-01")]
    host: String,
    /// `pending`, `running`, `checking`, `waiting`, `done` or `needs_attention`.
    #[schema(example = "waiting")]
    state: String,
    /// Where it stands.
    #[schema(example = "wake")]
    step: Option<String>,
    /// Which try.
    #[schema(example = 2)]
    attempt: u32,
    /// When the work became due.
    #[schema(example = "2026-03-01T08:58:00Z")]
    due_at: String,
    /// When a prepare was first about to be sent.
    #[schema(example = "2026-03-01T08:59:30Z")]
    prepare_began_at: Option<String>,
    /// Why it waits, failed, or needed less.
    reason: Option<ReasonExplained>,
}

/// A reason.
#[derive(ToSchema)]
pub(crate) struct ReasonExplained {
    /// A stable word.
    #[schema(example = "wake_no_answer")]
    code: String,
    /// Which rung of the wake ladder failed; left out when it was none.
    #[schema(example = "tcp_port")]
    rung: Option<String>,
    /// One sentence for people.
    #[schema(example = "the port stays closed")]
    detail: String,
}

/// How early a host is woken, and why.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct LeadExplained {
    /// What counts, in seconds.
    #[schema(example = 150.0)]
    effective_secs: f64,
    /// The configured lead, below which it never goes.
    #[schema(example = 120.0)]
    floor_secs: f64,
    /// How long 95 of 100 cold wakes took at most; null with too few.
    #[schema(example = 81.5)]
    wake_p95_secs: Option<f64>,
    /// How long 95 of 100 prepares took at most; null with too few.
    #[schema(example = 22.0)]
    prepare_p95_secs: Option<f64>,
    /// How many cold wakes are known.
    #[schema(example = 24)]
    cold_wakes: usize,
    /// How many prepares are known.
    #[schema(example = 40)]
    prepares: usize,
    /// Whether the history asks for more than the configured maximum.
    capped: bool,
}
