//! Whatever a host sends, nothing here panics.

use labstation_commands::{
    last_event, parse_cim_datetime, parse_events, parse_heartbeat, parse_stamp, parse_status,
};
use proptest::prelude::*;

const HEARTBEAT: &[u8] = include_bytes!("../data/heartbeat.json");

/// Values of every kind in the places that are looked at.
fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(|n| (f64::from(n) / 4.0).into()),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    let key = prop::sample::select(vec![
        "timestamp",
        "schemaVersion",
        "summary",
        "ready",
        "issues",
        "operations",
        "lastPrepareSession",
        "durationMs",
        "lastReleaseSession",
        "rebootTimeout",
        "wake",
        "nicPower",
        "armedCount",
        "status",
        "localModeEnabled",
    ]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|pairs| pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = (parse_heartbeat(&bytes), parse_status(&bytes), parse_events(&bytes), last_event(&bytes));
    }

    #[test]
    fn arbitrary_utf_16_never_panics(bytes: Vec<u8>, little: bool) {
        let mark: &[u8] = if little { &[0xff, 0xfe] } else { &[0xfe, 0xff] };
        let bytes = [mark, &bytes].concat();
        let _ = (parse_heartbeat(&bytes), parse_events(&bytes));
    }

    #[test]
    fn arbitrary_stamps_never_panic(text in any::<String>(), digits in "[0-9TZ:.+ -]{0,30}") {
        let _ = (parse_stamp(&text), parse_stamp(&digits), parse_cim_datetime(&text), parse_cim_datetime(&digits));
    }

    #[test]
    fn a_damaged_heartbeat_never_panics(at in 0..HEARTBEAT.len(), byte: u8, cut in 0..HEARTBEAT.len()) {
        let mut bytes = HEARTBEAT.to_vec();
        bytes[at] = byte;
        let _ = (parse_heartbeat(&bytes), parse_heartbeat(&bytes[..cut]), parse_events(&bytes));
    }

    #[test]
    fn an_object_of_any_content_is_read(value in any_value()) {
        let text = value.to_string();
        let empty_list = value.as_array().is_some_and(Vec::is_empty);
        prop_assert_eq!(parse_heartbeat(text.as_bytes()).is_ok(), value.is_object() || empty_list);
        if value.is_object() {
            prop_assert_eq!(parse_status(text.as_bytes()).map(|status| status.raw).ok(), Some(value));
        }
    }
}
