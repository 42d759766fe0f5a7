//! Stored credentials: written over the API and by the program's own orders, used by hosts, never given out.

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use store_support::each_backend;
use store_support::test_support::on_mysql;
use store_support::{Database, DatabaseSettings, DatabaseUrl};

use crate::API;
use crate::harness::{Lab, awake, dsn, execute};
use crate::http::{Answer, call};
use crate::service::Service;

const PATH: &str = "/api/hosts/winrm-credentials";
/// 32 bytes of one letter each.
const KEY: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
const NEW_KEY: &str = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
const PASSWORD: &str = "Canary stored \"7Qz\"!";

/// A lab whose first host names a stored credential.
async fn a_lab() -> Lab {
    let mut spec = awake(1);
    spec.password = PASSWORD.into();
    let lab = Lab::start(vec![spec, awake(2)]).await;
    name_credential(&lab, "Station-01");
    lab.with("OPS_SECRETS_KEY", format!("a:{KEY}"))
}

fn name_credential(lab: &Lab, name: &str) {
    lab.write_catalog(|entries| {
        let entry = entries[0].as_object_mut().unwrap();
        entry.remove("winrm_user");
        entry.remove("winrm_pass");
        entry.insert("winrm_credential_ref".into(), json!(name));
    });
}

fn stored(lab: &Lab) -> Value {
    json!({"credentialRef": "station-01", "user": lab.sim(1).spec().user, "password": PASSWORD})
}

async fn poll(service: &Service, host: &str) -> Answer {
    service.post("/api/heartbeat/poll", json!({"host": host})).await
}

async fn delete(service: &Service, name: &str) -> Answer {
    let json = [("content-type", "application/json")];
    let path = format!("{PATH}/{name}");
    call(service.address(), "DELETE", &path, &json, "").await
}

