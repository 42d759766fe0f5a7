//! Secrets stay put: not in a log, an answer, a row or a file, whatever is asked and however closely it is logged.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::API;
use crate::harness::{Lab, awake, in_secs, reservations};
use crate::http::call;

const WINRM: &str = "Canary-winrm-7Qz!";
const WRONG: &str = "Canary-wrong-4Kp!";
const TOKEN: &str = "Canary-token-9Vx!";
const DATABASE: &str = "Canary-database-2Lw!";

/// How a secret might be written.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    // As Rust prints a list of bytes.
    let list = |bytes: &[u8]| bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let texts = [
        secret.to_owned(),
        BASE64_STANDARD.encode(secret),
        BASE64_STANDARD.encode(&wide),
        BASE64_STANDARD.encode(format!("LabGatewaySvc:{secret}")),
        hex(secret.as_bytes()),
        hex(secret.as_bytes()).to_uppercase(),
        hex(&wide),
        hex(&wide).to_uppercase(),
        list(secret.as_bytes()),
        list(&wide),
        secret.replace('!', "%21"),
    ];
    let mut forms: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    // The padding at the end of Base64 depends on what follows.
    for form in &mut forms {
        while form.last() == Some(&b'=') {
            form.pop();
        }
    }
    forms.push(wide);
    forms
}

fn assert_absent(where_: &str, haystack: &[u8]) {
    assert_none_of(where_, haystack, &[WINRM, WRONG, TOKEN, DATABASE]);
}

fn assert_none_of(where_: &str, haystack: &[u8], secrets: &[&str]) {
    for secret in secrets {
        for form in forms(secret) {
            let found = haystack.windows(form.len()).position(|window| window == form);
            let around = found.map(|at| {
                let part = &haystack[at.saturating_sub(200)..(at + form.len() + 50).min(haystack.len())];
                String::from_utf8_lossy(part).into_owned()
            });
            assert_eq!(around, None, "{where_} holds {secret}");
        }
    }
}

#[test]
fn the_search_finds_what_it_looks_for() {
    for form in forms(WINRM) {
        let line = [b"before ".as_slice(), &form, b" after"].concat();
        assert!(std::panic::catch_unwind(|| assert_absent("a line", &line)).is_err());
    }
}

