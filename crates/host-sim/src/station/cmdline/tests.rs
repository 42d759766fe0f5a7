use super::*;

fn lines(line: &str) -> Vec<String> {
    let variable = |name: &str| (name.eq_ignore_ascii_case("COMPUTERNAME")).then(|| "LAB-WS-01".to_owned());
    cmd_pieces(line, variable).into_iter().map(|p| p.line).collect()
}

#[test]
fn arguments_split_as_windows_splits_them() {
    let table: [(&str, &[&str]); 13] = [
        ("", &[]),
        ("a.exe", &["a.exe"]),
        (r#""C:\Program Files\a.exe" b"#, &[r"C:\Program Files\a.exe", "b"]),
        ("a  b\tc", &["a", "b", "c"]),
        (r#"a "b c" d"#, &["a", "b c", "d"]),
        (r#"a "" b"#, &["a", "", "b"]),
        (r"a b\c\\d", &["a", r"b\c\\d"]),
        (r#"a "b\\" c"#, &["a", r"b\", "c"]),
        (r#"a b\"c"#, &["a", r#"b"c"#]),
        (r#"a "b\\\"c" d"#, &["a", r#"b\"c"#, "d"]),
        (r#"a "he said ""no""""#, &["a", r#"he said "no""#]),
        (r#"a --reason="two words" c"#, &["a", "--reason=two words", "c"]),
        (r#"a\\\b d"e f"g h"#, &[r"a\\\b", "de fg", "h"]),
    ];
    for (line, expected) in table {
        assert_eq!(argv(line), expected, "{line}");
    }
}

#[test]
fn the_shell_sees_operators_only_outside_quotes() {
    assert_eq!(lines("echo a & whoami"), ["echo a", "whoami"]);
    assert_eq!(lines(r#"echo "a & b""#), [r#"echo "a & b""#]);
    assert_eq!(lines("echo a ^& b"), ["echo a & b"]);
    assert_eq!(lines(r#"x.exe "a\" & calc "#), [r#"x.exe "a\""#, "calc"]);
}

#[test]
fn the_shell_expands_variables_even_inside_quotes() {
    assert_eq!(
        lines(r#"echo "%computername%" %none% 100%"#),
        [r#"echo "LAB-WS-01" %none% 100%"#]
    );
}

#[test]
fn a_line_that_begins_with_a_quote_loses_the_outer_pair() {
    assert_eq!(lines(r#""C:\a b\x.exe" "c d""#), [r#"C:\a b\x.exe" "c d"#]);
    assert_eq!(lines(r#""C:\a b\x.exe""#), [r#""C:\a b\x.exe""#]);
}

#[test]
fn conditions_and_redirections_are_understood() {
    let pieces = cmd_pieces("type x 2>nul && echo y >nul || echo z", |_| None);
    let found: Vec<_> = pieces
        .iter()
        .map(|p| (p.when, p.line.as_str(), p.silent))
        .collect();
    assert_eq!(
        found,
        [
            (When::Always, "type x", false),
            (When::IfDone, "echo y", true),
            (When::IfFailed, "echo z", false)
        ]
    );
}

#[test]
fn a_line_feed_ends_the_line() {
    assert_eq!(lines("echo a\nwhoami"), ["echo a"]);
}
