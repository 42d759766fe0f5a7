use proptest::prelude::*;

use super::*;

fn resolve(reference: SecretRef<'_>) -> Result<String, String> {
    match reference {
        SecretRef::Variable("PW") => Ok("from-env".to_owned()),
        SecretRef::File("/run/secrets/pw") => Ok("from-file".to_owned()),
        SecretRef::File("/run/secrets/lines") => Ok("two\nlines".to_owned()),
        other => Err(format!("{other} is not there")),
    }
}

fn with(keys: &serde_json::Value) -> Result<Catalog, CatalogError> {
    let mut entry = json!({"name": "lab-ws-01", "address": "10.0.0.11"});
    entry
        .as_object_mut()
        .unwrap()
        .extend(keys.as_object().unwrap().clone());
    Catalog::parse_with(&json!({"hosts": [entry]}).to_string(), &resolve)
}

fn problem_of(keys: &serde_json::Value) -> String {
    with(keys).unwrap_err().to_string()
}

#[test]
fn a_secret_is_text_a_variable_or_a_file() {
    for (written, meant) in [
        ("env:PW", "from-env"),
        ("file:/run/secrets/pw", "from-file"),
        ("file:not-a-path", "file:not-a-path"),
        ("plain", "plain"),
    ] {
        let catalog = with(&json!({"winrm_user": "u", "winrm_pass": written})).unwrap();
        let password = &catalog.hosts()[0].winrm.password;
        assert_eq!(secrecy::ExposeSecret::expose_secret(password), meant);
    }
    for (written, said) in [
        ("env:NOBODY", "the variable NOBODY is not there"),
        ("file:/gone", "the file /gone is not there"),
        (
            "file:/run/secrets/lines",
            "the file /run/secrets/lines contains a control character",
        ),
    ] {
        let told = problem_of(&json!({"winrm_user": "u", "winrm_pass": written}));
        assert!(told.contains(said) && told.contains("winrm_pass"), "{told}");
    }
}

#[test]
fn a_stored_credential_takes_the_place_of_user_and_password() {
    for key in ["winrm_credential_ref", "credential_ref"] {
        let catalog = with(&json!({ key: " Station-01 " })).unwrap();
        let host = &catalog.hosts()[0];
        let found = host.winrm.credential.as_ref().map(CredentialRef::as_str);
        assert_eq!((found, host.winrm.user.as_str()), (Some("station-01"), ""));
        assert_eq!(host.public_view()["winrm_credential_ref"], "station-01");
    }
    let kerberos =
        json!({"winrm_credential_ref": "x", "winrm_transport": "kerberos", "winrm_kerberos_host": "h"});
    assert!(with(&kerberos).is_ok(), "whose realm it is shows when it is used");
}

#[test]
fn a_stored_credential_that_cannot_be_meant_is_refused_with_its_key() {
    for (keys, key, part) in [
        (
            json!({"winrm_credential_ref": "a b"}),
            "winrm_credential_ref",
            "must be 1 to 64",
        ),
        (
            json!({"winrm_credential_ref": "x".repeat(65)}),
            "winrm_credential_ref",
            "must be 1 to 64",
        ),
        (
            json!({"winrm_credential_ref": "x", "winrm_pass": "p"}),
            "winrm_pass",
            "choose one",
        ),
        (
            json!({"winrm_credential_ref": "x", "winrm_user": "u"}),
            "winrm_user",
            "choose one",
        ),
        (
            json!({"winrm_credential_ref": "x", "credential_ref": "y"}),
            "credential_ref",
            "says otherwise",
        ),
    ] {
        let told = problem_of(&keys);
        assert!(
            told.contains(&format!("key {key:?}")) && told.contains(part),
            "{told}"
        );
    }
}

#[test]
fn comments_are_neither_shown_nor_warned_of() {
    let keys = json!({"winrm_user": "u", "winrm_pass": "p", "//": "x", "// mac": "y", "_comment": "z", "_comment_2": 1,
                      "$schema": "s", "room": "B-204"});
    let catalog = with(&keys).unwrap();
    assert_eq!(catalog.warnings(), []);
    let extra: Vec<_> = catalog.hosts()[0].extra.keys().collect();
    assert_eq!(extra, ["room"]);
    let whole = r#"{"$schema": "hosts.schema.json", "//": "ours", "hosts": []}"#;
    assert_eq!(Catalog::parse_with(whole, &resolve).unwrap().warnings(), []);
}

#[test]
fn a_slip_of_the_pen_is_warned_of_with_the_key_that_was_meant() {
    for (slip, meant) in [
        ("winrm_prot", "winrm_port"),
        ("winrm-ca-file", "winrm_ca_file"),
        ("Labs", "labs"),
        ("heartbeat_paht", "heartbeat_path"),
        ("wake_attemps", "wake_attempts"),
    ] {
        let catalog = with(&json!({"winrm_user": "u", "winrm_pass": "p", slip: "1"})).unwrap();
        let warned: Vec<_> = catalog.warnings().iter().map(ToString::to_string).collect();
        assert_eq!(warned.len(), 1, "{slip}");
        assert!(
            warned[0].contains(slip) && warned[0].contains(&format!("did you mean {meant:?}?")),
            "{warned:?}"
        );
    }
    let own = json!({"winrm_user": "u", "winrm_pass": "p", "room": 1, "notes": 2, "rack": 3, "owner": 4});
    assert_eq!(with(&own).unwrap().warnings(), []);
    let other = Catalog::parse_with(r#"{"Hosts": []}"#, &resolve).unwrap();
    assert_eq!(other.warnings()[0].key, "Hosts");
}

#[test]
fn the_defaults_of_the_table_are_those_of_an_entry() {
    let catalog = with(&json!({"winrm_user": "u", "winrm_pass": "p"})).unwrap();
    let view = catalog.hosts()[0].public_view();
    for key in [
        "winrm_transport",
        "broadcast",
        "wol_port",
        "wake_attempts",
        "labstation_exe",
        "heartbeat_path",
    ] {
        let written = CATALOG_KEYS
            .iter()
            .find(|known| known.name == key)
            .unwrap()
            .default;
        let shown = view[key]
            .as_str()
            .map_or_else(|| view[key].to_string(), str::to_owned);
        assert_eq!(written.trim_matches('`'), shown, "{key}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,200}") {
        let _ = Catalog::parse_with(&text, &resolve);
    }

    #[test]
    fn whatever_stands_under_any_key_a_secret_is_never_told(
        key in prop::sample::select(CATALOG_KEYS.iter().map(|key| key.name).collect::<Vec<_>>()),
        value in prop_oneof![
            Just(json!(null)), Just(json!([])), Just(json!({"a": 1})), Just(json!(true)), Just(json!(-1)),
            Just(json!("\u{7}")), Just(json!(" ")), "\\PC{1,40}".prop_map(|text| json!(text)),
        ],
    ) {
        let mut keys = json!({"winrm_user": "u", "winrm_pass": "Canary-7Qz"});
        keys[key] = value;
        let told = match with(&keys) {
            Ok(catalog) => format!("{:?}{}", catalog, catalog.hosts()[0].public_view()),
            Err(error) => format!("{error}{error:?}"),
        };
        prop_assert!(!told.contains("Canary-7Qz"), "{told}");
    }

    #[test]
    fn a_credential_name_is_kept_in_lower_case_or_refused(text in "\\PC{0,80}") {
        if let Ok(name) = CredentialRef::parse(&text) {
            prop_assert_eq!(name.as_str(), text.trim().to_ascii_lowercase());
            prop_assert_eq!(CredentialRef::parse(name.as_str()).unwrap(), name);
        }
    }
}
