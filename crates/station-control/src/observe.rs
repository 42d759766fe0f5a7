//! Looking at a host without changing anything.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::{Host, Transport};
use labstation_commands::{
    ForcedLogoff, Heartbeat, OperationRecord, OsFacts, PowerAction, ReleaseRecord, Status, parse_status,
    raw_command_line,
};
use reservation_engine::Observation;
use tokio::time::Instant;
use winrm_transport::{Command, Stage};

use crate::control::Inner;
use crate::error::StationError;
use crate::heartbeat::EventsRead;
use crate::links::Link;

/// Source: the WinRM catalog of WMI classes; a class with one instance needs no selector.
const OPERATING_SYSTEM: &str =
    "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/Win32_OperatingSystem";

/// What is kept of a look's time to see whether a host that does not answer is off.
const OFF_WITHIN: Duration = Duration::from_secs(3);

/// What the operating system says about itself, and when it said so by our clock.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// `None` when it does not say.
    pub(crate) computer_name: Option<String>,
    /// By our clock: from how long the host is up, whatever its own clock says.
    pub(crate) booted_at: DateTime<Utc>,
    /// How far the host's clock is ahead of ours.
    pub(crate) clock_ahead: TimeDelta,
}

impl Inner {
    /// Asks for name, boot time and clock. `None`: the host answered, but does not say.
    pub(crate) async fn facts(
        &self,
        host: &Host,
        link: &Link,
        deadline: Duration,
    ) -> Result<Option<Facts>, StationError> {
        let answer = link.looks().get(OPERATING_SYSTEM, deadline).await;
        let observed_at = self.clock.now();
        let instance = match answer.map_err(|error| StationError::from_transport(&host.name, error)) {
            Ok(instance) => instance,
            Err(error) if error.is_refusal_of_host() => return Ok(None),
            Err(error) => return Err(error),
        };
        let value = |name| instance.value(name).unwrap_or_default();
        let parsed = OsFacts::from_values(value("CSName"), value("LastBootUpTime"), value("LocalDateTime"));
        let Ok(os) = parsed else { return Ok(None) };
        let clock_ahead = os.clock_ahead(observed_at);
        link.memory().clock_ahead = Some(clock_ahead);
        let booted_at = os.booted_at(observed_at);
        Ok(Some(Facts {
            computer_name: Some(os.computer_name).filter(|name| !name.is_empty()),
            booted_at,
            clock_ahead,
        }))
    }

    /// Boot time and what the station says now, as far as they can be had within `deadline`.
    pub(crate) async fn look(&self, host: &Host, link: &Link, deadline: Duration) -> Observation {
        let until = Instant::now() + deadline;
        let asking = deadline - OFF_WITHIN.min(deadline / 4);
        let facts = match self.facts(host, link, asking).await {
            Ok(facts) => facts,
            Err(error) => {
                tracing::debug!(host.name = %host.name, error = error.sentence(), "host not observed");
                let reachable = was_met(host, &error);
                return Observation {
                    reachable,
                    off: !reachable && self.is_off(host).await,
                    ..Observation::default()
                };
            }
        };
        // The heartbeat may be a minute old and know nothing of what was just done; `status-json` looks now.
        let left = until.saturating_duration_since(Instant::now());
        let status = self.read_status(host, link, left.mul_f64(0.6)).await;
        let ahead = || link.memory().clock_ahead;
        if let Ok(status) = &status {
            return observation(true, facts.as_ref(), Some(&Said::from(status)), ahead());
        }
        let left = until.saturating_duration_since(Instant::now());
        let reading = self.read_heartbeat(host, link, EventsRead::No, left).await;
        let said = match &reading {
            Ok(reading) => Some(Said::from(&reading.heartbeat)),
            Err(error) => {
                tracing::debug!(host.name = %host.name, error = error.sentence(), "heartbeat not observed");
                None
            }
        };
        let answered = facts.is_some()
            || reading
                .as_ref()
                .map_or_else(|error| was_met(host, error), |_| true);
        observation(answered, facts.as_ref(), said.as_ref(), ahead())
    }

