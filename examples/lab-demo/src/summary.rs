//! What is said at the end: how punctual each reservation was, why one failed, what it all cost.

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use host_sim::{Counts, Farm};

use crate::call;
use crate::course::{Course, early_or_late};
use crate::day::{Day, Ending, LEAD, Reservation, host_name, seconds};
use crate::effects::{HostLog, first_packet_at};
use crate::lab::Lab;
use crate::tally::Steady;
use crate::verdict::{judge, problems, woken_for_nothing};

/// The summary, and whether the day went as it should.
pub(crate) struct Summary {
    /// To be printed.
    pub(crate) text: String,
    /// What is not as it should be, one line each.
    pub(crate) problems: Vec<String>,
}

impl Summary {
    /// Draws up the summary while the services still run.
    pub(crate) async fn of(lab: &Lab, day: &Day, courses: &[Course], steady: Steady) -> Self {
        let logs: Vec<HostLog> = lab.farm.hosts().iter().map(HostLog::of).collect();
        let mut problems = problems(day, courses, &logs);
        let mut text = reservations(day, courses);
        text += &costs(&total(&lab.farm), steady);
        let firsts: Vec<_> = lab.farm.hosts().iter().map(first_packet_at).collect();
        problems.extend(woken_for_nothing(day, &firsts));
        text += &first_packets(day, &firsts).unwrap_or_default();
        match ask_the_api(lab, day).await {
            Ok(line) => text += &line,
            Err(error) => problems.push(format!("the API: {error:#}")),
        }
        Self { text, problems }
    }

    /// What is printed last: all is well, or what is not.
    pub(crate) fn verdict(&self) -> String {
        if self.problems.is_empty() {
            return "Every reservation ended as it should; each host got each command once, in order."
                .to_owned();
        }
        format!("NOT as it should be:\n  - {}", self.problems.join("\n  - "))
    }
}

fn reservations(day: &Day, courses: &[Course]) -> String {
    let mut text = "Reservations (released: so long after the end, or the cancellation)\n".to_owned();
    for (reservation, course) in day.reservations.iter().zip(courses) {
        let mark = if judge(reservation, course).is_ok() {
            "ok"
        } else {
            "NO"
        };
        let margin = |at| format!("ready {}", early_or_late(reservation.starts_at - at));
        let ready = course.ready_at().map_or_else(|| "never ready".to_owned(), margin);
        let host = host_name(reservation.host);
        let ended = ended(reservation, course);
        let _ = writeln!(
            text,
            "  {mark} {:<8} {host}  {ready:<18}  {ended}",
            reservation.id
        );
        if reservation.ending == Ending::CompletedAfterTurnaround {
            text += "     the student before had the host until this one's start\n";
        }
        if let Some(reason) = course.failure() {
            let rung = reason.rung.as_deref().unwrap_or("none");
            let _ = writeln!(text, "     rung {rung}, {}:\n     {}", reason.code, reason.detail);
        }
    }
    text
}

fn ended(reservation: &Reservation, course: &Course) -> String {
    let status = course
        .status
        .map_or_else(|| "unknown".to_owned(), |status| status.as_str().to_lowercase());
    if course.failure().is_some() {
        return format!("{status}, needs attention; {} tries", course.tries);
    }
    let Some(released_at) = course.released_at() else {
        return format!("{status}, not released");
    };
    let since = match (reservation.ending, course.cancelled_at) {
        (Ending::Cancelled(_), Some(at)) => at,
        _ => reservation.ends_at,
    };
    format!("{status}, released after {:.1} s", seconds(released_at - since))
}

fn costs(counts: &Counts, steady: Steady) -> String {
    let mut text = "Counted by the simulated hosts\n".to_owned();
    let _ = writeln!(
        text,
        "  {} magic packets; {} commands over WinRM, at most {} at once on a host;\n  \
         {} HTTP requests on {} connections, {} NTLM and {} TLS handshakes",
        counts.packets_valid,
        counts.commands,
        counts.max_commands_at_once,
        counts.requests,
        counts.connections,
        counts.handshakes,
        counts.tls_handshakes,
    );
    match steady.requests_per_poll() {
        Some(requests) => {
            let _ = writeln!(
                text,
                "  one heartbeat poll in the steady state: {requests:.2} HTTP requests\n  \
                 ({} polls; {} connections, {} handshakes, {} shells were opened for them)",
                steady.polls, steady.connections, steady.handshakes, steady.shells,
            );
        }
        None => text += "  no heartbeat poll was seen in the steady state\n",
    }
    text
}

/// How long after the first instant at which each host was due its first packet arrived.
fn first_packets(day: &Day, firsts: &[Option<DateTime<Utc>>]) -> Option<String> {
    let lags = firsts.iter().enumerate().filter_map(|(host, at)| {
        let (_, first) = day.of_host(host).next()?;
        Some(seconds((*at)? - (first.starts_at - TimeDelta::seconds(LEAD))))
    });
    let worst = lags.fold(None, |worst: Option<f64>, lag| {
        Some(worst.map_or(lag, |worst| worst.max(lag)))
    })?;
    Some(format!(
        "  each host's first magic packet came at most {worst:.2} s after it was due\n"
    ))
}

