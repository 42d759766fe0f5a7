//! Decides what each reservation and host needs next, and sees to it: nothing lost, nothing twice, on time,
//! explained.
//!
//! A *reservation* becomes a *start* operation (wake, prepare, activate) and later an *end* operation (release,
//! complete). [`plan_host`] is a pure function of what is stored and the time; an [`Engine`] reads, plans, and runs
//! one *flow* per host under a *claim*: the intent of each step is committed before its effect, the outcome after it,
//! and the host is planned anew before the next one. A flow that died is resumed by any other copy at its step.
//!
//! It knows no HTTP, no SQL and no WinRM: a [`Store`] and a [`Station`] are given to it.
//!
//! ```
//! use chrono::{TimeDelta, TimeZone, Utc};
//! use lab_model::{LabId, ReservationId};
//! use reservation_engine::{
//!     Act, HostFacts, Reservation, ReservationStatus, Settings, Step, WorkItem, plan_host,
//! };
//!
//! let starts_at = Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap();
//! let reservation = Reservation {
//!     id: ReservationId::parse("0xabc")?,
//!     lab: LabId::new("7"),
//!     status: ReservationStatus::Confirmed,
//!     starts_at,
//!     ends_at: starts_at + TimeDelta::hours(1),
//! };
//! let item = WorkItem { reservation, start: None, end: None };
//!
//! // Three minutes before the start it waits; from two minutes before, the host is woken.
//! let settings = Settings::default();
//! let facts = HostFacts::with_lead(settings.lead);
//! let early = plan_host(starts_at - TimeDelta::minutes(3), &settings, &facts, &[item.clone()]);
//! assert_eq!(early.act, None);
//! assert_eq!(early.next_at, Some(starts_at - TimeDelta::minutes(2)));
//! let due = plan_host(starts_at - TimeDelta::minutes(2), &settings, &facts, &[item]);
//! assert!(matches!(due.act.unwrap().act, Act::Run { step: Step::Wake, .. }));
//! # Ok::<(), lab_model::IdError>(())
//! ```
//!
//! Where to find a rule: what is due when in `plan/`, how long to wait in `retry`, what an uncertain step is worth in
//! `check`, what may follow what in `state`, what is written when in `steps` and `look`.

mod explain;
mod operation;
mod ports;
mod reason;
mod report;
mod reservation;
mod settings;
mod state;

mod check;
mod claims;
mod instant;
mod item;
mod lead;
mod maintenance;
mod plan;
mod retry;

mod abandoned;
mod elsewhere;
mod engine;
mod events;
mod flow;
mod held;
mod history;
mod hold;
mod idle;
mod look;
mod manual;
#[cfg(feature = "mutants")]
mod mutant;
mod pace;
mod pass;
mod perform;
mod slots;
mod steps;
mod timing;
mod turn;

pub mod testing;

pub use check::{Found, decide};
pub use claims::Claims;
pub use engine::{Engine, HostMap};
pub use events::{EngineEvent, Listener};
pub use explain::{
    ClaimView, Explanation, HostExplanation, LastFailure, LeadView, Next, NextStep, OperationView, Wait,
    WaitCode,
};
pub use history::{status_word, step_entry};
pub use lead::Lead;
pub use maintenance::Maintenance;
pub use manual::{ManualError, ManualOrder, ManualReport, ManualStep};
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use operation::{NewOperation, Operation, OperationId, OperationKind, Repetition, Step};
pub use pass::PassReport;
pub use plan::{Act, Decision, HostFacts, HostPlan, Presence, Spare, plan_host};
pub use ports::{
    AttemptEnd, AttemptId, AttemptOutcome, Claim, ClaimInfo, FencingToken, HistoryRow, MAX_TIMINGS,
    Observation, Station, StepAction, StepOrder, StepOutcome, StepReport, Store, StoreError, TimingSample,
    Timings, WakeOrder, WorkItem,
};
pub use reason::Reason;
pub use reservation::{Reservation, ReservationStatus};
pub use settings::{Deadlines, IdlePower, LocalModePolicy, PowerMode, Settings};
pub use state::{Event, FailedTry, IllegalTransition, JOURNAL_VERSION, State};
