use proptest::prelude::*;

use super::*;
use crate::Command;

/// The rules of `CommandLineToArgvW`, written down a second time and from the other side.
fn argv(line: &str) -> Vec<String> {
    let chars: Vec<char> = line.chars().collect();
    let mut args = Vec::new();
    let mut i = 0;
    let first_end = if chars.first() == Some(&'"') {
        let end = chars
            .iter()
            .skip(1)
            .position(|c| *c == '"')
            .map_or(chars.len(), |p| p + 1);
        args.push(chars[1..end].iter().collect());
        end + 1
    } else {
        let end = chars
            .iter()
            .position(|c| matches!(c, ' ' | '\t'))
            .unwrap_or(chars.len());
        args.push(chars[..end].iter().collect());
        end
    };
    i += first_end;
    loop {
        while i < chars.len() && matches!(chars[i], ' ' | '\t') {
            i += 1;
        }
        if i >= chars.len() {
            return args;
        }
        let (mut arg, mut quoted) = (String::new(), false);
        while i < chars.len() && (quoted || !matches!(chars[i], ' ' | '\t')) {
            let slashes = chars[i..].iter().take_while(|c| **c == '\\').count();
            i += slashes;
            if chars.get(i) == Some(&'"') {
                arg.extend(std::iter::repeat_n('\\', slashes / 2));
                if slashes % 2 == 1 {
                    arg.push('"');
                } else if quoted && chars.get(i + 1) == Some(&'"') {
                    arg.push('"');
                    i += 1;
                } else {
                    quoted = !quoted;
                }
                i += 1;
            } else {
                arg.extend(std::iter::repeat_n('\\', slashes));
                if slashes == 0 {
                    arg.push(chars[i]);
                    i += 1;
                }
            }
        }
        args.push(arg);
    }
}

/// Where `cmd.exe` would see an operator: outside quotes, with every quote toggling.
fn operators_seen_by_cmd(line: &str) -> usize {
    let mut quoted = false;
    line.chars()
        .filter(|c| {
            quoted ^= *c == '"';
            !quoted && "&|<>^()".contains(*c)
        })
        .count()
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
