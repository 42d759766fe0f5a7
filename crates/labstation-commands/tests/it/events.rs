use labstation_commands::{DOCUMENT_LIMIT, last_event, parse_events};

const WHOLE: &[u8] = include_bytes!("../data/events.jsonl");
const TORN: &[u8] = include_bytes!("../data/events-torn.jsonl");

fn users(bytes: &[u8]) -> Vec<String> {
    parse_events(bytes)
        .events
        .into_iter()
        .filter_map(|event| event.user)
        .collect()
}

#[test]
fn every_line_is_an_event() {
    let found = parse_events(WHOLE);
    assert_eq!(users(WHOLE), ["user6", "user7", "user8"]);
    assert_eq!((found.torn, found.bad_lines, found.skipped_bytes), (None, 0, 0));
    let last = last_event(WHOLE).unwrap();
    assert_eq!(last.at.unwrap().to_rfc3339(), "2026-03-01T08:00:00+00:00");
    assert_eq!(
        (last.session_id.as_deref(), last.message.as_deref()),
        (Some("1"), Some("A reservation begins"))
    );
    assert_eq!(last.raw["grace"], 90);
}

#[test]
fn a_torn_line_is_set_aside_and_hides_nothing() {
    let found = parse_events(TORN);
    assert_eq!(users(TORN), ["user6", "user7"]);
    assert_eq!(found.torn.map(|line| line.len()), Some(40));
    assert_eq!(found.bad_lines, 1);
    assert_eq!(last_event(TORN).unwrap().user.as_deref(), Some("user7"));
}

#[test]
fn a_last_line_counts_once_it_is_a_whole_object() {
    let without_end = &WHOLE[..WHOLE.len() - 1];
    assert_eq!(users(without_end), ["user6", "user7", "user8"]);
    for cut in 2..100 {
        let found = parse_events(&WHOLE[..WHOLE.len() - cut]);
        assert_eq!(
            (found.events.len(), found.torn.is_some()),
            (2, true),
            "cut by {cut}"
        );
    }
}

#[test]
fn an_empty_file_has_no_events() {
    for bytes in [&b""[..], b"\xef\xbb\xbf", b"\r\n \n\n"] {
        assert_eq!(last_event(bytes), None);
        assert_eq!(parse_events(bytes), labstation_commands::Events::default());
    }
}

#[test]
fn a_mark_is_no_mark_within_the_file() {
    let twice = [WHOLE, WHOLE].concat();
    let found = parse_events(&twice);
    assert_eq!((found.events.len(), found.bad_lines), (5, 1));
}

#[test]
fn of_a_file_without_measure_the_end_is_read() {
    let line = br#"{"user":"u","timestamp":"2026-03-01T08:00:00Z"}"#;
    let mut bytes = Vec::new();
    while bytes.len() <= DOCUMENT_LIMIT {
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    let found = parse_events(&bytes);
    assert_eq!((found.bad_lines, found.torn), (0, None));
    assert!(
        found.skipped_bytes > 0 && found.skipped_bytes <= 2 * (line.len() + 1),
        "{}",
        found.skipped_bytes
    );
    assert_eq!(
        found.events.len(),
        (bytes.len() - found.skipped_bytes) / (line.len() + 1)
    );
}
