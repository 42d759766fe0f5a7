//! How one reservation went so far, as the engine's own records tell it.

use chrono::{DateTime, TimeDelta, Utc};
use reservation_engine::{Operation, Reason, ReservationStatus, State, WorkItem};

use crate::day::{LEAD, Reservation, seconds};

/// What is known of one reservation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Course {
    /// As the shared table has it.
    pub(crate) status: Option<ReservationStatus>,
    /// Where waking, preparing and handing over stand.
    pub(crate) start: Option<State>,
    /// Where releasing stands.
    pub(crate) end: Option<State>,
    /// How many tries of the start were seen.
    pub(crate) tries: u32,
    /// When the gateway cancelled it.
    pub(crate) cancelled_at: Option<DateTime<Utc>>,
}

impl Course {
    /// Takes over what was just read.
    pub(crate) fn update(&mut self, item: &WorkItem) {
        let state =
            |operation: &Option<Operation>| operation.as_ref().map(|operation| operation.state.clone());
        self.status = Some(item.reservation.status);
        self.start = state(&item.start);
        self.end = state(&item.end);
        self.tries = self.tries.max(self.start.as_ref().map_or(0, State::attempt));
    }

    /// When the host was handed over.
    pub(crate) fn ready_at(&self) -> Option<DateTime<Utc>> {
        done_at(self.start.as_ref())
    }

    /// When the host was released.
    pub(crate) fn released_at(&self) -> Option<DateTime<Utc>> {
        done_at(self.end.as_ref())
    }

    /// Why a person has to look.
    pub(crate) fn failure(&self) -> Option<&Reason> {
        [&self.start, &self.end]
            .into_iter()
            .flatten()
            .find_map(|state| match state {
                State::NeedsAttention { reason, .. } => Some(reason),
                _ => None,
            })
    }

    /// Why a person has to look, or why it is being tried again.
    pub(crate) fn trouble(&self) -> Option<&Reason> {
        let waiting = [&self.start, &self.end]
            .into_iter()
            .flatten()
            .find_map(|state| match state {
                State::Waiting { reason, .. } => Some(reason),
                _ => None,
            });
        self.failure().or(waiting)
    }

    /// Whether nothing more will happen.
    pub(crate) fn is_settled(&self) -> bool {
        let is_final = |state: &Option<State>| state.as_ref().is_some_and(State::is_final);
        match self.status {
            Some(ReservationStatus::Completed | ReservationStatus::Cancelled) => is_final(&self.end),
            _ => self.failure().is_some(),
        }
    }

    /// Whether the student has the host at this instant, and nothing but polls goes there.
    pub(crate) fn is_in_steady_use(&self, reservation: &Reservation, now: DateTime<Utc>) -> bool {
        // By then the poll after the prepare has found its connection again.
        let settled_in = self.ready_at().map(|at| at + TimeDelta::seconds(4));
        let is_ours = self.status == Some(ReservationStatus::Active) && self.cancelled_at.is_none();
        is_ours && settled_in.is_some_and(|from| from <= now) && now < reservation.ends_at
    }

    /// What is being done, in a word or two that stay the same until something happens.
    pub(crate) fn step(&self, reservation: &Reservation, now: DateTime<Utc>) -> String {
        match (&self.start, &self.end) {
            (_, Some(State::Done { .. })) => "released".to_owned(),
            (_, Some(state)) | (Some(state), None) => step_of(state),
            (None, None) if reservation.starts_at - TimeDelta::seconds(LEAD) <= now => "waits".to_owned(),
            (None, None) => "planned".to_owned(),
        }
    }

    /// How punctual it is: before the host is ready, how much time is left.
    pub(crate) fn punctuality(&self, reservation: &Reservation, now: DateTime<Utc>) -> String {
        match self.ready_at() {
            Some(at) => early_or_late(reservation.starts_at - at),
            None if self.failure().is_some() => "never ready".to_owned(),
            None if now <= reservation.starts_at => {
                format!("in {:.0} s", seconds(reservation.starts_at - now))
            }
            None => format!("{:.0} s overdue", seconds(now - reservation.starts_at)),
        }
    }
}

/// `12.3 s early`, or late.
pub(crate) fn early_or_late(margin: TimeDelta) -> String {
    let margin = seconds(margin);
    let word = if margin < 0.0 { "late" } else { "early" };
    format!("{:.1} s {word}", margin.abs())
}

fn done_at(state: Option<&State>) -> Option<DateTime<Utc>> {
    match state {
        // With a note it was closed without its steps.
        Some(State::Done { at, note: None }) => Some(*at),
        _ => None,
    }
}

