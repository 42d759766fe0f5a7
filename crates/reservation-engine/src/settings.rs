//! What an operator can tune, with units and defaults.

use std::num::NonZeroU32;
use std::time::Duration;

/// The engine's settings. `Settings::default()` gives what the older worker did, where it did anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long before its start a reservation's host is woken and prepared, at least. Default 120 s.
    pub lead: Duration,
    /// How far the history of a slow host may raise its lead. Default 15 min.
    pub lead_max: Duration,
    /// What is added to how long a host's boots and prepares took. Default 30 s.
    pub lead_margin: Duration,
    /// How long after its end a reservation's host is released, when nobody waits for the host. Default 60 s.
    pub end_delay: Duration,
    /// How far beyond the lead reservations are read, to know who comes next on a host. Default 30 min.
    pub horizon_extra: Duration,
    /// The wait after the first failed try; it doubles with each further one. Default 60 s.
    pub retry_first: Duration,
    /// The longest wait between two tries. Default 15 min.
    pub retry_max: Duration,
    /// How long after its release was opened a host is tried again. Default 6 h.
    pub release_window: Duration,
    /// How long a host whose answer was lost is left alone before it is looked at again; the wait grows with the
    /// time that nobody knows. Default 10 s.
    pub check_first: Duration,
    /// How many flows a pass starts in one go before it lets them begin. It delays nothing that is due. Default 200.
    pub max_batch: u32,
    /// How many hosts are woken in a minute at most, over all schedulers; whoever starts first is woken first.
    /// Callers' own wakes do not count. Default `None`: no limit.
    pub wake_rate_per_minute: Option<NonZeroU32>,
    /// How many reservations one pass reads at most. Default 20,000.
    pub max_read: u32,
    /// How long a claim on a host lasts without renewal. Default 15 s.
    pub lease: Duration,
    /// How often a claim is renewed; at most a third of the lease. Default 5 s.
    pub renew_every: Duration,
    /// How long to leave a host alone that somebody else has claimed. Default 2 s.
    pub busy_retry: Duration,
    /// How long a person who is logged on is warned before `prepare-session` logs them off. Default 90 s.
    pub guard_grace: Duration,
    /// What happens with a host in local mode. Default [`LocalModePolicy::Block`].
    pub local_mode: LocalModePolicy,
    /// A release reboots the host only when the next reservation starts later than now plus the lead plus this.
    /// Default 120 s.
    pub reboot_margin: Duration,
    /// Whether a lab that several hosts serve uses all of them: a reservation goes to the first one that is free, and
    /// on to the next when its host cannot be had. Default `false`: the first in the file serves it.
    pub host_pooling: bool,
    /// What happens with a host that nobody needs. Default `None`: it stays on.
    pub idle_power: Option<IdlePower>,
    /// By when each kind of step has to answer.
    pub deadlines: Deadlines,
    /// A fault that is planted on purpose. Default `None`.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::Mutant>,
}

/// How a host that nobody needs is taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdlePower {
    /// How.
    pub mode: PowerMode,
    /// How long after its last reservation was completed.
    pub after: Duration,
    /// A host stays on for a reservation whose preparation is due within this time.
    pub look_ahead: Duration,
    /// Whether a host that is seen to be still up is ordered down a second time, without regard to programs that
    /// hold it up.
    pub force: bool,
}

impl IdlePower {
    /// How long a host is left on after its last reservation, unless something else is configured.
    pub const DEFAULT_AFTER: Duration = Duration::from_mins(15);

    /// Takes a host down softly, a quarter of an hour after its last reservation and with half an hour in view.
    #[must_use]
    pub fn new(mode: PowerMode) -> Self {
        Self {
            mode,
            after: Self::DEFAULT_AFTER,
            look_ahead: Duration::from_mins(30),
            force: false,
        }
    }
}

/// The word after `power`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerMode {
    /// Off.
    Shutdown,
    /// Memory to disk.
    Hibernate,
}

impl PowerMode {
    /// The word as the station takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Hibernate => "hibernate",
        }
    }
}

/// By when each kind of step has to answer; after it the step counts as failed or as unknown.
#[derive(Debug, Clone, PartialEq)]
pub struct Deadlines {
    /// The whole wake ladder, boot included. Default 180 s.
    pub wake: Duration,
    /// `prepare-session`, beyond the guard's grace. Default 60 s.
    pub prepare: Duration,
    /// `release-session`. Default 120 s.
    pub release: Duration,
    /// `power`. Default 60 s.
    pub power: Duration,
    /// Looking at a host. Default 20 s.
    pub check: Duration,
}

/// What happens with a host whose station says that it is in local mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LocalModePolicy {
    /// It is not taken; the start fails with reason `local_mode` and is tried again.
    #[default]
    Block,
    /// It is taken, with a warning.
    Warn,
    /// It is taken.
    Ignore,
}

impl Settings {
    /// The longest lead that any host can have.
    pub(crate) fn longest_lead(&self) -> Duration {
        self.lead.max(self.lead_max)
    }

    /// Whether this fault is planted.
    #[cfg(feature = "mutants")]
    pub(crate) fn has(&self, mutant: crate::Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// How far beyond the lead reservations have to be read, to know who comes next on a host.
    pub(crate) fn view_ahead(&self) -> Duration {
        let look_ahead = self.idle_power.map_or(Duration::ZERO, |idle| idle.look_ahead);
        self.horizon_extra.max(look_ahead)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lead: Duration::from_secs(120),
            lead_max: Duration::from_mins(15),
            lead_margin: Duration::from_secs(30),
            end_delay: Duration::from_secs(60),
            horizon_extra: Duration::from_mins(30),
            retry_first: Duration::from_secs(60),
            retry_max: Duration::from_mins(15),
            release_window: Duration::from_hours(6),
            check_first: Duration::from_secs(10),
            max_batch: 200,
            wake_rate_per_minute: None,
            max_read: 20_000,
            lease: Duration::from_secs(15),
            renew_every: Duration::from_secs(5),
            busy_retry: Duration::from_secs(2),
            guard_grace: Duration::from_secs(90),
            local_mode: LocalModePolicy::Block,
            reboot_margin: Duration::from_secs(120),
            host_pooling: false,
            idle_power: None,
            deadlines: Deadlines::default(),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            wake: Duration::from_secs(180),
            prepare: Duration::from_secs(60),
            release: Duration::from_secs(120),
            power: Duration::from_secs(60),
            check: Duration::from_secs(20),
        }
    }
}
