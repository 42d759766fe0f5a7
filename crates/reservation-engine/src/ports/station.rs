//! What the engine has done on hosts: one step, what came of it, and what was seen on the way.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::HostName;
use serde_json::Value;

use crate::operation::Step;
use crate::reason::Reason;

/// One step to be carried out on one host.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOrder {
    /// On which host.
    pub host: HostName,
    /// What to do.
    pub action: StepAction,
    /// Whatever happens, an answer comes within this time.
    pub deadline: Duration,
}

/// What a step does on a host.
#[derive(Debug, Clone, PartialEq)]
pub enum StepAction {
    /// Climb the wake ladder.
    Wake(WakeOrder),
    /// `prepare-session` with these arguments.
    Prepare {
        /// After the command word.
        args: Vec<String>,
    },
    /// `release-session` with these arguments.
    Release {
        /// After the command word.
        args: Vec<String>,
    },
    /// `power <mode>` with these arguments.
    Power {
        /// `shutdown` or `hibernate`.
        mode: String,
        /// After the mode.
        args: Vec<String>,
    },
}

impl StepAction {
    /// The step this carries out.
    #[must_use]
    pub fn step(&self) -> Step {
        match self {
            Self::Wake(_) => Step::Wake,
            Self::Prepare { .. } => Step::Prepare,
            Self::Release { .. } => Step::Release,
            Self::Power { .. } => Step::Power,
        }
    }

    /// The action's name in the history and in answers: `wake`, `prepare`, `release`, `power:<mode>`.
    #[must_use]
    pub fn history_name(&self) -> String {
        match self {
            Self::Power { mode, .. } => format!("power:{mode}"),
            other => other.step().as_str().to_owned(),
        }
    }
}

/// What differs from the host's catalog entry in one wake.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WakeOrder {
    /// Another card.
    pub mac: Option<String>,
    /// Another target of the reachability probe.
    pub ping_target: Option<String>,
    /// How many packets at most.
    pub attempts: Option<u32>,
    /// How long to wait for an answer after each packet.
    pub ping_timeout: Option<Duration>,
    /// Another broadcast address.
    pub broadcast: Option<String>,
    /// Another UDP port.
    pub port: Option<u16>,
}

/// How a step ended, as far as the host is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOutcome {
    /// It took effect.
    Done,
    /// It took effect, with warnings.
    DoneWithWarnings,
    /// It did not take effect, for this reason.
    Failed(Reason),
    /// Nobody knows whether it took effect.
    Unknown(Reason),
}

/// What came of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// How it ended.
    pub outcome: StepOutcome,
    /// One line, as the contract words it (`Exit code 0`, `Host reachable`).
    pub message: String,
    /// Exit code of a command, 200 or 504 for a wake; `None` when there is none.
    pub response_code: Option<i32>,
    /// What the contract shows as `details`.
    pub details: Value,
    /// How long it took.
    pub duration: Duration,
    /// What was seen of the host on the way, if anything.
    pub observed: Option<Observation>,
}

/// What was seen of a host. Instants are translated to our clock.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// Whether WinRM answered.
    pub reachable: bool,
    /// Whether the host was looked at and is off, which is more than not to answer: nothing takes a connection where
    /// WinRM is. A host that hangs still takes them; it is neither reachable nor off.
    pub off: bool,
    /// When it booted.
    pub booted_at: Option<DateTime<Utc>>,
    /// When its heartbeat was written.
    pub reported_at: Option<DateTime<Utc>>,
    /// Whether the station says it is ready.
    pub ready: Option<bool>,
    /// Whether the station is in local mode.
    pub local_mode: Option<bool>,
    /// Whether somebody other than the lab's own account is logged on at the host.
    pub local_session: Option<bool>,
    /// When a session was last prepared successfully.
    pub prepared_at: Option<DateTime<Utc>>,
    /// When a session was last released.
    pub released_at: Option<DateTime<Utc>>,
    /// When somebody was last logged off by force.
    pub logged_off_at: Option<DateTime<Utc>>,
    /// When power was last ordered.
    pub power_action_at: Option<DateTime<Utc>>,
}

/// Carries out steps on hosts.
pub trait Station: Send + Sync + 'static {
    /// Carries out one step and says what came of it, at the latest when the order's deadline is over.
    ///
    /// # Cancel safety
    /// A dropped future may leave the effect unknown; the caller goes on as after a crash.
    fn perform(&self, order: StepOrder) -> impl Future<Output = StepReport> + Send;

    /// Looks at a host without changing anything, within `deadline`.
    fn observe(&self, host: &HostName, deadline: Duration) -> impl Future<Output = Observation> + Send;
}
