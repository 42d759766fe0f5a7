//! The manual and the completions.

use crate::program::run;

const MANUAL: &str = include_str!("../../../../docs/opsctl.md");

#[test]
fn the_manual_in_the_documents_is_the_programs_own() {
    let manual = opsctl::manual();
    assert!(
        MANUAL == manual,
        "write it anew: cargo run -p opsctl -- manual > docs/opsctl.md"
    );
    assert_eq!(run(&[], &["manual"]).expect(0).out, manual);
}

#[test]
fn completions_are_there_for_the_usual_shells() {
    for (shell, word) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef opsctl"),
        ("fish", "complete -c opsctl"),
    ] {
        let ran = run(&[], &["completions", shell]);
        ran.expect(0);
        assert!(
            ran.out.contains(word) && ran.out.contains("maintenance"),
            "{shell}"
        );
    }
}

#[test]
fn help_names_every_command_and_costs_nothing() {
    let ran = run(&[], &["--help"]);
    ran.expect(0);
    for word in ["hosts", "explain", "wake", "watch", "--token-file"] {
        assert!(ran.out.contains(word), "{word}");
    }
    run(&[], &["--version"]).expect(0);
}
