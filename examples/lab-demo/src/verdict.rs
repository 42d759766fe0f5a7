//! Whether the day went as it should: each reservation by its records, each host by its own log.

use chrono::{DateTime, TimeDelta, Utc};
use reservation_engine::ReservationStatus;

use crate::course::{Course, early_or_late};
use crate::day::{Day, END_DELAY, Ending, HOSTS, Reservation, host_name, seconds};
use crate::effects::{Deed, HostLog};

/// How long after it became due a release may be over, in seconds: the call, and a machine that has other things to do.
const RELEASE_TAKES: i64 = 10;

/// Everything that is not as it should be, one line each. `logs` are those of the hosts, in their order.
pub(crate) fn problems(day: &Day, courses: &[Course], logs: &[HostLog]) -> Vec<String> {
    let mut problems = Vec::new();
    for (reservation, course) in day.reservations.iter().zip(courses) {
        if let Err(problem) = judge(reservation, course) {
            problems.push(format!(
                "{} on {}: {problem}",
                reservation.id,
                host_name(reservation.host)
            ));
        }
    }
    for host in 0..HOSTS {
        let log = logs.get(host).cloned().unwrap_or_default();
        if let Err(problem) = judge_host(day, host, &log) {
            problems.push(format!("{}: {problem}", host_name(host)));
        }
    }
    problems
}

/// Whether one reservation ended as it should.
pub(crate) fn judge(reservation: &Reservation, course: &Course) -> Result<(), String> {
    match reservation.ending {
        Ending::Completed => {
            was_ready(reservation, course)?;
            was_released(
                course,
                reservation.ends_at + TimeDelta::seconds(END_DELAY),
                reservation,
            )?;
            has_status(course, ReservationStatus::Completed)
        }
        Ending::CompletedAfterTurnaround => {
            was_ready(reservation, course)?;
            let early = course.ready_at().is_some_and(|at| at < reservation.starts_at);
            if early {
                return Err("the host was taken from the student before".to_owned());
            }
            was_released(
                course,
                reservation.ends_at + TimeDelta::seconds(END_DELAY),
                reservation,
            )?;
            has_status(course, ReservationStatus::Completed)
        }
        Ending::Cancelled(_) => {
            was_ready(reservation, course)?;
            let at = course.cancelled_at.ok_or("it was never cancelled")?;
            was_released(course, at, reservation)?;
            has_status(course, ReservationStatus::Cancelled)
        }
        Ending::NeedsAttention(rung) => {
            let reason = course.failure().ok_or("it was not given up")?;
            if reason.rung.as_deref() != Some(rung) {
                return Err(format!("it failed otherwise than at rung {rung}: {reason}"));
            }
            has_status(course, ReservationStatus::Confirmed)
        }
    }
}

fn was_ready(reservation: &Reservation, course: &Course) -> Result<(), String> {
    match (course.ready_at(), course.failure()) {
        (Some(at), _) if at <= reservation.ready_by() => Ok(()),
        (Some(at), _) => Err(format!(
            "the host was ready {}",
            early_or_late(reservation.starts_at - at)
        )),
        (None, Some(reason)) => Err(format!("the host was never ready: {reason}")),
        (None, None) => Err("the host was never ready".to_owned()),
    }
}

fn was_released(course: &Course, due_at: DateTime<Utc>, reservation: &Reservation) -> Result<(), String> {
    let at = course.released_at().ok_or("the host was not released")?;
    let late = at - due_at;
    if late > TimeDelta::seconds(RELEASE_TAKES) + reservation.slack {
        return Err(format!("the host was released {:.1} s late", seconds(late)));
    }
    Ok(())
}

fn has_status(course: &Course, wanted: ReservationStatus) -> Result<(), String> {
    match course.status {
        Some(status) if status == wanted => Ok(()),
        status => Err(format!(
            "its status is {}, not {}",
            status.map_or("unknown", ReservationStatus::as_str),
            wanted.as_str()
        )),
    }
}

/// Whether a host got each command it should get, once and in order, and nothing else.
fn judge_host(day: &Day, host: usize, log: &HostLog) -> Result<(), String> {
    let taken = day
        .of_host(host)
        .filter(|(_, reservation)| reservation.takes_the_host())
        .count();
    let commands = log.commands();
    let as_expected = commands.len() == 2 * taken
        && commands
            .chunks(2)
            .all(|pair| matches!(pair, [Deed::Prepare, Deed::Release { .. }]));
    if !as_expected {
        return Err(format!(
            "{taken} times prepare, then release were due; it got {commands:?}"
        ));
    }
    if log.went_down_between_prepares() {
        return Err("it went down while the next student was about to begin".to_owned());
    }
    if log.went_down() != log.reboots_ordered() {
        return Err(format!(
            "{} reboots were ordered, it went down {} times",
            log.reboots_ordered(),
            log.went_down()
        ));
    }
    Ok(())
}

