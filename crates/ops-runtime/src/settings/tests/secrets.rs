use std::fs;

use lab_model::{Catalog, SecretRef};
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use store_support::DatabaseUrl;

use super::*;
use crate::settings::secret;

/// What `MYSQL_DSN` came to.
fn dsn(loaded: &Loaded) -> &str {
    loaded.settings.database_url.as_ref().unwrap().expose_secret()
}

fn file_of(bytes: &[u8]) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let name = file.path().display().to_string();
    (file, name)
}

#[test]
fn a_secret_that_could_be_guessed_is_warned_of_without_being_shown() {
    let long = "sixteen-letters!";
    let warnings = |secret, internal| {
        let pairs = [("OPS_SECRET", secret), ("OPS_INTERNAL_AUTH_TOKEN", internal)];
        read(&pairs).unwrap().warnings
    };
    assert_eq!(warnings(long, long), [""; 0]);
    let warned = warnings("change-me", "hunter2");
    assert!(
        warned[0].starts_with("OPS_SECRET: is shorter than 16"),
        "{warned:?}"
    );
    assert!(warned[1].starts_with("OPS_INTERNAL_AUTH_TOKEN: "), "{warned:?}");
    assert!(!warned.concat().contains("change-me") && !warned.concat().contains("hunter2"));
}

#[test]
fn every_secret_may_lie_in_a_file() {
    let (_kept, key) = file_of(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n");
    let (_kept, token) = file_of(b"t0ken-t0ken-t0ken\r\n");
    let (_kept, url) = file_of(b"mysql://u:p@h/d\n");
    let loaded = read(&[
        ("OPS_SECRET_FILE", &token),
        ("MYSQL_DSN_FILE", &url),
        ("OPS_SECRETS_KEY_FILE", &key),
    ])
    .unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(
        loaded.settings.api.secret.as_ref().unwrap().expose_secret(),
        "t0ken-t0ken-t0ken"
    );
    assert_eq!(dsn(&loaded), "mysql://u:p@h/d");
    // Computed by `printf 01234567890123456789012345678901 | sha256sum`.
    assert_eq!(
        loaded.settings.secrets_key.as_ref().unwrap().first_id(),
        "861009ec"
    );
}

#[test]
fn every_secret_variable_has_its_file_form_and_no_other_has() {
    let (_kept, name) = file_of(b"Canary-7Qz");
    for variable in VARIABLES {
        let by_file = format!("{}_FILE", variable.name);
        assert_eq!(is_known(&by_file), variable.secret, "{by_file}");
        if !variable.secret {
            continue;
        }
        let told = match read(&[(&by_file, "/gone/secret")]) {
            Ok(loaded) => panic!("{by_file} is not read: {loaded:?}"),
            Err(error) => error.to_string(),
        };
        assert!(told.contains(&by_file) && told.contains("/gone/secret"), "{told}");
        let both = read(&[(variable.name, "Canary-7Qz"), (&by_file, &name)]).unwrap_err();
        assert!(
            both.0
                .iter()
                .any(|problem| *problem
                    == format!("{}: and {by_file} are both set; choose one", variable.name)),
            "{both}"
        );
        assert!(!both.to_string().contains("Canary"), "{both}");
    }
}

#[test]
fn one_line_break_is_cut_and_nothing_else() {
    for (bytes, expected) in [
        (&b"pw"[..], "pw"),
        (b"pw\n", "pw"),
        (b"pw\r\n", "pw"),
        (b" p w \n", " p w "),
        (b"pw\n\n", "pw\n"),
    ] {
        let (_kept, name) = file_of(bytes);
        let read = read_secret_file(Path::new(&name)).unwrap();
        assert_eq!(read.expose_secret(), expected);
    }
}

#[test]
fn a_file_that_gives_no_secret_is_named_with_the_reason_and_without_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().display().to_string();
    let long = vec![b'x'; 64 * 1024 + 1];
    for (bytes, part) in [
        (&b""[..], "is empty"),
        (b"\n", "is empty"),
        (b"Canary-\xff\xfe", "is not UTF-8 text"),
        (&long, "is larger than 64 KiB"),
    ] {
        let (_kept, name) = file_of(bytes);
        let told = read(&[("OPS_SECRET_FILE", &name)]).unwrap_err().to_string();
        assert!(
            told.starts_with("OPS_SECRET_FILE: ") && told.contains(part),
            "{told}"
        );
        assert!(!told.contains("Canary"), "{told}");
    }
    let told = read(&[("OPS_SECRET_FILE", &folder)]).unwrap_err().to_string();
    assert!(told.contains("is no regular file"), "{told}");
    // A variable that is there but empty is as if it were not there.
    assert!(read(&[("OPS_SECRET_FILE", ""), ("OPS_SECRET", "x")]).is_ok());
}

