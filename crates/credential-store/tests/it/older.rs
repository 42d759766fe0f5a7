//! Files that the older worker wrote, made by the library it used where that is to be had.

use std::process::Command;

use credential_store::{OlderEntryError, OlderError, read_older_file};
use secrecy::SecretString;

use super::*;

/// Prints a key and files in every form, one JSON object in all.
const WRITER: &str = r#"
import json
from cryptography.fernet import Fernet
key, other = Fernet.generate_key(), Fernet.generate_key()
token = lambda value, k=key: Fernet(k).encrypt(json.dumps(value).encode()).decode()
entry = {"user": "LAB\\svc", "password": "Canary \u00e9\"7Qz"}
print(json.dumps({
    "key": key.decode(), "other": other.decode(),
    "as_written": json.dumps({"credentials": {"Station-01": {"token": token(entry)}}}, indent=2) + "\n",
    "bare": json.dumps({"station-01": token(entry)}),
    "whole": token({"credentials": {"station-01": entry}}),
    "whole_json": json.dumps(token({"station-01": entry})),
    "mixed": json.dumps({"credentials": {
        "good": {"token": token(entry)}, "fe80::1": {"token": token(entry)}, "foreign": {"token": token(entry, other)},
        "empty": {}, "number": 7, "no-password": {"token": token({"user": "u"})}, "list": {"token": token([1])},
        "line": {"token": token({"user": "u", "password": "a\nb"})}, "torn": {"token": token(entry)[:-9]}}}),
}))
"#;

/// What the script wrote; `None` without a Python that has the library.
fn written() -> Option<serde_json::Value> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test finds the interpreter to run against"
    )]
    let python = std::env::var("INTEROP_PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(python).args(["-c", WRITER]).output().ok()?;
    if !output.status.success() {
        #[expect(clippy::disallowed_methods, reason = "a test reads how strict it has to be")]
        let required = std::env::var("REQUIRE_REAL").is_ok_and(|word| word == "1");
        assert!(!required, "no Python with `cryptography`");
        return None;
    }
    serde_json::from_slice(&output.stdout).ok()
}

fn secret(value: &serde_json::Value) -> SecretString {
    SecretString::from(value.as_str().unwrap())
}

#[test]
fn every_form_of_the_older_file_is_read() {
    let Some(written) = written() else { return };
    let both = SecretString::from(format!(
        "{}\n{}\n",
        written["other"].as_str().unwrap(),
        written["key"].as_str().unwrap()
    ));
    for form in ["as_written", "bare", "whole", "whole_json"] {
        for keys in [&secret(&written["key"]), &both] {
            let read = read_older_file(written[form].as_str().unwrap(), keys).unwrap();
            assert_eq!(read.len(), 1, "{form}");
            let (name, credential) = read[0].read.as_ref().unwrap();
            assert_eq!(
                (name.as_str(), credential.user()),
                ("station-01", "LAB\\svc"),
                "{form}"
            );
            assert_eq!(credential.password().expose_secret(), "Canary é\"7Qz");
            assert!(!format!("{read:?}").contains("Canary"));
        }
    }
}

#[test]
fn entries_that_cannot_be_read_are_named_and_the_others_are_read() {
    let Some(written) = written() else { return };
    let read = read_older_file(written["mixed"].as_str().unwrap(), &secret(&written["key"])).unwrap();
    let why = |name: &str| {
        let entry = read.iter().find(|entry| entry.written == name).unwrap();
        entry.read.as_ref().err().cloned()
    };
    assert_eq!(why("good"), None);
    assert!(matches!(why("fe80::1"), Some(OlderEntryError::Name(_))));
    assert_eq!(why("foreign"), Some(OlderEntryError::Token));
    assert_eq!(why("torn"), Some(OlderEntryError::Token));
    assert_eq!(why("empty"), Some(OlderEntryError::NoToken));
    assert_eq!(why("number"), Some(OlderEntryError::NoToken));
    assert_eq!(why("no-password"), Some(OlderEntryError::Content));
    assert_eq!(why("list"), Some(OlderEntryError::Content));
    assert!(matches!(why("line"), Some(OlderEntryError::Invalid(_))));
}

#[test]
fn the_older_key_is_a_key_of_ours_as_well() {
    let Some(written) = written() else { return };
    assert_eq!(
        KeyRing::parse(&secret(&written["key"])).unwrap().first_id().len(),
        8
    );
}

#[test]
fn what_is_no_such_file_or_key_is_refused() {
    let key = SecretString::from("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    for (text, expected) in [
        ("", OlderError::File),
        ("{", OlderError::File),
        ("gAAAAAB", OlderError::File),
        ("[]", OlderError::Form),
        (r#"{"credentials": []}"#, OlderError::Form),
    ] {
        assert_eq!(read_older_file(text, &key).unwrap_err(), expected, "{text}");
    }
    for (keys, line) in [("", 1), ("hunter2", 1), ("\nMDEy\n", 2)] {
        let refused = read_older_file("{}", &keys.into()).unwrap_err();
        assert_eq!(refused, OlderError::Key { line });
    }
    assert!(read_older_file("{}", &key).unwrap().is_empty());
}