/// All files below a folder but the one in which the operator wrote the secrets.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_some_and(|name| name != "hosts.json") {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_a_log_an_answer_or_the_database_even_at_trace() {
    let mut specs = vec![awake(1), awake(2)];
    for spec in &mut specs {
        spec.password = WINRM.into();
    }
    let lab = Lab::start(specs)
        .await
        .with("OPS_SECRET", TOKEN)
        .with("OPS_LOG_LEVEL", "trace");
    let lab = lab
        .with("OPS_POLL_ENABLED", "true")
        .with("OPS_POLL_INTERVAL", "1");
    lab.write_catalog(|entries| {
        entries[1]["winrm_pass"] = json!(WRONG);
        entries[1]["wol_password"] = json!("1.2.3.4");
    });
    let mut api = lab.run(API, &["--with-scheduler"]);
    let address = api.address().await;
    api.says("the database is ready").await;
    let database = lab.folder.path().join("data/lab-ops.sqlite");
    let url = store_support::DatabaseUrl::parse(&format!("sqlite:{}", database.display())).unwrap();
    let db = store_support::Database::connect(&store_support::DatabaseSettings::new(url))
        .await
        .unwrap();
    for (id, lab_id) in [("0xaa", "1"), ("0xbb", "2")] {
        reservations::book(&db, id, lab_id, in_secs(60), in_secs(600)).await;
    }
    crate::harness::until("one is active and one has failed", || async {
        let failed = crate::harness::history(&db, "0xbb")
            .await
            .iter()
            .any(|row| row.action == "scheduler:start");
        (crate::harness::status(&db, "0xaa").await == "ACTIVE" && failed).then_some(())
    })
    .await;

    let token = [("x-ops-token", TOKEN)];
    let mut answers = String::new();
    for (path, body) in [
        ("/api/heartbeat/poll", json!({"host": "lab-ws-01"})),
        ("/api/heartbeat/poll", json!({"host": "lab-ws-02"})),
        (
            "/api/winrm",
            json!({"host": "lab-ws-01", "command": "status-json"}),
        ),
        ("/api/winrm", json!({"host": "lab-ws-02", "command": "status"})),
        (
            "/api/winrm",
            json!({"host": "lab-ws-01", "command": "status", "password": WRONG}),
        ),
        (
            "/api/winrm",
            json!({"host": "lab-ws-01", "command": "status", "user": WRONG}),
        ),
        (
            "/api/reservations/end",
            json!({"reservationId": "0xcc", "host": "lab-ws-02"}),
        ),
        ("/api/wol", json!({"host": "lab-ws-01", "ping_timeout": 1e9})),
        ("/api/wol", json!([])),
    ] {
        answers += &call(address, "POST", path, &token, body.to_string()).await.text;
    }
    for headers in [
        vec![("x-ops-token", WRONG)],
        vec![("cookie", "ops_token=Canary-wrong-4Kp!")],
    ] {
        let body = json!({"host": "lab-ws-01"}).to_string();
        answers += &call(address, "POST", "/api/winrm", &headers, body).await.text;
    }
    for id in ["0xaa", "0xbb", "0xcc"] {
        let path = format!("/ops/api/reservations/timeline?reservationId={id}");
        answers += &call(address, "GET", &path, &token, "").await.text;
    }
    db.close().await;
    let (ended, said) = api.terminate().await;
    assert_eq!(ended.code(), Some(0));
    assert!(said.contains("DEBUG"), "it was logged closely");
    assert_absent("an answer", answers.as_bytes());
    let files = files(lab.folder.path());
    assert!(
        files.iter().any(|file| file.ends_with("lab-ops.sqlite")),
        "{files:?}"
    );
    for file in files {
        assert_absent(&file.display().to_string(), &std::fs::read(&file).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_turns_us_away_does_not_show_the_password() {
    let closed = crate::harness::Forwarder::to(([127, 0, 0, 1], 9).into());
    let escaped = DATABASE.replace('!', "%21");
    let mut servers = vec![closed.address().to_string()];
    servers.extend(crate::harness::server_url().map(|url| {
        let after_user = url.rsplit_once('@').unwrap().1.to_owned();
        after_user.trim_end_matches('/').to_owned()
    }));
    for server in servers {
        let url = format!("mysql+pymysql://nobody-here:{escaped}@{server}/lab?charset=utf8mb4");
        let lab = Lab::start(vec![awake(1)])
            .await
            .with("MYSQL_DSN", url)
            .with("OPS_LOG_LEVEL", "trace");
        let lab = lab.with("OPS_SECRET", TOKEN);
        let mut api = lab.run(API, &["--with-scheduler"]);
        let address = api.address().await;
        api.says("the database is not available; next try in").await;
        let health = call(address, "GET", "/health", &[], "").await;
        assert_eq!(health.status, 503);
        assert_absent("the answer", health.text.as_bytes());
        let (_, said) = api.terminate().await;
        assert!(said.contains("nobody-here"), "it says as whom: {said}");
        assert_absent("the log", said.as_bytes());
    }
    // One that cannot be read is not repeated either.
    for url in [
        format!("mysql://ops:{DATABASE}@/lab"),
        DATABASE.to_owned(),
        format!("mysql://ops:{DATABASE}@h:x/lab"),
    ] {
        let lab = Lab::start(vec![]).await.with("MYSQL_DSN", url);
        let (ended, said) = lab.run(API, &["--check-config"]).ended().await;
        assert_eq!(ended.code(), Some(2), "{said}");
        assert!(said.contains("MYSQL_DSN"), "{said}");
        assert_absent("the refusal", said.as_bytes());
    }
}

/// The bytes of the key, of which the variable holds the Base64.
const KEY: &str = "Canary-key-of-32-bytes-5Hw-8Ty-0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_in_files_and_in_the_store_stay_put_as_well() {
    // Beside the lab's own folder, in which nothing may be found.
    let kept = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = kept.path().join(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        path.display().to_string()
    };
    let mut specs = vec![awake(1), awake(2), awake(3)];
    for spec in &mut specs {
        spec.password = WINRM.into();
    }
    let lab = Lab::start(specs)
        .await
        .with("OPS_SECRET_FILE", file("token", TOKEN))
        .with(
            "OPS_SECRETS_KEY_FILE",
            file("key", &format!("k1:{}", BASE64_STANDARD.encode(KEY))),
        )
        .with("HOST_PASSWORD_FILE", file("password", WINRM))
        .with("OPS_LOG_LEVEL", "trace");
    let password = file("direct", WINRM);
    lab.write_catalog(|entries| {
        entries[0]["winrm_pass"] = json!("env:HOST_PASSWORD");
        entries[1]["winrm_pass"] = json!(format!("file:{password}"));
        let third = entries[2].as_object_mut().unwrap();
        third.remove("winrm_user");
        third.remove("winrm_pass");
        third.insert("winrm_credential_ref".into(), json!("station-03"));
    });
    let mut api = lab.run(API, &[]);
    let address = api.address().await;
    api.says("the database is ready").await;
    let token = [("x-ops-token", TOKEN), ("content-type", "application/json")];
    let user = lab.sim(3).spec().user.clone();
    let mut answers = String::new();
    for (password, status) in [(WRONG, 201), (WINRM, 200)] {
        let body =
            json!({"credentialRef": "station-03", "user": user, "password": password, "overwrite": true});
        let path = "/api/hosts/winrm-credentials";
        let stored = call(address, "POST", path, &token, body.to_string()).await;
        assert_eq!(stored.status, status, "{}", stored.text);
        answers += &stored.text;
        for host in ["lab-ws-01", "lab-ws-02", "lab-ws-03"] {
            let body = json!({"host": host}).to_string();
            let polled = call(address, "POST", "/api/heartbeat/poll", &token, body).await;
            let expected = if password == WRONG && host == "lab-ws-03" {
                502
            } else {
                200
            };
            assert_eq!(polled.status, expected, "{host}: {}", polled.text);
            answers += &polled.text;
        }
    }
    for path in [
        "/api/hosts/winrm-credentials",
        "/api/hosts",
        "/api/audit",
        "/health",
    ] {
        answers += &call(address, "GET", path, &token, "").await.text;
    }
    let (ended, said) = api.terminate().await;
    assert_eq!(ended.code(), Some(0));
    assert!(said.contains("DEBUG"), "it was logged closely");
    let line = "printf '%s' \"$1\" | \"$0\" credentials set cli --user u && exec \"$0\" credentials rotate";
    let (ended, told) = lab.run("/bin/sh", &["-c", line, API, WRONG]).ended().await;
    assert_eq!(ended.code(), Some(0), "{told}");
    let secrets = [WINRM, WRONG, TOKEN, KEY];
    assert_none_of("an answer", answers.as_bytes(), &secrets);
    for file in files(lab.folder.path()) {
        assert_none_of(
            &file.display().to_string(),
            &std::fs::read(&file).unwrap(),
            &secrets,
        );
    }
}