#[test]
fn secrets_of_the_catalog_come_from_variables_and_files() {
    let (_kept, name) = file_of(b"from-file\n");
    let variables = |wanted: &str| match wanted {
        "A" => Some("from-env".to_owned()),
        "B_FILE" | "C_FILE" => Some(name.clone()),
        "C" => Some("twice".to_owned()),
        "D_FILE" => Some("/gone".to_owned()),
        _ => None,
    };
    let of = |reference| secret::resolve(reference, &variables);
    assert_eq!(of(SecretRef::Variable("A")).unwrap(), "from-env");
    assert_eq!(of(SecretRef::Variable("B")).unwrap(), "from-file");
    assert_eq!(of(SecretRef::File(&name)).unwrap(), "from-file");
    for (variable, part) in [("C", "both set"), ("D", "D_FILE"), ("E", "is not set or empty")] {
        let told = of(SecretRef::Variable(variable)).unwrap_err();
        assert!(told.contains(part) && !told.contains("twice"), "{told}");
    }
    let text = format!(
        r#"{{"hosts": [{{"name": "x", "address": "10.0.0.1", "winrm_user": "file:{name}", "winrm_pass": "env:B"}}]}}"#
    );
    let catalog = Catalog::parse_with(&text, &|reference| secret::resolve(reference, &variables)).unwrap();
    assert_eq!(catalog.hosts()[0].winrm.user, "from-file");
}

const PARTS: [(&str, &str); 4] = [
    ("MYSQL_HOSTNAME", "db.lab"),
    ("OPS_MYSQL_DATABASE", "gateway"),
    ("OPS_BACKEND_MYSQL_USER", "ops"),
    ("OPS_BACKEND_MYSQL_PASSWORD", "p@:/?#[]%&=+ '\"\\"),
];

#[test]
fn the_parts_of_the_database_make_its_address() {
    let loaded = read(&PARTS).unwrap();
    let url = DatabaseUrl::parse(dsn(&loaded)).unwrap();
    let server = url.server().unwrap();
    assert_eq!(
        (server.host, server.port, server.database),
        ("db.lab", 3306, "gateway")
    );
    assert_eq!(server.user, Some("ops"));
    assert_eq!(server.password.unwrap().expose_secret(), PARTS[3].1);
    for (host, port, shown) in [
        ("::1", "3307", "mysql://ops:***@[::1]:3307/gateway"),
        ("10.0.0.5", "1", "mysql://ops:***@10.0.0.5:1/gateway"),
    ] {
        let mut parts = PARTS.to_vec();
        parts[0].1 = host;
        parts.push(("MYSQL_PORT", port));
        let loaded = read(&parts).unwrap();
        assert_eq!(DatabaseUrl::parse(dsn(&loaded)).unwrap().shown(), shown);
    }
}

#[test]
fn half_a_set_names_what_is_missing() {
    for left_out in 0..PARTS.len() {
        let mut parts = PARTS.to_vec();
        let (missing, _) = parts.remove(left_out);
        let error = read(&parts).unwrap_err();
        let expected = format!("{missing}: is missing beside {}", parts[0].0);
        assert_eq!(error.0, [expected]);
    }
    let only_port = read(&[("MYSQL_PORT", "3306")]).unwrap_err();
    assert_eq!(only_port.0.len(), 4, "{only_port}");
    assert!(only_port.0[0].starts_with("MYSQL_HOSTNAME: is missing beside MYSQL_PORT"));
}

