use std::time::Duration;

use chrono::{DateTime, Utc};
use labstation_commands::{
    DOCUMENT_LIMIT, Heartbeat, HeartbeatError, SchemaVersion, parse_heartbeat, parse_status,
};
use serde_json::json;

const HEARTBEAT: &[u8] = include_bytes!("../data/heartbeat.json");

fn at(text: &str) -> Option<DateTime<Utc>> {
    Some(text.parse().expect("a stamp"))
}

#[test]
fn a_heartbeat_is_read_field_by_field() {
    assert_eq!(HEARTBEAT[..3], [0xef, 0xbb, 0xbf]);
    let beat = parse_heartbeat(HEARTBEAT).unwrap();
    assert_eq!(beat.reported_at, at("2026-03-01T09:00:00Z"));
    assert_eq!(beat.schema, SchemaVersion::Known { major: 1, minor: 0 });
    assert_eq!(
        (beat.host.as_deref(), beat.station_version.as_deref()),
        (Some("LAB-WS-01"), Some("3.0.3"))
    );
    assert_eq!(
        (beat.ready, beat.state.as_deref(), beat.issues.len()),
        (Some(true), Some("ready"), 0)
    );
    assert_eq!((beat.local_mode, beat.local_session), (Some(false), Some(true)));
    assert_eq!(beat.armed_count, Some(1));
    assert_eq!(beat.warnings, Vec::<String>::new());
    assert_eq!(beat.raw["status"]["power"]["activePlan"], "High performance");
}

#[test]
fn the_last_operations_are_read() {
    let beat = parse_heartbeat(HEARTBEAT).unwrap();
    let prepare = beat.last_prepare.unwrap();
    assert_eq!(
        (prepare.at, prepare.success),
        (at("2026-03-01T08:42:10Z"), Some(true))
    );
    assert_eq!(
        (prepare.duration_ms, prepare.user.as_deref()),
        (Some(63_412), Some("LABUSER"))
    );
    let release = beat.last_release.unwrap();
    assert_eq!(
        (release.at, release.success),
        (at("2026-02-28T17:01:30Z"), Some(false))
    );
    assert_eq!(
        (release.reboot_requested, release.reboot_timeout),
        (Some(true), Some(Duration::from_secs(15)))
    );
    assert_eq!(release.user, None);
    let logoff = beat.last_forced_logoff.unwrap();
    assert_eq!(
        (logoff.at, logoff.user.as_deref()),
        (at("2026-03-01T08:41:07Z"), Some("profesora.muñoz"))
    );
    let power = beat.last_power_action.unwrap();
    assert_eq!(
        (power.at, power.mode.as_deref()),
        (at("2026-02-28T20:00:00Z"), Some("hibernate"))
    );
    assert_eq!((power.forced, power.wake_ready), (Some(true), Some(false)));
}

#[test]
fn the_network_cards_are_read() {
    let nics = parse_heartbeat(HEARTBEAT).unwrap().nics;
    assert_eq!(nics.len(), 2);
    assert_eq!(
        (nics[0].name.as_deref(), nics[0].wol_ready),
        (Some("Ethernet"), Some(true))
    );
    assert_eq!(
        (nics[1].wol_ready, nics[1].wake_armed),
        (Some(false), Some(false))
    );
    assert_eq!(nics[1].issues, ["Wake on magic packet is off"]);
}

#[test]
fn utf_16_says_the_same() {
    let utf16 = include_bytes!("../data/heartbeat-utf16.json");
    let (little, utf8) = (
        parse_heartbeat(utf16).unwrap(),
        parse_heartbeat(HEARTBEAT).unwrap(),
    );
    assert_eq!(little, utf8);
    let big: Vec<u8> = utf16.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    assert_eq!(parse_heartbeat(&big).unwrap(), utf8);
    assert!(matches!(
        parse_heartbeat(&utf16[..301]),
        Err(HeartbeatError::NotText)
    ));
}

#[test]
fn a_station_that_never_did_anything_has_no_records() {
    let beat = parse_heartbeat(include_bytes!("../data/heartbeat-fresh.json")).unwrap();
    assert_eq!(beat.raw["status"], json!([]));
    assert!(beat.last_prepare.is_none() && beat.last_release.is_none());
    assert!(beat.last_forced_logoff.is_none() && beat.last_power_action.is_none());
    assert_eq!(
        (beat.local_mode, beat.local_session, beat.armed_count),
        (None, None, Some(0))
    );
    assert_eq!(
        (beat.ready, beat.state.as_deref()),
        (Some(false), Some("needs-action"))
    );
    assert_eq!(beat.issues, ["No wake-armed devices", "Autologon is off"]);
}

