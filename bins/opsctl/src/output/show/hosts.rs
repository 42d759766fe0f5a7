//! Hosts and their heartbeats.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{booking, both, count, some, state, yes_no};
use crate::client::model::{Claim, Host, HostList, Maintenance, Polled};
use crate::output::table::facts;
use crate::output::{Cell, Style, Table, Tone, clean};
use crate::when::{span, span_ms};

/// The list.
pub(crate) fn hosts(list: &HostList, style: &Style) -> String {
    let mut table = Table::new(["host", "labs", "liveness", "heartbeat", "now", "next", "notes"]);
    for host in &list.hosts {
        let liveness = host.liveness.as_ref();
        let bookings = host.reservations.as_ref();
        table.row([
            Cell::or_dash(host.name.as_ref()),
            Cell::or_dash(Some(host.labs.join(","))),
            state(liveness.and_then(|liveness| liveness.verdict.as_deref())),
            Cell::or_dash(
                liveness
                    .and_then(|liveness| liveness.heartbeat_age_ms)
                    .map(|age| format!("{} ago", span_ms(age))),
            ),
            booking(bookings.and_then(|bookings| bookings.current.as_ref()), style),
            booking(bookings.and_then(|bookings| bookings.next.as_ref()), style),
            notes(host),
        ]);
    }
    let mut text = table.render(style, "No hosts.");
    if let Some(at) = list.generated_at {
        let line = format!("{} hosts, {}", list.hosts.len(), style.moment.both(at));
        text.push_str(&Tone::Faint.paint(&line, style));
        text.push('\n');
    }
    text
}

/// What is out of the ordinary, in a few words.
fn notes(host: &Host) -> Cell {
    let mut notes = Vec::new();
    let mut tone = Tone::Plain;
    if let Some(maintenance) = &host.maintenance {
        notes.push(format!(
            "maintenance: {}",
            maintenance.reason.as_deref().unwrap_or("no reason given")
        ));
        tone = Tone::Warning;
    }
    let station = host.state.as_ref();
    if station.and_then(|station| station.local_mode) == Some(true) {
        notes.push("local mode".to_owned());
    }
    if station.and_then(|station| station.local_session) == Some(true) {
        notes.push("somebody is logged on".to_owned());
    }
    if let Some(failures) = host.failures_in_row.filter(|failures| *failures > 0) {
        let code = host
            .last_failure
            .as_ref()
            .and_then(|failure| failure.code.as_deref());
        let failures = count(failures, "failure");
        notes.push(format!("{failures} in a row: {}", code.unwrap_or("unknown")));
        tone = Tone::Bad;
    }
    Cell::toned(notes.join("; "), tone)
}

/// One host.
pub(crate) fn host(host: &Host, style: &Style) -> String {
    let liveness = host.liveness.clone().unwrap_or_default();
    let station = host.state.clone().unwrap_or_default();
    let bookings = host.reservations.clone().unwrap_or_default();
    facts(
        &[
            ("host", some(host.name.as_deref())),
            ("address", some(host.address.as_deref())),
            ("mac", some(host.mac.as_deref())),
            ("labs", some(Some(&host.labs.join(", ")))),
            ("winrm", winrm(host)),
            (
                "liveness",
                liveness.verdict.as_deref().map(|verdict| state(Some(verdict))),
            ),
            ("because", some(liveness.reason.as_deref())),
            (
                "heartbeat",
                liveness
                    .heartbeat_age_ms
                    .map(|age| Cell::from(format!("{} ago", span_ms(age)))),
            ),
            ("station's time", both(station.reported_at, style)),
            (
                "clock differs",
                station.clock_offset_ms.map(|ms| Cell::from(offset(ms))),
            ),
            ("ready", yes_no(station.ready)),
            ("local mode", yes_no(station.local_mode)),
            ("logged on", yes_no(station.local_session)),
            ("maintenance", maintenance(host, style)),
            (
                "now",
                bookings.current.as_ref().map(|it| booking(Some(it), style)),
            ),
            ("next", bookings.next.as_ref().map(|it| booking(Some(it), style))),
            ("claimed", host.claim.as_ref().map(claim)),
            (
                "lead",
                host.lead
                    .as_ref()
                    .and_then(|lead| lead.ms)
                    .map(|ms| Cell::from(span_ms(ms))),
            ),
            (
                "failures in a row",
                host.failures_in_row
                    .map(|failures| Cell::from(failures.to_string())),
            ),
            ("last failure", last_failure(host, style)),
        ],
        style,
    )
}

/// How far the station's clock is from ours.
fn offset(ms: i64) -> String {
    let distance = span_ms(ms.unsigned_abs());
    match ms {
        0 => "not at all".to_owned(),
        1.. => format!("{distance} ahead"),
        // The report had been lying there for a while.
        _ => format!("at most {distance} behind, the report's age included"),
    }
}