fn step_of(state: &State) -> String {
    match state {
        State::Pending { step, .. } => step.as_str().to_owned(),
        State::Running {
            step, attempt: 0 | 1, ..
        } => step.as_str().to_owned(),
        State::Running { step, attempt, .. } => format!("{} #{attempt}", step.as_str()),
        State::Checking { step, .. } => format!("check {}", step.as_str()),
        State::Waiting { .. } => "retry".to_owned(),
        State::Done { note: None, .. } => "in use".to_owned(),
        State::Done { note: Some(note), .. } => note.code.clone(),
        State::NeedsAttention { .. } => "gave up".to_owned(),
        State::Foreign { .. } => "left to a newer release".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::day::{Day, Ending};
    use chrono::TimeZone;
    use reservation_engine::Step;

    pub(crate) fn a_day() -> Day {
        Day::beginning(Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap())
    }

    /// A course as it ought to be: ready eleven seconds before the start, released one second after it may be.
    pub(crate) fn as_it_should_be(reservation: &Reservation) -> Course {
        let done = |at| Some(State::Done { at, note: None });
        let ready = match reservation.ending {
            Ending::CompletedAfterTurnaround => reservation.starts_at + TimeDelta::seconds(2),
            _ => reservation.starts_at - TimeDelta::seconds(11),
        };
        match reservation.ending {
            Ending::Completed | Ending::CompletedAfterTurnaround => Course {
                status: Some(ReservationStatus::Completed),
                start: done(ready),
                end: done(reservation.ends_at + TimeDelta::seconds(1)),
                tries: 1,
                cancelled_at: None,
            },
            Ending::Cancelled(at) => Course {
                status: Some(ReservationStatus::Cancelled),
                start: done(ready),
                end: done(at + TimeDelta::seconds(1)),
                tries: 1,
                cancelled_at: Some(at),
            },
            Ending::NeedsAttention(rung) => {
                let reason = Reason::new("port_closed", "nothing listens on 127.0.0.9:5985").at_rung(rung);
                let gave_up = State::NeedsAttention {
                    step: Some(Step::Wake),
                    at: reservation.ends_at,
                    reason,
                    tries: 3,
                };
                Course {
                    status: Some(ReservationStatus::Confirmed),
                    start: Some(gave_up),
                    tries: 3,
                    ..Course::default()
                }
            }
        }
    }

    #[test]
    fn a_course_is_settled_when_its_host_was_released_or_given_up() {
        for reservation in &a_day().reservations {
            let course = as_it_should_be(reservation);
            assert!(course.is_settled(), "{}", reservation.id);
            let unreleased = Course { end: None, ..course };
            assert_eq!(
                unreleased.is_settled(),
                !reservation.takes_the_host(),
                "{}",
                reservation.id
            );
        }
        assert!(!Course::default().is_settled());
    }

    #[test]
    fn an_operation_closed_without_its_steps_counts_neither_as_ready_nor_as_released() {
        let at = a_day().began_at;
        let note = Some(Reason::new("superseded", "a later one has the host"));
        let closed = Some(State::Done { at, note });
        let course = Course {
            start: closed.clone(),
            end: closed,
            ..Course::default()
        };
        assert_eq!((course.ready_at(), course.released_at()), (None, None));
    }

    #[test]
    fn punctuality_counts_down_and_then_says_early_or_late() {
        let day = a_day();
        let reservation = &day.reservations[0];
        let open = Course::default();
        assert_eq!(
            open.punctuality(reservation, reservation.starts_at - TimeDelta::seconds(7)),
            "in 7 s"
        );
        assert_eq!(
            open.punctuality(reservation, reservation.starts_at + TimeDelta::seconds(3)),
            "3 s overdue"
        );
        assert_eq!(
            as_it_should_be(reservation).punctuality(reservation, reservation.ends_at),
            "11.0 s early"
        );
        assert_eq!(early_or_late(TimeDelta::milliseconds(-1250)), "1.2 s late");
    }

    #[test]
    fn the_step_is_a_word_that_only_changes_when_something_happens() {
        let day = a_day();
        let reservation = &day.reservations[0];
        let now = reservation.starts_at - TimeDelta::seconds(LEAD);
        let mut course = Course::default();
        assert_eq!(course.step(reservation, day.began_at), "planned");
        assert_eq!(course.step(reservation, now), "waits");
        course.start = Some(State::Running {
            step: Step::Wake,
            attempt: 2,
            since: now,
            last: None,
        });
        assert_eq!(course.step(reservation, now), "wake #2");
        course = as_it_should_be(reservation);
        assert_eq!(course.step(reservation, now), "released");
    }
}
