//! The upper half of the ladder: log on, and judge what answers.

use chrono::{DateTime, TimeDelta, Utc};
use labstation_commands::Heartbeat;
use reservation_engine::Reason;
use tokio::time::Instant;

use super::ladder::{Climb, Round};
use super::reasons::{another_machine, at, heartbeat_is_at_fault, listed};
use super::report::{Rung, RungState};
use super::verdict::{self, Boot, Freshness, same_computer};
use crate::error::StationError;
use crate::heartbeat::EventsRead;
use crate::observe::{Facts, Said, observation};
use crate::settings::HeartbeatPolicy;

impl Climb<'_> {
    /// The port is open: log on, and judge what answers.
    pub(super) async fn ask_and_judge(&mut self) -> Result<Round, Reason> {
        if self.down_at.is_none() {
            self.progress.already_awake = true;
        }
        let detail = "the port is open, but WinRM did not answer in time: it is starting, or hangs";
        self.expect(at(Rung::WinrmAnswer, "no_answer", detail.into()));
        let within = self.control.settings.wake.answer_deadline;
        let facts = match self.control.facts(&self.host, &self.link, within).await {
            Ok(facts) => facts,
            Err(error) => return self.stopped_by(&error, Rung::WinrmAnswer),
        };
        if let Some(facts) = &facts {
            // What an earlier heartbeat said stands until there is a later one.
            let seen = self.progress.observed.get_or_insert_default();
            (seen.reachable, seen.booted_at) = (true, Some(facts.booted_at));
            self.greet(facts)?;
        }
        self.expect(at(
            Rung::HeartbeatReady,
            "no_answer",
            "the heartbeat was not read in time".into(),
        ));
        let reading = self
            .control
            .read_heartbeat(&self.host, &self.link, EventsRead::No, within)
            .await;
        let (heartbeat, observed_at) = match reading {
            Ok(reading) => (reading.heartbeat, reading.observed_at),
            // With no facts, reading the heartbeat is what proves that we are let in.
            Err(error) => {
                let let_in = facts.is_some() || heartbeat_is_at_fault(&error);
                let rung = if let_in {
                    Rung::HeartbeatReady
                } else {
                    Rung::WinrmAnswer
                };
                return self.stopped_by(&error, rung);
            }
        };
        if facts.is_none() {
            let detail =
                "a file was read; the host does not tell its name and boot time (Win32_OperatingSystem)";
            self.mark(Rung::WinrmAnswer, RungState::Climbed, detail.into());
        }
        self.judge(facts.as_ref(), &heartbeat, observed_at)
    }

    /// Somebody let us in and says who it is.
    fn greet(&mut self, facts: &Facts) -> Result<(), Reason> {
        let Some(name) = &facts.computer_name else {
            self.mark(
                Rung::WinrmAnswer,
                RungState::Climbed,
                "a computer without a name answered".into(),
            );
            return Ok(());
        };
        let known = self.link.memory().computer_name.clone();
        if let Some(known) = known.filter(|known| !same_computer(known, name)) {
            return Err(another_machine(&self.host, &known, name));
        }
        self.mark(
            Rung::WinrmAnswer,
            RungState::Climbed,
            format!("computer {name} answered an authenticated request"),
        );
        Ok(())
    }

    fn judge(
        &mut self,
        facts: Option<&Facts>,
        heartbeat: &Heartbeat,
        now: DateTime<Utc>,
    ) -> Result<Round, Reason> {
        let clock_ahead = facts.map(|facts| facts.clock_ahead);
        let clock_ahead = clock_ahead.or_else(|| self.link.memory().clock_ahead);
        self.progress.observed = Some(observation(
            true,
            facts,
            Some(&Said::from(heartbeat)),
            clock_ahead,
        ));
        let clock_ahead = clock_ahead.unwrap_or_default();
        let boot = self.down_at.map(|down_at| (Boot::judge(facts, down_at), down_at));
        if let Some(why) = self.leaving(facts, heartbeat, clock_ahead, now) {
            let detail = format!("the host is up, but {why} and it has not gone down yet");
            self.obstacle = at(Rung::BootedAfterPacket, "not_booted", detail);
            return Ok(Round::Again);
        }
        self.mark_boot(boot.map(|(boot, _)| boot), facts);
        let not_before = boot.map(|(boot, down_at)| boot.heartbeat_not_before(down_at));
        let max_age = self.control.settings.wake.max_heartbeat_age;
        let fresh = verdict::freshness(heartbeat.reported_at, clock_ahead, now, max_age, not_before);
        if let Freshness::Stale(why) = fresh {
            let detail = format!("{why}: the station service is not running (yet)");
            self.obstacle = at(Rung::HeartbeatReady, "heartbeat_stale", detail);
            return Ok(Round::Again);
        }
        self.compare_names(facts, heartbeat)?;
        Ok(self.judge_readiness(heartbeat))
    }

    /// Why a host that was up before any packet is not to be trusted yet.
    fn leaving(
        &self,
        facts: Option<&Facts>,
        heartbeat: &Heartbeat,
        clock_ahead: TimeDelta,
        now: DateTime<Utc>,
    ) -> Option<String> {
        if self.down_at.is_some() {
            return None;
        }
        let window = self.control.settings.wake.going_down;
        verdict::going_down(
            heartbeat,
            facts.map(|facts| facts.booted_at),
            clock_ahead,
            now,
            window,
        )
    }

    fn mark_boot(&mut self, boot: Option<Boot>, facts: Option<&Facts>) {
        let shown = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S UTC");
        let (state, detail) = match (boot, facts) {
            (None, Some(facts)) => (
                RungState::Skipped,
                format!("already awake, since {}", shown(facts.booted_at)),
            ),
            (None, None) => (RungState::Skipped, "already awake; boot time unknown".into()),
            (Some(Boot::Unknown), _) => (RungState::Skipped, "it was down before; boot time unknown".into()),
            (Some(Boot::Fresh { at }), _) => (RungState::Climbed, format!("booted at {}", shown(at))),
            (Some(Boot::Resumed { booted_at }), _) => {
                let booted_at = shown(booted_at);
                let detail = format!(
                    "it was down before and its boot of {booted_at} is older: resumed from hibernation or fast start-up"
                );
                (RungState::Climbed, detail)
            }
        };
        self.mark(Rung::BootedAfterPacket, state, detail);
    }

    /// A fresh heartbeat must come from the computer that answers, and from the one we know.
    fn compare_names(&self, facts: Option<&Facts>, heartbeat: &Heartbeat) -> Result<(), Reason> {
        let Some(reported) = &heartbeat.host else {
            return Ok(());
        };
        let answering = facts.and_then(|facts| facts.computer_name.clone());
        let known = answering.or_else(|| self.link.memory().computer_name.clone());
        match known.filter(|known| !same_computer(known, reported)) {
            Some(known) => Err(another_machine(&self.host, &known, reported)),
            None => Ok(()),
        }
    }

    fn judge_readiness(&mut self, heartbeat: &Heartbeat) -> Round {
        let local = if heartbeat.local_mode == Some(true) {
            "; local mode is on"
        } else {
            ""
        };
        if heartbeat.ready == Some(true) {
            self.mark(
                Rung::HeartbeatReady,
                RungState::Climbed,
                format!("the station says it is ready{local}"),
            );
            return Round::Ready;
        }
        let issues = listed(&heartbeat.issues);
        let detail = format!("the station says it is not ready: {issues}{local}");
        let since = *self.not_ready_since.get_or_insert_with(Instant::now);
        if let HeartbeatPolicy::WarnAfter(patience) = self.control.settings.wake.heartbeat
            && since.elapsed() >= patience
        {
            self.mark(
                Rung::HeartbeatReady,
                RungState::Skipped,
                format!("{detail}; let pass as configured"),
            );
            self.progress.warnings.push(detail);
            return Round::Ready;
        }
        self.obstacle = at(Rung::HeartbeatReady, "not_ready", detail);
        Round::Again
    }

    /// An answer that is none: wait for a better one where the start may bring it, else end here.
    fn stopped_by(&mut self, error: &StationError, rung: Rung) -> Result<Round, Reason> {
        let code = match error {
            StationError::FileMissing { .. } => "heartbeat_missing",
            other => other.code(),
        };
        let hint = match error {
            StationError::Unauthorized { .. } => {
                " (this wake does not offer it again, so that the account is not locked)"
            }
            _ => "",
        };
        self.obstacle = at(rung, code, format!("{}{hint}", error.sentence()));
        if error.may_pass() {
            Ok(Round::Again)
        } else {
            Err(self.obstacle.clone())
        }
    }
}
