//! Against an acceptor whose NTLM we did not write: pyspnego behind a small Python responder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command as Process};
use winrm_transport::{
    Account, AuthMethod, Client, Command, Effect, Endpoint, Error, Settings, Stage, Trust,
};

const LIMIT: Duration = Duration::from_secs(100);
const PASSWORD: &str = "P\u{e4}ssw0rd & <more>";

#[expect(
    clippy::disallowed_methods,
    reason = "the interpreter with the pinned packages is the test run's choice"
)]
fn interpreter() -> Option<PathBuf> {
    if let Ok(python) = std::env::var("INTEROP_PYTHON") {
        return Some(PathBuf::from(python));
    }
    assert!(
        std::env::var("REQUIRE_REAL").as_deref() != Ok("1"),
        "INTEROP_PYTHON not set, but REQUIRE_REAL=1"
    );
    skipped();
    None
}

#[expect(
    clippy::print_stderr,
    reason = "a skipped test must not look like a passed one"
)]
fn skipped() {
    eprintln!("skipped: INTEROP_PYTHON not set");
}

struct Responder {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: u16,
    folder: tempfile::TempDir,
}

impl Responder {
    async fn start(protocol: &str, tls: bool) -> Option<Self> {
        Self::start_with(protocol, tls, &[]).await
    }