#[test]
fn both_ways_to_name_the_database_must_agree() {
    let same = "mysql+pymysql://ops:p%40%3A%2F%3F%23%5B%5D%25%26%3D%2B%20%27%22%5C@db.lab:3306/gateway?charset=utf8mb4";
    let mut all = PARTS.to_vec();
    all.push(("MYSQL_DSN", same));
    all.push(("MYSQL_PORT", "3306"));
    assert_eq!(dsn(&read(&all).unwrap()), same);
    for (name, other) in [
        ("MYSQL_HOSTNAME", "db2.lab"),
        ("MYSQL_PORT", "3307"),
        ("OPS_MYSQL_DATABASE", "other"),
        ("OPS_BACKEND_MYSQL_USER", "root"),
        ("OPS_BACKEND_MYSQL_PASSWORD", "Canary-7Qz"),
    ] {
        let mut all = all.clone();
        all.iter_mut().find(|(known, _)| *known == name).unwrap().1 = other;
        let error = read(&all).unwrap_err();
        assert_eq!(error.0.len(), 1, "{error}");
        assert!(
            error.0[0].starts_with(&format!("{name}: says otherwise than MYSQL_DSN")),
            "{error}"
        );
        assert!(!error.to_string().contains("Canary"), "{error}");
        // A part alone beside the whole address is compared as well.
        let error = read(&[("MYSQL_DSN", same), (name, other)]).unwrap_err();
        assert!(error.0[0].starts_with(name), "{error}");
    }
    let error = read(&[("MYSQL_DSN", "sqlite:x.db"), ("MYSQL_HOSTNAME", "h")]).unwrap_err();
    assert!(
        error.0[0].starts_with("MYSQL_HOSTNAME: says otherwise"),
        "{error}"
    );
}

#[test]
fn parts_that_no_address_can_hold_are_refused_by_name() {
    for (name, value) in [
        ("MYSQL_HOSTNAME", "db/lab"),
        ("MYSQL_HOSTNAME", "u@db"),
        ("MYSQL_PORT", "0"),
        ("OPS_MYSQL_DATABASE", "a/b"),
        ("OPS_BACKEND_MYSQL_USER", "a\tb"),
        ("OPS_BACKEND_MYSQL_PASSWORD", "Canary\n7Qz"),
    ] {
        let mut parts = PARTS.to_vec();
        parts.retain(|(known, _)| *known != name);
        parts.push((name, value));
        let error = read(&parts).unwrap_err();
        assert_eq!(error.0.len(), 1, "{error}");
        assert!(
            error.0[0].starts_with(name) && !error.0[0].contains("Canary"),
            "{error}"
        );
    }
}

#[test]
fn a_ring_of_keys_that_is_none_is_named_with_its_line_only() {
    let error = read(&[("OPS_SECRETS_KEY", "a:MDEy\nCanary")]).unwrap_err();
    assert_eq!(error.0.len(), 1, "{error}");
    assert!(error.0[0].starts_with("OPS_SECRETS_KEY: line 1"), "{error}");
    assert!(!error.to_string().contains("MDEy") && !error.to_string().contains("Canary"));
}

proptest! {
    #[test]
    fn any_password_and_user_comes_back_out_of_the_address(user in "[^\\pC\\s]{1,30}", password in "[^\\pC\\s][^\\pC]{0,60}") {
        let mut parts = PARTS.to_vec();
        parts[2].1 = &user;
        parts[3].1 = &password;
        let loaded = read(&parts).unwrap();
        let url = DatabaseUrl::parse(dsn(&loaded)).unwrap();
        let server = url.server().unwrap();
        prop_assert_eq!(server.user, Some(user.as_str()));
        prop_assert_eq!(server.password.unwrap().expose_secret(), password.as_str());
        let (told, whole) = (format!("{loaded:?}{url:?}"), format!(":{password}@"));
        prop_assert!(password == "***" || !told.contains(&whole));
    }
}
