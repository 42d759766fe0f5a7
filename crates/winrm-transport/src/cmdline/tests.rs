use proptest::prelude::*;

use super::argv::{argv, operators_seen_by_cmd};
use super::*;
use crate::Command;

/// So that the round trips below prove something about Windows.
#[test]
fn the_model_of_the_parser_reads_recorded_lines_as_windows_does() {
    let table = include_str!("../../tests/data/quoting.json");
    let table: serde_json::Value = serde_json::from_str(table).unwrap();
    let mut rows = 0;
    for row in ["quoted", "raw"]
        .iter()
        .flat_map(|part| table[part].as_array().unwrap())
    {
        let line = row["line"].as_str().unwrap();
        let found = argv(&format!("x.exe{line}"));
        assert_eq!(serde_json::json!(found[1..]), row["argv"], "{line:?}");
        rows += 1;
    }
    assert!(rows >= 500);
}

#[test]
fn arguments_are_quoted_only_when_needed() {
    for (arg, line) in [
        ("plain", "plain"),
        ("", "\"\""),
        ("a b", "\"a b\""),
        (r"C:\x\", r"C:\x\"),
        (r"C:\a b\", r#""C:\a b\\""#),
        ("a\"b", "a\\\"b"),
        (r#"a\"b c"#, r#""a\\\"b c""#),
        ("a&b", "\"a&b\""),
        ("Prüfung ß", "\"Prüfung ß\""),
    ] {
        assert_eq!(quote(arg), line, "{arg:?}");
    }
}

#[test]
fn text_that_cmd_would_misread_is_refused_by_position() {
    for bad in ["100%", "hey!", "say \"x\"", "a\nb"] {
        let refused = Command::new("x.exe").arg("fine").arg(bad).line().unwrap_err();
        assert!(
            matches!(refused, CommandRefused::UnsafeForCmd { position: 2, .. }),
            "{bad:?}: {refused}"
        );
        assert!(
            Command::new("x.exe")
                .arg("fine")
                .arg(bad)
                .allow_cmd_metacharacters(true)
                .line()
                .is_ok()
        );
    }
    assert!(
        Command::new("x.exe")
            .arg("a & b | c < d > e ^ (f)")
            .line()
            .is_ok()
    );
}

#[test]
fn characters_that_xml_cannot_carry_are_refused_even_when_cmd_is_allowed() {
    let refused = Command::new("x.exe")
        .arg("a\u{7}")
        .allow_cmd_metacharacters(true)
        .line()
        .unwrap_err();
    assert_eq!(
        refused,
        CommandRefused::IllegalCharacter {
            position: 1,
            character: '\u{7}'
        }
    );
    assert!(refused.to_string().contains("U+0007"));
}

#[test]
fn a_program_that_would_need_quotes_is_refused_by_default() {
    assert!(Command::new(r"C:\Program Files\x.exe").line().is_err());
    assert!(Command::new("").line().is_err());
    let line = Command::new(r"C:\Program Files\x.exe")
        .arg("a")
        .allow_cmd_metacharacters(true)
        .line()
        .unwrap();
    assert_eq!(argv(&line), [r"C:\Program Files\x.exe", "a"]);
}

#[test]
fn the_length_limit_depends_on_the_shell() {
    let long = Command::new("x.exe").arg("a".repeat(9_000));
    assert!(long.line().is_ok());
    assert!(matches!(
        long.skip_cmd_shell(false).line(),
        Err(CommandRefused::TooLong { limit: 8_191, .. })
    ));
    assert!(Command::new("x.exe").arg("a".repeat(32_762)).line().is_err());
    assert!(Command::new("x.exe").arg("a".repeat(32_761)).line().is_ok());
}

proptest! {
    #[test]
    fn every_argument_survives_the_round_trip(args in prop::collection::vec(r#"[ \t\\"a&%(ü]{0,12}"#, 0..6)) {
        let line = Command::new("x.exe").args(args.clone()).allow_cmd_metacharacters(true).line().unwrap();
        prop_assert_eq!(&argv(&line)[1..], &args[..]);
    }

    #[test]
    fn what_is_not_refused_shows_cmd_no_operator(args in prop::collection::vec(r#"[ \\a&|<>^()"%!]{0,10}"#, 0..5)) {
        if let Ok(line) = Command::new("x.exe").args(args.clone()).line() {
            prop_assert_eq!(operators_seen_by_cmd(&line), 0);
            prop_assert!(!line.contains(['%', '!']));
            prop_assert_eq!(&argv(&line)[1..], &args[..]);
        }
    }
}
