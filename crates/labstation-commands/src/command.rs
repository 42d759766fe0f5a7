//! The commands of a station.

use std::time::Duration;

use crate::argument::{ArgumentError, MAX_SECONDS, Words, whole_seconds};
use crate::exit::{ExitMeaning, meaning_of};
use crate::path::check_path;

/// What the guard waits at least, whatever grace it is given.
/// Source: station contract; shorter graces are raised to 30 s.
const SHORTEST_GRACE: Duration = Duration::from_secs(30);
/// Grace of `prepare-session` when none is given.
const PREPARE_GRACE: Duration = Duration::from_secs(90);
/// Grace of `session guard` when none is given.
const GUARD_GRACE: Duration = Duration::from_secs(120);
/// What a command may take beside the waiting it was asked for: a program start on a busy machine, closing
/// programs, cleaning a profile.
const OWN_WORK: Duration = Duration::from_secs(60);

/// One command of `LabStation.exe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StationCommand {
    /// `prepare-session`: clears out local users and the lab user's leftovers.
    PrepareSession(PrepareOptions),
    /// `release-session`: closes the lab's programs and logs the lab user off.
    ReleaseSession(ReleaseOptions),
    /// `power shutdown` or `power hibernate`.
    Power(PowerOptions),
    /// `status-json`: prints the status document.
    StatusJson,
    /// `session guard`: warns local users, waits, logs them off.
    SessionGuard(GuardOptions),
    /// `recovery reboot-if-needed`: restarts the host if the station finds itself unwell.
    RecoveryRebootIfNeeded {
        /// Restart in any case.
        force: bool,
        /// Delay before the restart. Whole seconds; the station's default is 20 s.
        timeout: Option<Duration>,
        /// Why. The station takes a reason for a need: with one it restarts also when healthy.
        reason: Option<String>,
    },
    /// `service ...`: the station's background service.
    Service(ServiceAction),
    /// `energy audit`: reports power plans and wake settings.
    Energy {
        /// File on the host that takes the report as JSON; without it the report is printed.
        json_path: Option<String>,
    },
}

/// Options of `prepare-session`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrepareOptions {
    /// The lab's account, where it is not the station's default.
    pub user: Option<String>,
    /// How long local users may finish. Whole seconds; below 30 s counts as 30 s, absent as 90 s.
    pub guard_grace: Option<Duration>,
    /// Leave local users alone.
    pub no_guard: bool,
    /// What local users are told.
    pub guard_message: Option<String>,
}

/// Options of `release-session`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReleaseOptions {
    /// The lab's account, where it is not the station's default.
    pub user: Option<String>,
    /// Restart the host afterwards.
    pub reboot: bool,
    /// Delay before the restart, in whole seconds. Only with `reboot`.
    pub reboot_timeout: Option<Duration>,
}

/// Options of `power`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerOptions {
    /// What to do.
    pub mode: PowerMode,
    /// Delay before it, in whole seconds.
    pub delay: Option<Duration>,
    /// Why, shown to whoever sits there.
    pub reason: Option<String>,
    /// Let programs with unsaved work hold it up.
    pub no_force: bool,
    /// Do it although the host may then not be woken again.
    pub skip_wake_check: bool,
}

impl PowerOptions {
    /// At once and without a reason.
    pub fn new(mode: PowerMode) -> Self {
        Self {
            mode,
            delay: None,
            reason: None,
            no_force: false,
            skip_wake_check: false,
        }
    }
}

/// How a host goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PowerMode {
    /// Off. The next start is a boot.
    Shutdown,
    /// Memory to disk. The next start keeps the boot time.
    Hibernate,
}

impl PowerMode {
    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Hibernate => "hibernate",
        }
    }
}

/// Options of `session guard`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuardOptions {
    /// How long local users may finish. Whole seconds; below 30 s counts as 30 s, absent as 120 s.
    pub grace: Option<Duration>,
    /// The account that may stay, where it is not the station's default.
    pub user: Option<String>,
    /// What local users are told.
    pub message: Option<String>,
    /// Tell them nothing.
    pub silent: bool,
}

/// What to do with the station's background service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceAction {
    /// Register it.
    Install,
    /// Remove it.
    Uninstall,
    /// Start it.
    Start,
    /// Stop it; heartbeats stop as well.
    Stop,
    /// Print its state.
    Status,
}

impl ServiceAction {
    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Uninstall => "uninstall",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Status => "status",
        }
    }
}