    /// With variables that make it misbehave; the script says which.
    async fn start_with(protocol: &str, tls: bool, variables: &[(&str, &str)]) -> Option<Self> {
        let python = interpreter()?;
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("users");
        std::fs::write(&users, format!("LAB:operator:{PASSWORD}\n")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/responder.py");
        let mut process = Process::new(python);
        process.arg(script).arg(protocol).env("NTLM_USER_FILE", users);
        process.envs(variables.iter().copied());
        if tls {
            let made = rcgen::generate_simple_self_signed(vec!["lab-host".to_owned()]).unwrap();
            for (name, text) in [
                ("cert.pem", made.cert.pem()),
                ("key.pem", made.signing_key.serialize_pem()),
            ] {
                std::fs::write(folder.path().join(name), text).unwrap();
                process.arg(folder.path().join(name));
            }
        }
        process
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = process.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = tokio::time::timeout(LIMIT, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        Some(Self {
            child,
            lines,
            port: port.parse().unwrap(),
            folder,
        })
    }

    fn settings(&self, auth: AuthMethod, password: &str) -> Settings {
        let account = Account::parse(r"LAB\operator", password.to_owned().into()).unwrap();
        let mut settings = Settings::new(Endpoint::http("127.0.0.1", self.port), account);
        settings.auth = auth;
        settings
    }

    /// Ends the process and gives everything it said.
    async fn stop(mut self) -> String {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.lines.into_inner().read_to_string(&mut said).await.unwrap();
        self.child.wait().await.unwrap();
        said
    }
}

async fn run_twice(client: &Client) {
    for _ in 0..2 {
        let command = Command::new("echo.exe").args(["plain", "mit Leerzeichen", "\u{dc}ml\u{e4}ut & <xml>"]);
        let output = client.run(&command, LIMIT).await.unwrap();
        assert_eq!(output.exit_code, Some(-1));
        assert_eq!(
            output.stdout_text(),
            "[\"echo.exe\", \"plain\", \"\\\"mit Leerzeichen\\\"\", \"\\\"\u{dc}ml\u{e4}ut & <xml>\\\"\"]"
        );
        assert_eq!(output.stderr_text(), "on stderr");
        assert!(!output.truncated);
    }
    client.close(LIMIT).await;
    let stats = client.stats();
    // 2 for the handshake, Create, twice Command, 3 x Receive, Signal, and one Delete.
    assert_eq!(
        (
            stats.connections,
            stats.handshakes,
            stats.shells_created,
            stats.commands
        ),
        (1, 1, 1, 2)
    );
    assert_eq!(stats.requests, 2 + 1 + 2 * 5 + 1);
}

fn count(said: &str, what: &str) -> usize {
    said.matches(what).count()
}

#[tokio::test]
async fn commands_run_sealed_over_http_with_bare_ntlm() {
    let Some(responder) = Responder::start("ntlm", false).await else {
        return;
    };
    run_twice(&Client::new(responder.settings(AuthMethod::Ntlm, PASSWORD)).unwrap()).await;
    let said = responder.stop().await;
    assert_eq!(count(&said, "\"connection\""), 1, "{said}");
    assert_eq!(count(&said, "\"authenticated\""), 1, "{said}");
    assert_eq!(
        (count(&said, "\"Signal\""), count(&said, "\"Delete\"")),
        (2, 1),
        "{said}"
    );
}

#[tokio::test]
async fn commands_run_sealed_over_http_with_spnego() {
    let Some(responder) = Responder::start("negotiate", false).await else {
        return;
    };
    run_twice(&Client::new(responder.settings(AuthMethod::Negotiate, PASSWORD)).unwrap()).await;
    let said = responder.stop().await;
    assert_eq!(count(&said, "\"authenticated\""), 1, "{said}");
}

#[tokio::test]
async fn over_https_the_channel_binding_is_what_the_acceptor_expects() {
    for (protocol, auth) in [("ntlm", AuthMethod::Ntlm), ("negotiate", AuthMethod::Negotiate)] {
        let Some(responder) = Responder::start(protocol, true).await else {
            return;
        };
        let mut settings = responder.settings(auth, PASSWORD);
        settings.endpoint = Endpoint::https("127.0.0.1", responder.port);
        settings.server_name = Some("lab-host".to_owned());
        // The self-signed certificate of the host is its own anchor.
        settings.trust = Trust::CaFile(responder.folder.path().join("cert.pem"));
        run_twice(&Client::new(settings).unwrap()).await;
        let said = responder.stop().await;
        assert_eq!(
            (count(&said, "\"authenticated\""), count(&said, "\"refused\"")),
            (1, 0),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_named() {
    let Some(responder) = Responder::start("ntlm", false).await else {
        return;
    };
    let client = Client::new(responder.settings(AuthMethod::Ntlm, "wrong")).unwrap();
    let refused = client.run(&Command::new("x.exe"), LIMIT).await.unwrap_err();
    let Error::Unauthorized {
        step, ref offered, ..
    } = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (step, offered.as_slice()),
        ("third message", &["Negotiate".to_owned()][..])
    );
    // Waits for whatever the client might still do in the background.
    client.close(LIMIT).await;
    assert_eq!(count(&responder.stop().await, "\"refused\""), 1);
}

#[tokio::test]
async fn an_authentication_that_expired_is_renewed_and_the_refused_request_repeated() {
    // Create, Command, then the Receive that is refused; and the same for the Command itself.
    for refused in ["2", "3"] {
        let expired = [("RESPONDER_FORGETS", refused)];
        let Some(responder) = Responder::start_with("ntlm", false, &expired).await else {
            return;
        };
        let client = Client::new(responder.settings(AuthMethod::Ntlm, PASSWORD)).unwrap();
        let output = client.run(&Command::new("echo.exe"), LIMIT).await.unwrap();
        assert_eq!((output.exit_code, output.truncated), (Some(-1), false));
        client.close(LIMIT).await;
        let said = responder.stop().await;
        assert_eq!(
            (count(&said, "\"forgotten\""), count(&said, "\"authenticated\"")),
            (1, 2),
            "{said}"
        );
        assert_eq!(
            (count(&said, "\"Create\""), count(&said, "\"Command\"")),
            (1, 1),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_host_that_forgets_every_authentication_is_given_two() {
    let variables = [("RESPONDER_MISCHIEF", "forgetful")];
    let Some(responder) = Responder::start_with("ntlm", false, &variables).await else {
        return;
    };
    let client = Client::new(responder.settings(AuthMethod::Ntlm, PASSWORD)).unwrap();
    let error = client.run(&Command::new("echo.exe"), LIMIT).await.unwrap_err();
    assert_eq!(
        (error.code(), error.effect()),
        ("unauthorized", Effect::None),
        "{error:?}"
    );
    client.close(LIMIT).await;
    let said = responder.stop().await;
    assert_eq!(
        (
            count(&said, "\"authenticated\""),
            count(&said, "\"forgotten\""),
            count(&said, "\"request\"")
        ),
        (2, 2, 0),
        "{said}"
    );
}

#[tokio::test]
async fn an_answer_that_is_not_sealed_or_was_changed_is_refused() {
    for (mischief, code) in [("unsealed", "downgrade"), ("flipped", "protocol")] {
        let variables = [("RESPONDER_MISCHIEF", mischief)];
        let Some(responder) = Responder::start_with("ntlm", false, &variables).await else {
            return;
        };
        let client = Client::new(responder.settings(AuthMethod::Ntlm, PASSWORD)).unwrap();
        let error = client.run(&Command::new("echo.exe"), LIMIT).await.unwrap_err();
        assert_eq!((error.code(), error.effect()), (code, Effect::None), "{error:?}");
        assert_eq!(count(&responder.stop().await, "\"Command\""), 0);
    }
}

#[tokio::test]
async fn an_offer_of_mechanisms_that_the_host_did_not_sign_is_refused() {
    for mischief in ["signed-wrong", "unsigned"] {
        let variables = [("RESPONDER_MISCHIEF", mischief)];
        let Some(responder) = Responder::start_with("negotiate", false, &variables).await else {
            return;
        };
        let client = Client::new(responder.settings(AuthMethod::Negotiate, PASSWORD)).unwrap();
        let error = client.run(&Command::new("echo.exe"), LIMIT).await.unwrap_err();
        assert_eq!(
            (error.code(), error.effect()),
            ("downgrade", Effect::None),
            "{mischief}: {error:?}"
        );
        assert_eq!(
            count(&responder.stop().await, "\"request\""),
            0,
            "nothing was asked of it"
        );
    }
}

#[tokio::test]
async fn at_the_deadline_what_was_written_so_far_is_handed_over() {
    let variables = [("RESPONDER_MISCHIEF", "stall")];
    let Some(responder) = Responder::start_with("negotiate", false, &variables).await else {
        return;
    };
    let client = Client::new(responder.settings(AuthMethod::Negotiate, PASSWORD)).unwrap();
    let error = client
        .run(&Command::new("echo.exe"), Duration::from_secs(2))
        .await
        .unwrap_err();
    let Error::DeadlineExpired {
        during: Stage::Receive,
        partial: Some(partial),
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(
        (partial.stderr_text().as_ref(), partial.exit_code),
        ("on stderr", None)
    );
    assert!(partial.stdout_text().starts_with("[\"echo"), "{partial:?}");
    // Waits for the clean-up, which owns the client until it is done.
    client.close(LIMIT).await;
    let said = responder.stop().await;
    assert_eq!(
        (count(&said, "\"Signal\""), count(&said, "\"Delete\"")),
        (2, 1),
        "{said}"
    );
}
