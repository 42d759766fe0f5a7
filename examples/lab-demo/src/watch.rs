//! Looks at the lab again and again: the simulators for power, the database for everything else.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use heartbeat_store::HostState;
use host_sim::{PowerState, SimHost};
use lab_model::ReservationId;
use reservation_engine::{ReservationStatus, Store};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::course::Course;
use crate::day::{Day, Ending, HOSTS, host_name};
use crate::effects::HostLog;
use crate::gateway;
use crate::lab::Lab;
use crate::tally::Tally;
use crate::view::View;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(300);

/// What one look showed.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// Seconds since the day began.
    pub(crate) elapsed: f64,
    /// How many reservations are settled, of how many.
    pub(crate) settled: (usize, usize),
    /// One line for each reservation, under its host, and one for each host without any.
    pub(crate) rows: Vec<Row>,
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// The host, and whether this is its first line.
    pub(crate) host: (String, bool),
    /// Whether it runs.
    pub(crate) power: PowerState,
    /// How old its last heartbeat is, or why there is none.
    pub(crate) heartbeat: String,
    /// The reservation, if it has one.
    pub(crate) reservation: Option<ReservedRow>,
}

/// The right half of a line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReservedRow {
    /// The reservation.
    pub(crate) id: &'static str,
    /// From when to when, in seconds of the day.
    pub(crate) window: String,
    /// As the shared table has it.
    pub(crate) status: &'static str,
    /// What is being done.
    pub(crate) step: String,
    /// How punctual it is.
    pub(crate) punctuality: String,
    /// Whether the host was handed over.
    pub(crate) ready: bool,
    /// Whether that was before the start; `None` while it is open, or when a later instant is good enough.
    pub(crate) on_time: Option<bool>,
    /// Why it failed, or why it is being tried again.
    pub(crate) trouble: Option<String>,
}

/// What the looks of a whole day add up to.
pub(crate) struct Watch<'a> {
    lab: &'a Lab,
    day: &'a Day,
    /// How each reservation went, in the order of the day.
    pub(crate) courses: Vec<Course>,
    /// What polls cost.
    pub(crate) tally: Tally,
}

impl<'a> Watch<'a> {
    /// Watches a day from its beginning.
    pub(crate) fn new(lab: &'a Lab, day: &'a Day) -> Self {
        Self {
            lab,
            day,
            courses: vec![Course::default(); day.reservations.len()],
            tally: Tally::default(),
        }
    }

    /// Watches and shows until every reservation is settled and every rebooted host is back, the time is over, or
    /// `stop`. Plays the gateway on the way: cancels what is to be cancelled.
    pub(crate) async fn follow(&mut self, view: &mut View, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let now = self.lab.site.clock.now();
            self.read(now).await?;
            self.cancel_due(now).await?;
            view.show(&self.snapshot(now).await?)?;
            if view.wants_to_leave()? {
                stop.cancel();
            }
            let settled = self.courses.iter().all(Course::is_settled) && self.hosts_are_at_rest();
            if settled || now >= self.day.over_at() {
                return Ok(());
            }
        }
    }

    async fn read(&mut self, now: DateTime<Utc>) -> anyhow::Result<()> {
        for (reservation, course) in self.day.reservations.iter().zip(&mut self.courses) {
            if !course.is_settled() {
                let id = ReservationId::parse(reservation.id)?;
                let found = self.lab.site.reservations.find_work(&[id]).await;
                let found = found.with_context(|| format!("read reservation {}", reservation.id))?;
                let item = found.first();
                course.update(item.with_context(|| format!("reservation {} is gone", reservation.id))?);
            }
            if let Some(host) = self.lab.host(reservation.host)
                && course.is_in_steady_use(reservation, now)
            {
                self.tally.note(reservation.id, host.counts());
            }
        }
        Ok(())
    }

    async fn cancel_due(&mut self, now: DateTime<Utc>) -> anyhow::Result<()> {
        for (reservation, course) in self.day.reservations.iter().zip(&mut self.courses) {
            let is_due = matches!(reservation.ending, Ending::Cancelled(at) if at <= now);
            let is_active = course.status == Some(ReservationStatus::Active);
            if is_due && is_active && course.cancelled_at.is_none() {
                gateway::cancel(&self.lab.site, reservation).await?;
                course.cancelled_at = Some(self.lab.site.clock.now());
            }
        }
        Ok(())
    }

    /// No host goes down or comes up any more, but for one that never will.
    fn hosts_are_at_rest(&self) -> bool {
        let at_rest = |host: &SimHost| {
            // Between the order to reboot and the machine going down there is a moment in which it looks at rest.
            let log = HostLog::of(host);
            host.power() == PowerState::Ready && log.went_down() == log.reboots_ordered()
        };
        let taken = self
            .day
            .reservations
            .iter()
            .filter(|reservation| reservation.takes_the_host());
        taken
            .filter_map(|reservation| self.lab.host(reservation.host))
            .all(at_rest)
    }

    async fn snapshot(&self, now: DateTime<Utc>) -> anyhow::Result<Snapshot> {
        let states = self
            .lab
            .site
            .heartbeats
            .host_states()
            .await
            .context("read the hosts' states")?;
        let states: HashMap<String, HostState> = states
            .into_iter()
            .map(|state| (state.host.clone(), state))
            .collect();
        let settled = self.courses.iter().filter(|course| course.is_settled()).count();
        Ok(Snapshot {
            elapsed: self.day.second(now).max(0.0),
            settled: (settled, self.courses.len()),
            rows: (0..HOSTS)
                .flat_map(|host| self.rows_of(host, states.get(&host_name(host)), now))
                .collect(),
        })
    }

    fn rows_of(&self, host: usize, state: Option<&HostState>, now: DateTime<Utc>) -> Vec<Row> {
        let power = self.lab.host(host).map_or(PowerState::Off, SimHost::power);
        let row = |is_first, reservation| Row {
            host: (host_name(host), is_first),
            power,
            heartbeat: heartbeat(state, now),
            reservation,
        };
        let reserved = self.day.of_host(host).enumerate();
        let mut rows: Vec<Row> = reserved
            .map(|(at, (index, _))| row(at == 0, self.reserved_row(index, now)))
            .collect();
        if rows.is_empty() {
            rows.push(row(true, None));
        }
        rows
    }

    fn reserved_row(&self, index: usize, now: DateTime<Utc>) -> Option<ReservedRow> {
        let (reservation, course) = (self.day.reservations.get(index)?, self.courses.get(index)?);
        let ready_at = course.ready_at();
        let too_late = ready_at.unwrap_or(now) > reservation.ready_by() || course.failure().is_some();
        let in_time = ready_at.is_some_and(|at| at <= reservation.starts_at);
        Some(ReservedRow {
            id: reservation.id,
            window: format!(
                "{:.0}-{:.0}",
                self.day.second(reservation.starts_at),
                self.day.second(reservation.ends_at)
            ),
            status: course.status.map_or("", ReservationStatus::as_str),
            step: course.step(reservation, now),
            punctuality: course.punctuality(reservation, now),
            ready: ready_at.is_some(),
            on_time: if too_late {
                Some(false)
            } else {
                in_time.then_some(true)
            },
            trouble: course.trouble().map(ToString::to_string),
        })
    }
}

/// How old what the station last reported is. It grows when the host is lost.
fn heartbeat(state: Option<&HostState>, now: DateTime<Utc>) -> String {
    match state.and_then(|state| state.reported_at) {
        Some(at) => format!("{} s", (now - at).num_seconds().max(0)),
        None => "none".to_owned(),
    }
}