impl StationCommand {
    /// The first word on the command line, as an allow list knows it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PrepareSession(_) => "prepare-session",
            Self::ReleaseSession(_) => "release-session",
            Self::Power(_) => "power",
            Self::StatusJson => "status-json",
            Self::SessionGuard(_) => "session",
            Self::RecoveryRebootIfNeeded { .. } => "recovery",
            Self::Service(_) => "service",
            Self::Energy { .. } => "energy",
        }
    }

    /// The words after [`StationCommand::name`], one per argument and not quoted.
    ///
    /// # Errors
    /// [`ArgumentError`] for a value that could mean more than itself on a command line, is out of bounds, or
    /// contradicts another.
    pub fn args(&self) -> Result<Vec<String>, ArgumentError> {
        let mut words = Words::default();
        match self {
            Self::PrepareSession(options) => options.write(&mut words)?,
            Self::ReleaseSession(options) => options.write(&mut words)?,
            Self::Power(options) => options.write(&mut words)?,
            Self::StatusJson => {}
            Self::SessionGuard(options) => options.write(&mut words)?,
            Self::RecoveryRebootIfNeeded {
                force,
                timeout,
                reason,
            } => {
                words.word("reboot-if-needed");
                words.flag("--force", *force);
                words.seconds("--timeout", *timeout)?;
                words.text("--reason", reason.as_deref())?;
            }
            Self::Service(action) => words.word(action.as_str()),
            Self::Energy { json_path } => {
                words.word("audit");
                if let Some(path) = json_path {
                    let path = check_path(path).map_err(|source| ArgumentError::Path {
                        option: "--json".to_owned(),
                        source,
                    })?;
                    words.text("--json", Some(&path))?;
                }
            }
        }
        Ok(words.into_vec())
    }

    /// How long the command may take before something must be wrong: the waiting it was asked for and a
    /// minute for its own work. A deadline belongs above it.
    pub fn blocks_for(&self) -> Duration {
        let waiting = match self {
            Self::PrepareSession(options) if options.no_guard => Duration::ZERO,
            Self::PrepareSession(options) => guard_wait(options.guard_grace, PREPARE_GRACE),
            Self::SessionGuard(options) => guard_wait(options.grace, GUARD_GRACE),
            // Windows delays a shutdown by itself; the station has to sit out the delay of a hibernation.
            Self::Power(PowerOptions {
                mode: PowerMode::Hibernate,
                delay: Some(delay),
                ..
            }) => bounded(*delay),
            _ => Duration::ZERO,
        };
        waiting + OWN_WORK
    }

    /// True when the host may be off, asleep or restarting afterwards, so that a lost answer is expected and
    /// the command must not be repeated without looking.
    pub fn takes_host_down(&self) -> bool {
        match self {
            Self::ReleaseSession(options) => options.reboot,
            Self::Power(_) | Self::RecoveryRebootIfNeeded { .. } => true,
            Self::PrepareSession(_)
            | Self::StatusJson
            | Self::SessionGuard(_)
            | Self::Service(_)
            | Self::Energy { .. } => false,
        }
    }

    /// What an exit code of this command means.
    pub fn meaning(&self, exit_code: i32) -> ExitMeaning {
        meaning_of(self.name(), exit_code)
    }
}

fn bounded(time: Duration) -> Duration {
    Duration::from_secs(whole_seconds(time).min(MAX_SECONDS))
}

fn guard_wait(grace: Option<Duration>, default: Duration) -> Duration {
    bounded(grace.unwrap_or(default)).max(SHORTEST_GRACE)
}

impl PrepareOptions {
    fn write(&self, words: &mut Words) -> Result<(), ArgumentError> {
        for (option, given) in [
            ("--guard-grace", self.guard_grace.is_some()),
            ("--guard-message", self.guard_message.is_some()),
        ] {
            if self.no_guard && given {
                let other = "together with --no-guard";
                return Err(ArgumentError::Contradiction {
                    option: option.to_owned(),
                    other,
                });
            }
        }
        words.account("--user", self.user.as_deref())?;
        words.seconds("--guard-grace", self.guard_grace)?;
        words.flag("--no-guard", self.no_guard);
        words.text("--guard-message", self.guard_message.as_deref())
    }
}

impl ReleaseOptions {
    fn write(&self, words: &mut Words) -> Result<(), ArgumentError> {
        if self.reboot_timeout.is_some() && !self.reboot {
            // The station would take the delay for an order to restart.
            let option = "--reboot-timeout".to_owned();
            return Err(ArgumentError::Contradiction {
                option,
                other: "without --reboot",
            });
        }
        words.account("--user", self.user.as_deref())?;
        words.flag("--reboot", self.reboot);
        words.seconds("--reboot-timeout", self.reboot_timeout)
    }
}

impl PowerOptions {
    fn write(&self, words: &mut Words) -> Result<(), ArgumentError> {
        words.word(self.mode.as_str());
        words.seconds("--delay", self.delay)?;
        words.text("--reason", self.reason.as_deref())?;
        words.flag("--no-force", self.no_force);
        words.flag("--skip-wake-check", self.skip_wake_check);
        Ok(())
    }
}

impl GuardOptions {
    fn write(&self, words: &mut Words) -> Result<(), ArgumentError> {
        if self.silent && self.message.is_some() {
            let option = "--message".to_owned();
            return Err(ArgumentError::Contradiction {
                option,
                other: "together with --silent",
            });
        }
        words.word("guard");
        words.seconds("--grace", self.grace)?;
        words.account("--user", self.user.as_deref())?;
        words.text("--message", self.message.as_deref())?;
        words.flag("--silent", self.silent);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