fn winrm(host: &Host) -> Option<Cell> {
    let winrm = host.winrm.as_ref()?;
    let transport = winrm.transport.as_deref().unwrap_or("?");
    let port = winrm
        .port
        .map(|port| format!(" on port {port}"))
        .unwrap_or_default();
    Some(match winrm.tls {
        Some(true) => Cell::from(format!("{transport}{port}, TLS")),
        _ => Cell::from(format!("{transport}{port}, no TLS")),
    })
}

fn maintenance(host: &Host, style: &Style) -> Option<Cell> {
    let text = in_maintenance(host.maintenance.as_ref()?, style);
    Some(Cell::toned(text, Tone::Warning))
}

/// Why and until when, in one line.
pub(crate) fn in_maintenance(maintenance: &Maintenance, style: &Style) -> String {
    let mut text = maintenance
        .reason
        .clone()
        .unwrap_or_else(|| "no reason given".to_owned());
    if let Some(owner) = &maintenance.owner {
        text.push_str(&format!(", by {owner}"));
    }
    if let Some(since) = maintenance.since {
        text.push_str(&format!(", since {}", style.moment.both(since)));
    }
    if let Some(until) = maintenance.until {
        text.push_str(&format!(", until {}", style.moment.both(until)));
    }
    text
}

pub(super) fn claim(claim: &Claim) -> Cell {
    let holder = claim.holder.as_deref().unwrap_or("somebody");
    match claim.left_ms {
        Some(left) => Cell::from(format!("by {holder}, for another {}", span_ms(left))),
        None => Cell::from(format!("by {holder}")),
    }
}

fn last_failure(host: &Host, style: &Style) -> Option<Cell> {
    let failure = host.last_failure.as_ref()?;
    let text = failure
        .text
        .as_deref()
        .or(failure.code.as_deref())
        .unwrap_or("unknown");
    let at = failure
        .at
        .map(|at| format!(", {}", style.moment.both(at)))
        .unwrap_or_default();
    Some(Cell::toned(format!("{text}{at}"), Tone::Bad))
}

/// A heartbeat that was asked for.
pub(crate) fn polled(polled: &Polled, style: &Style) -> String {
    let mut text = facts(
        &[
            ("host", some(polled.host.as_deref())),
            ("took", polled.duration_ms.map(|ms| Cell::from(span_ms(ms)))),
            ("stored", yes_no(polled.persisted)),
            (
                "station's time",
                stamp(&polled.heartbeat).and_then(|at| both(Some(at), style)),
            ),
            ("ready", truth(&polled.heartbeat, "/summary/ready")),
            ("local mode", truth(&polled.heartbeat, "/status/localModeEnabled")),
            (
                "logged on",
                truth(&polled.heartbeat, "/status/localSessionActive"),
            ),
            (
                "last event",
                polled
                    .last_event
                    .as_ref()
                    .map(|event| Cell::from(event.to_string())),
            ),
        ],
        style,
    );
    for warning in &polled.warnings {
        text.push_str(&Tone::Warning.paint(&format!("warning: {}", clean(warning)), style));
        text.push('\n');
    }
    text
}