each_backend! {
    async fn a_host_is_reached_as_soon_as_its_credential_is_stored_and_no_longer_than_it_is_there(test) {
        let lab = a_lab().await.on(&test);
        crate::harness::migrate(test.database()).await;
        let sent = stored(&lab);
        let service = Service::start_in(lab).await;
        let missing = poll(&service, "lab-ws-01").await.expect(502);
        assert_eq!(missing["code"], "credential_missing");
        assert!(missing["error"].as_str().unwrap().contains("station-01"), "{missing}");
        poll(&service, "lab-ws-02").await.expect(200);

        let made = service.post(PATH, sent.clone()).await.expect(201);
        assert_eq!(made, json!({"credentialRef": "station-01", "keyId": "a", "created": true, "hosts": ["lab-ws-01"]}));
        poll(&service, "lab-ws-01").await.expect(200);

        let taken = service.post(PATH, sent.clone()).await.expect(409);
        assert_eq!((&taken["code"], &taken["field"]), (&json!("credential_exists"), &json!("credentialRef")));
        let mut wrong = sent.clone();
        wrong["password"] = json!("Canary-wrong");
        wrong["overwrite"] = json!(true);
        let replaced = service.post(PATH, wrong).await.expect(200);
        assert_eq!(replaced["created"], false);
        assert_eq!(poll(&service, "lab-ws-01").await.expect(502)["code"], "unauthorized");
        let mut right = sent;
        right["overwrite"] = json!(true);
        service.post(PATH, right).await.expect(200);
        poll(&service, "lab-ws-01").await.expect(200);

        let gone = delete(&service, "STATION-01").await.expect(200);
        assert_eq!(gone, json!({"credentialRef": "station-01", "hosts": ["lab-ws-01"]}));
        assert_eq!(poll(&service, "lab-ws-01").await.expect(502)["code"], "credential_missing");
        assert_eq!(delete(&service, "station-01").await.expect(404)["code"], "unknown_credential");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_shows_names_keys_and_ages_and_never_an_account_or_a_password() {
    let lab = a_lab().await;
    let user = lab.sim(1).spec().user.clone();
    let mut sent = stored(&lab);
    let service = Service::start_in(lab).await;
    for name in ["c", "station-01", "a.b_C-1"] {
        sent["credentialRef"] = json!(name);
        service.post(PATH, sent.clone()).await.expect(201);
    }
    let answer = service.get(PATH).await;
    let body = answer.expect(200);
    assert_eq!(
        (&body["total"], &body["keyConfigured"], &body["next"]),
        (&json!(3), &json!(true), &Value::Null)
    );
    let names: Vec<_> = body["credentials"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["credentialRef"])
        .collect();
    assert_eq!(names, ["a.b_c-1", "c", "station-01"]);
    let last = &body["credentials"][2];
    assert_eq!((&last["keyId"], &last["keyKnown"]), (&json!("a"), &json!(true)));
    assert_eq!(
        (&last["hosts"], &last["updatedBy"]),
        (&json!(["lab-ws-01"]), &json!("anybody"))
    );
    assert!(
        last["ageMs"].is_u64() && last["createdAt"].as_str().unwrap().ends_with('Z'),
        "{last}"
    );
    assert!(
        !answer.text.contains("Canary") && !answer.text.contains(&user),
        "{}",
        answer.text
    );

    let page = service.get(&format!("{PATH}?limit=2")).await.expect(200);
    assert_eq!(page["next"], "c");
    let rest = service.get(&format!("{PATH}?limit=2&after=c")).await.expect(200);
    assert_eq!(
        (rest["credentials"].as_array().unwrap().len(), &rest["next"]),
        (1, &Value::Null)
    );
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("after=a%20b", "after"),
    ] {
        service.get(&format!("{PATH}?{query}")).await.expect_field(field);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_stored_is_refused_by_its_field_and_never_repeated() {
    let lab = a_lab().await;
    let good = stored(&lab);
    let service = Service::start_in(lab).await;
    for (field, value) in [
        ("credentialRef", json!(null)),
        ("credentialRef", json!("a b")),
        ("credentialRef", json!("x".repeat(65))),
        ("credentialRef", json!("../x")),
        ("credentialRef", json!(7)),
        ("user", json!("")),
        ("user", json!(["Canary"])),
        ("user", json!("x".repeat(513))),
        ("password", json!(null)),
        ("password", json!("")),
        ("password", json!({"Canary": 1})),
        ("password", json!(12345)),
        ("password", json!("Canary\u{0}")),
        ("password", json!("Canary".repeat(200))),
    ] {
        let mut sent = good.clone();
        sent[field] = value;
        let answer = service.post(PATH, sent).await;
        let body = answer.expect(400);
        assert_eq!(body["field"], field, "{body}");
        assert!(!answer.text.contains("Canary"), "{}", answer.text);
    }
    assert_eq!(service.get(PATH).await.expect(200)["total"], 0);
    delete(&service, "a%20b").await.expect_field("ref");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_nothing_is_stored_and_hosts_say_so() {
    let lab = a_lab().await.without("OPS_SECRETS_KEY");
    let sent = stored(&lab);
    let service = Service::start_in(lab).await;
    assert_eq!(
        service.post(PATH, sent).await.expect(503)["code"],
        "secrets_key_missing"
    );
    assert_eq!(service.get(PATH).await.expect(200)["keyConfigured"], false);
    assert_eq!(
        poll(&service, "lab-ws-01").await.expect(502)["code"],
        "secrets_key_missing"
    );
    poll(&service, "lab-ws-02").await.expect(200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_only_warns_of_a_credential_that_is_not_there() {
    let lab = a_lab().await;
    let mut api = lab.run(API, &[]);
    api.address().await;
    api.says("no such credential is stored").await;
    let (ended, said) = api.terminate().await;
    assert_eq!(ended.code(), Some(0), "{said}");
    assert!(
        said.contains("lab-ws-01") && said.contains("station-01"),
        "{said}"
    );
}

/// Runs one order of the program, with something on its standard input.
async fn order(lab: &Lab, words: &str, input: &str) -> (Option<i32>, String) {
    let line = format!("printf '%s' \"$1\" | \"$0\" credentials {words}");
    let (ended, said) = lab.run("/bin/sh", &["-c", &line, API, input]).ended().await;
    (ended.code(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_programs_orders_store_list_rotate_and_remove() {
    let lab = a_lab().await;
    let user = lab.sim(1).spec().user.clone();
    let set = format!("set Station-01 --user '{user}'");
    let (code, said) = order(&lab, &set, &format!("{PASSWORD}\n")).await;
    assert_eq!(
        (code, said.contains("station-01: stored")),
        (Some(0), true),
        "{said}"
    );
    let (code, said) = order(&lab, &set, "other").await;
    assert_eq!(
        (code, said.contains("--overwrite replaces it")),
        (Some(1), true),
        "{said}"
    );
    let (code, said) = order(&lab, &format!("{set} --overwrite"), PASSWORD).await;
    assert_eq!((code, said.contains("overwritten")), (Some(0), true), "{said}");
    let (code, said) = order(&lab, "list", "").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("station-01") && !said.contains("Canary"), "{said}");

    // The new key first; what was written under the older one is encrypted anew, twice without harm.
    let lab = lab.with("OPS_SECRETS_KEY", format!("b:{NEW_KEY}\na:{KEY}"));
    for rotated in ["encrypted anew: 1,", "encrypted anew: 0,"] {
        let (code, said) = order(&lab, "rotate", "").await;
        assert_eq!((code, said.contains(rotated)), (Some(0), true), "{said}");
    }
    let lab = lab.with("OPS_SECRETS_KEY", format!("b:{NEW_KEY}"));
    let service = Service::start_in(lab).await;
    poll(&service, "lab-ws-01").await.expect(200);
    let Service { lab, .. } = &service;
    let (code, said) = order(lab, "remove station-01", "").await;
    assert_eq!((code, said.contains("removed")), (Some(0), true), "{said}");
    let (code, said) = order(lab, "remove station-01", "").await;
    assert_eq!(
        (code, said.contains("no credential is stored as station-01")),
        (Some(1), true),
        "{said}"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_cannot_be_carried_out_say_why_and_nothing_of_a_secret() {
    let lab = a_lab().await;
    for (words, input, code, part) in [
        ("set 'a b' --user u", "Canary", 2, "must be 1 to 64"),
        ("set x", "Canary", 2, "--user"),
        ("set x --user ''", "Canary", 1, "user must not be empty"),
        ("set x --user u", "", 1, "holds no password"),
        (
            "set x --user u",
            "Canary\nsecond\n",
            1,
            "contains a control character",
        ),
        (
            "import /gone.json --fernet-key-file /gone.key",
            "",
            1,
            "/gone.key",
        ),
        ("frobnicate", "", 2, "frobnicate"),
    ] {
        let (ended, said) = order(&lab, words, input).await;
        assert_eq!(ended, Some(code), "{words}: {said}");
        assert!(said.contains(part) && !said.contains("Canary"), "{words}: {said}");
    }
    let lost = lab.with("OPS_SECRETS_KEY", format!("b:{NEW_KEY}"));
    let lost = lost.with("OPS_SECRETS_KEY", format!("a:{KEY}"));
    assert_eq!(order(&lost, "set lost --user u", "p").await.0, Some(0));
    let lost = lost.with("OPS_SECRETS_KEY", format!("b:{NEW_KEY}"));
    let (code, said) = order(&lost, "rotate", "").await;
    assert_eq!(
        (code, said.contains("not readable: 1")),
        (Some(1), true),
        "{said}"
    );
    assert!(said.contains("its key \"a\" is not in the ring"), "{said}");
    let keyless = lost.without("OPS_SECRETS_KEY");
    let (code, said) = order(&keyless, "rotate", "").await;
    assert_eq!(
        (code, said.contains("OPS_SECRETS_KEY: must be set")),
        (Some(2), true),
        "{said}"
    );
    assert_eq!(order(&keyless, "list", "").await.0, Some(0));
}

/// A file as the older worker wrote it, and its key, by the library it used.
fn older_file(folder: &std::path::Path, user: &str) -> bool {
    const WRITER: &str = r#"
import json, sys
from cryptography.fernet import Fernet
folder, user, password = sys.argv[1:]
key = Fernet.generate_key()
token = lambda value: Fernet(key).encrypt(json.dumps(value).encode()).decode()
open(folder + "/ops-secrets.key", "wb").write(key + b"\n")
json.dump({"credentials": {"station-01": {"token": token({"user": user, "password": password})},
                           "fe80::1": {"token": token({"user": "u", "password": "p"})}}},
          open(folder + "/winrm-credentials.json", "w"), indent=2)
"#;
    #[expect(
        clippy::disallowed_methods,
        reason = "a test finds the interpreter to run against"
    )]
    let python = std::env::var("INTEROP_PYTHON").unwrap_or_else(|_| "python3".into());
    let folder = folder.display().to_string();
    let written = std::process::Command::new(python)
        .args(["-c", WRITER, &folder, user, PASSWORD])
        .stderr(std::process::Stdio::null())
        .status();
    let done = written.is_ok_and(|status| status.success());
    #[expect(clippy::disallowed_methods, reason = "a test reads how strict it has to be")]
    let required = std::env::var("REQUIRE_REAL").is_ok_and(|word| word == "1");
    assert!(done || !required, "no Python with `cryptography`");
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_workers_file_is_taken_over_with_its_own_key() {
    let lab = a_lab().await;
    let folder = tempfile::tempdir().unwrap();
    if !older_file(folder.path(), &lab.sim(1).spec().user) {
        return;
    }
    // The older key, as it lies in its file, is a key of ours as well.
    let place = folder.path().display().to_string();
    let lab = lab
        .without("OPS_SECRETS_KEY")
        .with("OPS_SECRETS_KEY_FILE", format!("{place}/ops-secrets.key"));
    let words = format!("import {place}/winrm-credentials.json --fernet-key-file {place}/ops-secrets.key");
    let (code, said) = order(&lab, &words, "").await;
    assert_eq!(code, Some(1), "one entry has a name that is none: {said}");
    assert!(
        said.contains("stored: 1, overwritten: 0, kept as they were: 0, not read: 1"),
        "{said}"
    );
    assert!(said.contains("\"fe80::1\"") && !said.contains("Canary"), "{said}");
    let (_, said) = order(&lab, &words, "").await;
    assert!(
        said.contains("kept as they were: 1") && said.contains("--overwrite replaces it"),
        "{said}"
    );
    let service = Service::start_in(lab).await;
    poll(&service, "lab-ws-01").await.expect(200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_password_of_every_awkward_character_opens_a_real_server() {
    on_mysql(|test| async move {
        let db = test.database();
        let url = DatabaseUrl::parse(&dsn(&test)).unwrap();
        let server = url.server().unwrap();
        let user = format!("u@{}%", &server.database[server.database.len() - 12..]);
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
        let account = format!("'{}'@'%'", quoted(&user));
        execute(db, &format!("CREATE USER {account} IDENTIFIED BY 'x'"), []).await;
        let every: String = (' '..='~').collect();
        let mut passwords: Vec<String> = every
            .chars()
            .filter(|c| !c.is_ascii_alphanumeric())
            .map(|c| format!("a{c}b{c}"))
            .collect();
        passwords.extend([
            every,
            "p\u{e4}\u{df}\u{1f511}\u{200b}".to_owned(),
            "100%41%".to_owned(),
        ]);
        for password in passwords {
            let quoted = quoted(&password);
            execute(db, &format!("ALTER USER {account} IDENTIFIED BY '{quoted}'"), []).await;
            // The one schema that everybody may open who was let in.
            let variables = [
                ("MYSQL_HOSTNAME", server.host),
                ("MYSQL_PORT", &server.port.to_string()),
                ("OPS_MYSQL_DATABASE", "information_schema"),
                ("OPS_BACKEND_MYSQL_USER", &user),
                ("OPS_BACKEND_MYSQL_PASSWORD", &password),
            ];
            let variables = variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
            let settings = ops_runtime::Settings::read(&variables, None).unwrap().settings;
            let opened = DatabaseUrl::parse(settings.database_url.unwrap().expose_secret()).unwrap();
            let opened = Database::connect(&DatabaseSettings::new(opened)).await;
            let opened = opened.unwrap_or_else(|error| panic!("{password:?}: {error}"));
            assert_eq!(
                crate::harness::count(&opened, "SELECT 1").await,
                1,
                "{password:?}"
            );
            opened.close().await;
        }
        execute(db, &format!("DROP USER {account}"), []).await;
    })
    .await;
}