    async fn read_status(
        &self,
        host: &Host,
        link: &Link,
        deadline: Duration,
    ) -> Result<Status, StationError> {
        let line = raw_command_line(&host.labstation_exe, "status-json", &[]);
        let line = line.map_err(|why| StationError::refused(&host.name, why))?;
        let ran = link
            .looks()
            .run(&Command::new(line.program).args(line.args), deadline)
            .await;
        let output = ran.map_err(|error| StationError::from_transport(&host.name, error))?;
        parse_status(&output.stdout).map_err(|source| StationError::HeartbeatUnreadable {
            host: host.name.clone(),
            source,
        })
    }
}

/// Whether the host itself was there. A domain whose KDCs are silent must not make a host look switched off: they are
/// asked once its port has answered.
fn was_met(host: &Host, error: &StationError) -> bool {
    let asking_the_domain = matches!(host.winrm.transport, Transport::Kerberos(_))
        && matches!(
            error,
            StationError::TimedOut {
                during: Stage::Handshake,
                ..
            }
        );
    asking_the_domain || error.was_answered()
}

/// What a heartbeat and a status document have in common.
#[derive(Debug)]
pub(crate) struct Said<'a> {
    reported_at: Option<DateTime<Utc>>,
    ready: Option<bool>,
    local_mode: Option<bool>,
    local_session: Option<bool>,
    prepare: Option<&'a OperationRecord>,
    release: Option<&'a ReleaseRecord>,
    logoff: Option<&'a ForcedLogoff>,
    power: Option<&'a PowerAction>,
}

impl<'a> From<&'a Heartbeat> for Said<'a> {
    fn from(heartbeat: &'a Heartbeat) -> Self {
        Self {
            reported_at: heartbeat.reported_at,
            ready: heartbeat.ready,
            local_mode: heartbeat.local_mode,
            local_session: heartbeat.local_session,
            prepare: heartbeat.last_prepare.as_ref(),
            release: heartbeat.last_release.as_ref(),
            logoff: heartbeat.last_forced_logoff.as_ref(),
            power: heartbeat.last_power_action.as_ref(),
        }
    }
}

impl<'a> From<&'a Status> for Said<'a> {
    fn from(status: &'a Status) -> Self {
        Self {
            reported_at: status.reported_at,
            ready: status.ready,
            local_mode: status.local_mode,
            local_session: status.local_session,
            prepare: status.last_prepare.as_ref(),
            release: status.last_release.as_ref(),
            logoff: status.last_forced_logoff.as_ref(),
            power: status.last_power_action.as_ref(),
        }
    }
}

/// What was seen, with the station's stamps translated to our clock.
pub(crate) fn observation(
    reachable: bool,
    facts: Option<&Facts>,
    said: Option<&Said<'_>>,
    clock_ahead: Option<TimeDelta>,
) -> Observation {
    let mut seen = Observation {
        reachable,
        booted_at: facts.map(|facts| facts.booted_at),
        ..Observation::default()
    };
    let Some(said) = said else { return seen };
    let ours = |stamp: DateTime<Utc>| stamp - clock_ahead.unwrap_or_default();
    // `success` is false also for "done with warnings". An unprepared host must not be handed over, so there the
    // doubt counts as no; a release that found nobody to log off is one all the same.
    let prepare = said.prepare.filter(|record| record.success != Some(false));
    seen.reported_at = said.reported_at.map(ours);
    seen.ready = said.ready;
    seen.local_mode = said.local_mode;
    seen.local_session = said.local_session;
    seen.prepared_at = prepare.and_then(|record| record.at).map(ours);
    seen.released_at = said.release.and_then(|record| record.at).map(ours);
    seen.logged_off_at = said.logoff.and_then(|logoff| logoff.at).map(ours);
    seen.power_action_at = said.power.and_then(|action| action.at).map(ours);
    seen
}