fn stamp(heartbeat: &Value) -> Option<DateTime<Utc>> {
    let text = heartbeat.get("timestamp")?.as_str()?;
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

fn truth(heartbeat: &Value, pointer: &str) -> Option<Cell> {
    yes_no(heartbeat.pointer(pointer)?.as_bool())
}

/// One event of the stream of heartbeats, on one line.
pub(crate) fn heartbeat(name: &str, document: &Value, style: &Style) -> String {
    let text = |key: &str| document.get(key).and_then(Value::as_str);
    let host = clean(text("host").unwrap_or("?"));
    let time = Tone::Faint.paint(&style.moment.clock(style.moment.now), style);
    if name == "error" {
        let why = text("error").or(text("code")).unwrap_or("no heartbeat");
        return format!("{time}  {host}  {}\n", Tone::Bad.paint(&clean(why), style));
    }
    if name == "liveness" {
        let (verdict, why) = (text("verdict").unwrap_or("?"), text("reason").unwrap_or_default());
        let verdict = super::tone_of(verdict).paint(&clean(verdict), style);
        return format!("{time}  {host}  {verdict}: {}\n", clean(why));
    }
    let heartbeat = document
        .get("heartbeat")
        .filter(|heartbeat| heartbeat.is_object())
        .unwrap_or(document);
    let said = |pointer: &str| heartbeat.pointer(pointer).and_then(Value::as_bool);
    let mut words = vec![match said("/summary/ready").or(said("/ready")) {
        Some(true) => Tone::Good.paint("ready", style),
        Some(false) => Tone::Warning.paint("not ready", style),
        None => "readiness unknown".to_owned(),
    }];
    if said("/status/localModeEnabled") == Some(true) {
        words.push("local mode".to_owned());
    }
    if said("/status/localSessionActive") == Some(true) {
        words.push("somebody is logged on".to_owned());
    }
    // The document may be one that was kept before; these are of the report itself.
    let instant = |key: &str| {
        let at = DateTime::parse_from_rfc3339(text(key)?).ok()?;
        Some(at.to_utc())
    };
    let reported_at = instant("reported_at").or_else(|| stamp(heartbeat));
    if let Some(at) = reported_at {
        let seen_at = instant("observed_at").unwrap_or(style.moment.now);
        let age = (seen_at - at).abs().to_std().unwrap_or_default();
        words.push(format!("station's time differs by {}", span(age)));
    }
    format!("{time}  {host}  {}\n", words.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{plain, read};
    use super::*;

    fn a_host() -> Value {
        json!({"name": "lab-ws-01", "address": "10.0.0.1", "mac": null, "labs": ["12", 13],
            "winrm": {"transport": "ntlm", "port": 5986, "tls": true},
            "liveness": {"verdict": "fresh", "reason": "heartbeat is young", "heartbeatAgeMs": 12_000},
            "state": {"ready": true, "localMode": false, "localSession": 1, "reportedAt": "2026-03-01T08:59:48Z", "clockOffsetMs": -1500},
            "failuresInRow": 0, "lastFailure": null,
            "maintenance": {"reason": "new disk\u{1b}[2J", "owner": "ada", "since": "2026-03-01T08:00:00Z", "until": null},
            "reservations": {"current": {"reservationId": "0xab", "labId": "12", "status": "ACTIVE",
                "start": "2026-03-01T08:30:00.000Z", "end": "2026-03-01T09:30:00.000Z"}, "next": null},
            "claim": {"holder": "w-1", "leftMs": 9000}, "lead": {"ms": 150_000}, "somethingNew": {}})
    }

    #[test]
    fn hosts_are_a_line_each() {
        let list: HostList = read(
            json!({"hosts": [a_host(), {"name": "bare"}], "total": 2, "generatedAt": "2026-03-01T09:00:00Z"}),
        );
        assert_eq!(
            hosts(&list, &plain()),
            "HOST       LABS   LIVENESS  HEARTBEAT  NOW                       NEXT  NOTES\n\
             lab-ws-01  12,13  fresh     12 s ago   0xab 09:30:00 - 10:30:00  -     maintenance: new disk\\u{1b}[2J; somebody is logged on\n\
             bare       -      -         -          -                         -\n\
             2 hosts, 10:00:00 (now)\n"
        );
        assert_eq!(hosts(&HostList::default(), &plain()), "No hosts.\n");
    }

    #[test]
    fn one_host_is_shown_with_all_that_is_known() {
        assert_eq!(
            host(&read(a_host()), &plain()),
            "host               lab-ws-01\n\
             address            10.0.0.1\n\
             labs               12, 13\n\
             winrm              ntlm on port 5986, TLS\n\
             liveness           fresh\n\
             because            heartbeat is young\n\
             heartbeat          12 s ago\n\
             station's time     09:59:48 (12 s ago)\n\
             clock differs      at most 1 s behind, the report's age included\n\
             ready              yes\n\
             local mode         no\n\
             logged on          yes\n\
             maintenance        new disk\\u{1b}[2J, by ada, since 09:00:00 (60 min ago)\n\
             now                0xab 09:30:00 - 10:30:00\n\
             claimed            by w-1, for another 9 s\n\
             lead               2 min\n\
             failures in a row  0\n"
        );
    }

    #[test]
    fn a_heartbeat_is_one_line() {
        let beat = json!({"host": "h", "heartbeat": {"timestamp": "2026-03-01T08:59:58Z", "summary": {"ready": false},
            "status": {"localModeEnabled": true}}});
        assert_eq!(
            heartbeat("heartbeat", &beat, &plain()),
            "10:00:00  h  not ready, local mode, station's time differs by 2 s\n"
        );
        let verdict = json!({"host": "h", "verdict": "silent", "reason": "no answer for 3 min"});
        assert_eq!(
            heartbeat("liveness", &verdict, &plain()),
            "10:00:00  h  silent: no answer for 3 min\n"
        );
        let error = json!({"host": "h", "error": "no answer\u{7}"});
        assert_eq!(
            heartbeat("error", &error, &plain()),
            "10:00:00  h  no answer\\u{7}\n"
        );
    }

    #[test]
    fn a_poll_says_what_the_station_said_and_whether_it_was_stored() {
        let answer = json!({"host": "h", "heartbeat": {"timestamp": "2026-03-01T08:59:58Z", "summary": {"ready": true}},
            "last_event": null, "duration_ms": 40, "persisted": true, "warnings": ["operations is a list"]});
        assert_eq!(
            polled(&read(answer), &plain()),
            "host            h\ntook            40 ms\nstored          yes\nstation's time  09:59:58 (2 s ago)\nready           yes\n\
             warning: operations is a list\n"
        );
    }
}