/// The hosts without a reservation to which a magic packet was sent. `firsts` says for each host when its first came.
pub(crate) fn woken_for_nothing(day: &Day, firsts: &[Option<DateTime<Utc>>]) -> Vec<String> {
    let is_idle = |host: &usize| day.of_host(*host).next().is_none();
    let woken = (0..HOSTS)
        .filter(is_idle)
        .filter(|host| firsts.get(*host).copied().flatten().is_some());
    woken
        .map(|host| format!("{}: it was woken for nothing", host_name(host)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::tests::{a_day, as_it_should_be};
    use reservation_engine::{Reason, State};

    fn logs(day: &Day) -> Vec<HostLog> {
        let log = |host| {
            let mut deeds = Vec::new();
            let taken: Vec<_> = day
                .of_host(host)
                .filter(|(_, reservation)| reservation.takes_the_host())
                .collect();
            for (at, (_, reservation)) in taken.iter().enumerate() {
                let last = at + 1 == taken.len();
                deeds.push((reservation.starts_at, Deed::Prepare));
                deeds.push((reservation.ends_at, Deed::Release { reboot: last }));
                if last {
                    deeds.push((reservation.ends_at, Deed::WentDown));
                }
            }
            HostLog(deeds)
        };
        (0..HOSTS).map(log).collect()
    }

    fn courses(day: &Day) -> Vec<Course> {
        day.reservations.iter().map(as_it_should_be).collect()
    }

    fn reservation<'a>(day: &'a Day, id: &str) -> &'a Reservation {
        day.reservations
            .iter()
            .find(|reservation| reservation.id == id)
            .unwrap()
    }

    #[test]
    fn a_day_as_it_should_be_has_no_problems() {
        let day = a_day();
        assert_eq!(problems(&day, &courses(&day), &logs(&day)), Vec::<String>::new());
    }

    #[test]
    fn a_day_on_which_nothing_happened_is_wrong_for_every_reservation() {
        let day = a_day();
        let nothing = vec![Course::default(); day.reservations.len()];
        let found = problems(&day, &nothing, &logs(&day));
        assert_eq!(found.len(), day.reservations.len(), "{found:?}");
    }

    #[test]
    fn a_host_that_is_ready_after_the_start_is_late() {
        let day = a_day();
        let class = reservation(&day, "class-1");
        let at = class.starts_at + TimeDelta::milliseconds(1500);
        let late = Course {
            start: Some(State::Done { at, note: None }),
            ..as_it_should_be(class)
        };
        assert_eq!(
            judge(class, &late),
            Err("the host was ready 1.5 s late".to_owned())
        );
    }

    #[test]
    fn a_turnaround_may_be_a_little_late_but_never_early() {
        let day = a_day();
        let second = reservation(&day, "pair-2");
        let ready = |offset| {
            let at = second.starts_at + TimeDelta::seconds(offset);
            judge(
                second,
                &Course {
                    start: Some(State::Done { at, note: None }),
                    ..as_it_should_be(second)
                },
            )
        };
        assert_eq!(ready(5), Ok(()));
        assert!(ready(30).is_err());
        assert!(ready(-5).is_err());
    }

    #[test]
    fn a_host_that_fails_at_another_rung_is_a_surprise() {
        let day = a_day();
        let dead = reservation(&day, "no-boot");
        let reason = Reason::new("heartbeat_stale", "old").at_rung("heartbeat_ready");
        let at = dead.ends_at;
        let start = Some(State::NeedsAttention {
            step: None,
            at,
            reason,
            tries: 3,
        });
        assert!(
            judge(
                dead,
                &Course {
                    start,
                    ..as_it_should_be(dead)
                }
            )
            .unwrap_err()
            .contains("heartbeat_ready")
        );
    }

    #[test]
    fn a_cancelled_reservation_must_be_released_at_once_and_stay_cancelled() {
        let day = a_day();
        let cancelled = reservation(&day, "dropped");
        let course = as_it_should_be(cancelled);
        let completed = Course {
            status: Some(ReservationStatus::Completed),
            ..course.clone()
        };
        assert!(judge(cancelled, &completed).unwrap_err().contains("COMPLETED"));
        let end = Some(State::Done {
            at: cancelled.ends_at,
            note: None,
        });
        assert!(
            judge(cancelled, &Course { end, ..course })
                .unwrap_err()
                .contains("late")
        );
    }

    #[test]
    fn a_command_that_hit_a_host_twice_or_out_of_order_is_found() {
        let day = a_day();
        let twice = |change: &dyn Fn(&mut Vec<HostLog>)| {
            let mut logs = logs(&day);
            change(&mut logs);
            problems(&day, &courses(&day), &logs)
        };
        let at = day.began_at;
        assert_eq!(twice(&|logs| logs[0].0.insert(0, (at, Deed::Prepare))).len(), 1);
        assert_eq!(
            twice(&|logs| logs[6].0.swap(1, 2)).len(),
            1,
            "prepared before the release"
        );
        assert_eq!(
            twice(&|logs| logs[6].0.insert(2, (at, Deed::WentDown))).len(),
            1,
            "rebooted in between"
        );
        assert_eq!(
            twice(&|logs| logs[11].0.push((at, Deed::Other("power shutdown".into())))).len(),
            1,
            "idle"
        );
        assert_eq!(
            twice(&|logs| logs[1].0.push((at, Deed::WentDown))).len(),
            1,
            "rebooted twice"
        );
    }

    #[test]
    fn a_packet_to_a_host_without_a_reservation_is_found() {
        let day = a_day();
        let mut firsts: Vec<_> = (0..HOSTS)
            .map(|host| (host < 9).then_some(day.began_at))
            .collect();
        assert_eq!(woken_for_nothing(&day, &firsts), Vec::<String>::new());
        firsts[10] = Some(day.began_at);
        assert_eq!(
            woken_for_nothing(&day, &firsts),
            ["lab-ws-11: it was woken for nothing"]
        );
    }
}