/// Sums up the counters of all hosts.
fn total(farm: &Farm) -> Counts {
    farm.hosts()
        .iter()
        .map(|host| host.counts())
        .fold(Counts::default(), |sum, counts| Counts {
            connections: sum.connections + counts.connections,
            open_connections: sum.open_connections + counts.open_connections,
            tls_handshakes: sum.tls_handshakes + counts.tls_handshakes,
            handshakes: sum.handshakes + counts.handshakes,
            refused_credentials: sum.refused_credentials + counts.refused_credentials,
            requests: sum.requests + counts.requests,
            open_shells: sum.open_shells + counts.open_shells,
            shells_created: sum.shells_created + counts.shells_created,
            commands: sum.commands + counts.commands,
            max_commands_at_once: sum.max_commands_at_once.max(counts.max_commands_at_once),
            packets_valid: sum.packets_valid + counts.packets_valid,
            packets_invalid: sum.packets_invalid + counts.packets_invalid,
        })
}

/// What a caller sees of it.
async fn ask_the_api(lab: &Lab, day: &Day) -> anyhow::Result<String> {
    let (health, _) = call::get(lab.address, "/health").await?;
    let mut operations = 0;
    for reservation in &day.reservations {
        let path = timeline_path(reservation.id);
        let (status, document) = call::get(lab.address, &path).await?;
        anyhow::ensure!(status == 200, "GET {path} answered {status}");
        operations += document["pagination"]["total"].as_u64().unwrap_or_default();
    }
    anyhow::ensure!(health == 200, "GET /health answered {health}");
    anyhow::ensure!(operations > 0, "the timelines are empty");
    Ok(format!(
        "The API at http://{}\n  /health 200; the timelines hold {operations} operations\n",
        lab.address
    ))
}

fn timeline_path(id: &str) -> String {
    format!("/api/reservations/timeline?reservationId={id}")
}

/// How to call the API while it runs.
pub(crate) fn invitation(lab: &Lab) -> Vec<String> {
    let url = format!("http://{}", lab.address);
    let body = serde_json::json!({ "host": host_name(0) });
    vec![
        format!("The API listens on {url}; try it while it runs:"),
        format!("  curl '{url}{}'", timeline_path("class-1")),
        format!("  curl {url}/api/heartbeat/poll -d '{body}'"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::tests::{a_day, as_it_should_be};

    #[test]
    fn each_reservation_has_a_line_and_the_failed_one_its_rung_and_reason() {
        let day = a_day();
        let courses: Vec<Course> = day.reservations.iter().map(as_it_should_be).collect();
        let text = reservations(&day, &courses);
        let line = |id: &str| {
            text.lines()
                .find(|line| line.contains(id))
                .unwrap()
                .trim_end()
                .to_owned()
        };
        assert_eq!(
            line("class-1"),
            "  ok class-1  lab-ws-01  ready 11.0 s early  completed, released after 1.0 s"
        );
        assert!(line("pair-2").contains("ready 2.0 s late"));
        assert!(line("dropped").ends_with("cancelled, released after 1.0 s"));
        assert!(line("no-boot").ends_with("confirmed, needs attention; 3 tries"));
        assert!(line("rung").ends_with("rung tcp_port, port_closed:"));
        assert!(text.contains("nothing listens on 127.0.0.9:5985"));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn the_worst_first_packet_is_stated() {
        let day = a_day();
        let due = day.reservations[0].starts_at - TimeDelta::seconds(LEAD);
        let firsts = [
            Some(due + TimeDelta::milliseconds(120)),
            Some(due + TimeDelta::milliseconds(340)),
            None,
        ];
        assert!(first_packets(&day, &firsts).unwrap().contains("at most 0.34 s"));
        assert_eq!(first_packets(&day, &[None]), None);
    }

    #[test]
    fn a_reservation_that_went_wrong_is_marked() {
        let day = a_day();
        let courses = vec![Course::default(); day.reservations.len()];
        let text = reservations(&day, &courses);
        assert_eq!(text.matches("NO ").count(), day.reservations.len());
        let summary = Summary {
            text,
            problems: vec!["class-1 on lab-ws-01: late".to_owned()],
        };
        assert_eq!(
            summary.verdict(),
            "NOT as it should be:\n  - class-1 on lab-ws-01: late"
        );
    }

    #[test]
    fn the_cost_of_a_poll_is_stated_with_what_it_was_measured_on() {
        let steady = Steady {
            polls: 50,
            requests: 150,
            ..Steady::default()
        };
        let text = costs(&Counts::default(), steady);
        assert!(
            text.contains("3.00 HTTP requests\n  (50 polls; 0 connections"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