#[test]
fn an_odd_document_of_a_later_schema_is_read_with_a_warning() {
    let beat = parse_heartbeat(include_bytes!("../data/heartbeat-odd.json")).unwrap();
    assert_eq!(beat.reported_at, at("2026-03-01T09:00:00.5Z"));
    assert_eq!(beat.schema, SchemaVersion::Known { major: 2, minor: 1 });
    assert_eq!(beat.warnings.len(), 1);
    assert!(beat.warnings[0].contains("2.1"), "{:?}", beat.warnings);
    assert_eq!((beat.ready, beat.host.as_deref()), (Some(true), Some("7")));
    assert_eq!(beat.issues, ["one as text"]);
    assert_eq!(
        (beat.armed_count, beat.nics.len(), beat.nics[0].wol_ready),
        (Some(2), 1, Some(true))
    );
    assert_eq!((beat.local_mode, beat.local_session), (Some(true), Some(false)));
    let prepare = beat.last_prepare.unwrap();
    assert_eq!(
        (prepare.at, prepare.duration_ms, prepare.success),
        (None, Some(1500), Some(false))
    );
    assert_eq!(beat.raw["futureField"]["kept"], json!([1, 2, 3]));
}

#[test]
fn raw_control_characters_do_not_matter() {
    let beat = parse_heartbeat(include_bytes!("../data/heartbeat-control.json")).unwrap();
    assert_eq!(beat.host.as_deref(), Some("LAB\u{1}\tWS"));
    assert_eq!(
        beat.raw["operations"]["lastForcedLogoff"]["message"],
        "first line\nsecond line"
    );
    assert_eq!(beat.ready, Some(true));
}

#[test]
fn what_is_missing_is_said() {
    let beat = parse_heartbeat(b"[]").unwrap();
    assert_eq!(beat.schema, SchemaVersion::Absent);
    assert_eq!(beat.warnings.len(), 3, "{:?}", beat.warnings);
    let mangled = parse_heartbeat(b"{\"host\": \"caf\xe9\", \"schemaVersion\": \"1.0.0\"}").unwrap();
    assert_eq!(mangled.host.as_deref(), Some("caf\u{fffd}"));
    assert!(mangled.warnings[0].contains("UTF-8"));
}

#[test]
fn what_is_no_object_is_refused_with_the_reason() {
    let refusal = |bytes: &[u8]| parse_heartbeat(bytes).unwrap_err();
    for empty in [&b""[..], b"\xef\xbb\xbf", b" \r\n\0"] {
        assert!(matches!(refusal(empty), HeartbeatError::Empty));
    }
    let torn = refusal(b"{\"a\": 1,\n \"b\": tr");
    assert!(
        matches!(torn, HeartbeatError::NotJson { line: 2, .. }),
        "{torn:?}"
    );
    assert!(matches!(
        refusal(b"The system cannot find the file specified."),
        HeartbeatError::NotJson { line: 1, .. }
    ));
    assert_eq!(
        refusal(b"[1]").to_string(),
        "the document is a list, not an object"
    );
    assert_eq!(
        refusal(b"\"x\"").to_string(),
        "the document is a text, not an object"
    );
    let two_marks = [b"\xef\xbb\xbf", HEARTBEAT].concat();
    assert!(matches!(refusal(&two_marks), HeartbeatError::NotJson { .. }));
    let huge = vec![b' '; DOCUMENT_LIMIT + 1];
    assert!(matches!(
        refusal(&huge),
        HeartbeatError::TooLarge {
            limit: DOCUMENT_LIMIT,
            ..
        }
    ));
}

#[test]
fn a_document_nested_without_end_is_refused() {
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    assert!(matches!(
        parse_heartbeat(&deep),
        Err(HeartbeatError::NotJson { .. })
    ));
}

#[test]
fn a_status_is_read_like_the_heartbeat_it_is_part_of() {
    let status = parse_status(include_bytes!("../data/status.json")).unwrap();
    let Heartbeat {
        last_prepare,
        nics,
        raw,
        ..
    } = parse_heartbeat(HEARTBEAT).unwrap();
    assert_eq!(
        (status.last_prepare, status.nics, &status.raw),
        (last_prepare, nics, &raw["status"])
    );
    assert_eq!(status.reported_at, at("2026-03-01T08:59:58Z"));
    assert_eq!(
        (status.local_session, status.local_mode),
        (Some(true), Some(false))
    );
    assert_eq!(
        (status.other_users, status.lab_user_state.as_deref()),
        (vec!["técnico".to_owned()], Some("Active"))
    );
    assert!(status.warnings.is_empty());
}
