//! Against a realm we did not write: MIT's KDC, and an acceptor whose tickets and sealing are MIT's too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use host_sim::realm::{Acceptor, PASSWORD, Realm, Scheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use winrm_transport::{
    Account, AuthMethod, Client, Command, Effect, Endpoint, Error, KerberosRefusal, KerberosScheme, Settings,
    Stage, Trust,
};

const LIMIT: Duration = Duration::from_secs(100);
const SCHEMES: [(Scheme, KerberosScheme); 2] = [
    (Scheme::Negotiate, KerberosScheme::Negotiate),
    (Scheme::Kerberos, KerberosScheme::Kerberos),
];

fn settings(realm: &Realm, port: u16, account: &str, password: &str) -> Settings {
    let account = Account::parse(account, password.to_owned().into()).unwrap();
    let mut settings = Settings::new(Endpoint::http("localhost", port), account);
    settings.auth = AuthMethod::Kerberos;
    settings.kerberos.kdcs = vec![realm.kdc()];
    settings
}

async fn run_once(client: &Client) -> Result<(), Error> {
    let output = client
        .run(
            &Command::new("echo.exe").args(["\u{dc}ml\u{e4}ut & <xml>"]),
            LIMIT,
        )
        .await?;
    assert_eq!(output.exit_code, Some(7));
    assert_eq!(
        output.stdout_text(),
        "[\"echo.exe\", \"\\\"\u{dc}ml\u{e4}ut & <xml>\\\"\"]"
    );
    Ok(())
}

/// What one command ends in, the host being `localhost` and everything else right.
async fn fails(client: &Client) -> Error {
    let error = client.run(&Command::new("x.exe"), LIMIT).await.unwrap_err();
    assert_eq!(error.effect(), Effect::None, "{error:?}");
    client.close(LIMIT).await;
    error
}

fn refusal(error: Error) -> KerberosRefusal {
    match error {
        Error::Kerberos { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

fn count(said: &str, what: &str) -> usize {
    said.matches(what).count()
}

#[tokio::test]
async fn commands_run_sealed_over_http_under_both_schemes() {
    let Some(realm) = Realm::start().await else { return };
    for (taken, scheme) in SCHEMES {
        let acceptor = Acceptor::start(&realm, taken, false, &[]).await;
        for account in [r"LAB.TEST\alice", "alice@lab.test"] {
            let mut settings = settings(&realm, acceptor.port, account, PASSWORD);
            settings.kerberos.scheme = scheme;
            let client = Client::new(settings).unwrap();
            run_once(&client).await.unwrap();
            run_once(&client).await.unwrap();
            client.close(LIMIT).await;
            let stats = client.stats();
            assert_eq!(
                (stats.connections, stats.handshakes, stats.shells_created),
                (1, 1, 1)
            );
            // 1 for the handshake, Create, twice Command, Receive and Signal, and one Delete.
            assert_eq!(stats.requests, 1 + 1 + 2 * 3 + 1);
        }
        let said = acceptor.stop().await;
        let authenticated = "\"user\": \"alice@LAB.TEST\", \"mutual\": true, \"sealing\": true, \"sequence\": true, \
                             \"delegated\": false";
        assert_eq!(count(&said, authenticated), 2, "{said}");
        assert_eq!(count(&said, "\"sealed\", \"header\": 60"), 2 * 8, "{said}");
    }
}

#[tokio::test]
async fn over_https_the_token_is_bound_to_the_channel() {
    let Some(realm) = Realm::start().await else { return };
    for (mischief, taken) in [("", true), ("elsewhere", false)] {
        let variables = [("RESPONDER_MISCHIEF", mischief)];
        let acceptor = Acceptor::start(&realm, Scheme::Negotiate, true, &variables).await;
        let mut settings = settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD);
        settings.endpoint = Endpoint::https("localhost", acceptor.port);
        settings.trust = Trust::CaFile(acceptor.certificate());
        let client = Client::new(settings).unwrap();
        let result = run_once(&client).await;
        client.close(LIMIT).await;
        let said = acceptor.stop().await;
        assert_eq!(result.is_ok(), taken, "{result:?} {said}");
        assert_eq!(
            (
                count(&said, "\"authenticated\""),
                count(&said, "BadChannelBindings")
            ),
            if taken { (1, 0) } else { (0, 1) },
            "{said}"
        );
        assert_eq!(count(&said, "\"sealed\""), 0);
    }
}

#[tokio::test]
async fn wrong_credentials_are_tried_once_and_named() {
    let Some(realm) = Realm::start().await else { return };
    let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &[]).await;
    for (account, password, expected) in [
        (r"LAB.TEST\alice", "wrong", "password, refused by the kdc"),
        (r"LAB.TEST\nobody", PASSWORD, "user name, unknown to the kdc"),
        (
            r"LAB.TEST\locked",
            PASSWORD,
            "account, disabled or locked by the kdc",
        ),
    ] {
        let error = fails(&Client::new(settings(&realm, acceptor.port, account, password)).unwrap()).await;
        assert!(!error.is_transient());
        let text = error.to_string();
        assert_eq!(text, format!("credentials refused: used kerberos ({expected})"));
        assert!(matches!(error, Error::Unauthorized { step, .. } if step == expected));
    }
    assert_eq!(
        count(&acceptor.stop().await, "\"refused\""),
        0,
        "nothing of it reached the host"
    );
    let log = realm.stop().await;
    assert_eq!(count(&log, "PREAUTH_FAILED"), 1, "{log}");
}

#[tokio::test]
async fn a_service_that_the_kdc_does_not_know_is_named() {
    let Some(realm) = Realm::start().await else { return };
    let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &[]).await;
    let mut by_address = settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD);
    by_address.endpoint.host = "127.0.0.1".to_owned();
    let service = "HTTP/127.0.0.1".to_owned();
    let error = fails(&Client::new(by_address.clone()).unwrap()).await;
    assert_eq!(refusal(error), KerberosRefusal::UnknownService { service });
    // The name may be said beside the address, or that of the service beside both.
    by_address.server_name = Some("localhost".to_owned());
    run_once(&Client::new(by_address.clone()).unwrap()).await.unwrap();
    by_address.server_name = Some("lab-ws-01".to_owned());
    by_address.kerberos.service_host = Some("localhost".to_owned());
    run_once(&Client::new(by_address).unwrap()).await.unwrap();
}

#[tokio::test]
async fn clocks_that_differ_are_named_with_whose() {
    for (kdc, host, between) in [
        ("+1h", "+0", "ours and the kdc's"),
        ("+0", "+1h", "the host's and ours"),
    ] {
        let Some(realm) = Realm::start_at(kdc).await else {
            return;
        };
        let acceptor = Acceptor::start_at(&realm, host).await;
        let client = Client::new(settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD)).unwrap();
        assert_eq!(
            refusal(fails(&client).await),
            KerberosRefusal::ClockSkew { between }
        );
    }
}

#[tokio::test]
async fn a_host_with_another_key_than_the_ticket_is_named() {
    let Some(realm) = Realm::start().await else { return };
    let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &[]).await;
    realm.administer("change_password -randkey HTTP/localhost").await;
    let client = Client::new(settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD)).unwrap();
    assert_eq!(refusal(fails(&client).await), KerberosRefusal::WrongKey);
}

#[tokio::test]
async fn an_expired_context_is_renewed_and_the_refused_request_repeated() {
    let Some(realm) = Realm::start().await else { return };
    // Create, Command, then the Receive that is refused; and the same for the Command itself.
    for refused in ["2", "3"] {
        let expired = [("RESPONDER_FORGETS", refused)];
        let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &expired).await;
        let client = Client::new(settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD)).unwrap();
        run_once(&client).await.unwrap();
        client.close(LIMIT).await;
        let said = acceptor.stop().await;
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
async fn an_answer_that_was_changed_repeated_or_not_sealed_is_refused() {
    let Some(realm) = Realm::start().await else { return };
    for mischief in ["flipped", "signed", "repeated"] {
        let variables = [("RESPONDER_MISCHIEF", mischief)];
        let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &variables).await;
        let client = Client::new(settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD)).unwrap();
        let error = client.run(&Command::new("x.exe"), LIMIT).await.unwrap_err();
        assert_eq!(error.code(), "protocol", "{mischief}: {error:?}");
        assert!(
            error.to_string().contains("wrong signature"),
            "{mischief}: {error}"
        );
    }
}

#[tokio::test]
async fn a_host_that_does_not_prove_itself_gets_nothing() {
    let Some(realm) = Realm::start().await else { return };
    for (taken, scheme) in SCHEMES {
        let variables = [("RESPONDER_MISCHIEF", "unproven")];
        let acceptor = Acceptor::start(&realm, taken, false, &variables).await;
        let mut settings = settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD);
        settings.kerberos.scheme = scheme;
        let error = fails(&Client::new(settings).unwrap()).await;
        let Error::Downgrade {
            during: Stage::Handshake,
            ..
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!(count(&acceptor.stop().await, "\"request\""), 0);
    }
}

#[tokio::test]
async fn the_next_kdc_is_asked_and_without_any_the_call_ends_in_time() {
    let Some(realm) = Realm::start().await else { return };
    let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &[]).await;
    // Accepts and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_kdc = silent.local_addr().unwrap().to_string();
    let mut settings = settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD);
    settings.kerberos.timeout = Duration::from_secs(2);
    settings.kerberos.kdcs.insert(0, silent_kdc.clone());
    run_once(&Client::new(settings.clone()).unwrap()).await.unwrap();

    settings.kerberos.kdcs.truncate(1);
    let error = fails(&Client::new(settings.clone()).unwrap()).await;
    assert!(error.is_transient());
    assert_eq!(error.code(), "kdc_silent");
    let KerberosRefusal::KdcSilent { realm, kdc, why } = refusal(error) else {
        panic!("another refusal")
    };
    assert_eq!(
        (realm.as_str(), kdc, why),
        ("LAB.TEST", silent_kdc, std::io::ErrorKind::TimedOut)
    );

    // The deadline of the call holds for the KDC as well.
    settings.kerberos.timeout = LIMIT;
    let client = Client::new(settings).unwrap();
    let error = client
        .run(&Command::new("x.exe"), Duration::from_secs(2))
        .await
        .unwrap_err();
    let Error::DeadlineExpired {
        during: Stage::Handshake,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
}

#[tokio::test]
async fn a_realm_of_which_no_kdc_is_known_is_named() {
    let account = Account::parse(r"NOWHERE.TEST\alice", PASSWORD.to_owned().into()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut settings = Settings::new(Endpoint::http("127.0.0.1", port), account);
    settings.auth = AuthMethod::Kerberos;
    let realm = "NOWHERE.TEST".to_owned();
    assert_eq!(
        refusal(fails(&Client::new(settings).unwrap()).await),
        KerberosRefusal::NoKdc { realm }
    );
}

/// Hands on what goes to and from the KDC, and plays the first two answers of the first login to the second one.
async fn replaying(kdc: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut answers: Vec<Vec<u8>> = Vec::new();
        // Three questions make a login.
        for turn in 0..6 {
            let (mut client, _) = listener.accept().await.unwrap();
            let question = message(&mut client).await;
            let mut upstream = TcpStream::connect(&kdc).await.unwrap();
            upstream.write_all(&question).await.unwrap();
            answers.push(message(&mut upstream).await);
            let answer = if turn == 4 { &answers[1] } else { &answers[turn] };
            client.write_all(answer).await.unwrap();
        }
    });
    address
}

async fn message(stream: &mut TcpStream) -> Vec<u8> {
    let length = stream.read_u32().await.unwrap();
    let mut bytes = length.to_be_bytes().to_vec();
    stream.take(length.into()).read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn an_answer_of_the_kdc_that_is_played_back_is_refused() {
    let Some(realm) = Realm::start().await else { return };
    let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &[]).await;
    let mut settings = settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD);
    settings.kerberos.kdcs = vec![replaying(realm.kdc()).await];
    let client = Client::new(settings.clone()).unwrap();
    run_once(&client).await.unwrap();
    client.close(LIMIT).await;
    // Not a clone, which would go on with the tickets of this one.
    settings.account = Account::parse(r"LAB.TEST\alice", PASSWORD.to_owned().into()).unwrap();
    let error = fails(&Client::new(settings).unwrap()).await;
    assert!(
        error.to_string().contains("does not belong to the request"),
        "{error}"
    );
}

#[tokio::test]
async fn the_kdc_is_asked_once_for_any_number_of_connections() {
    let Some(realm) = Realm::start().await else { return };
    for tls in [false, true] {
        let acceptor = Acceptor::start(&realm, Scheme::Negotiate, tls, &[]).await;
        let mut settings = settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD);
        if tls {
            settings.endpoint = Endpoint::https("localhost", acceptor.port);
            settings.trust = Trust::CaFile(acceptor.certificate());
        }
        let before = realm.log();
        // Two clients of one account, as for one host.
        for client in [settings.clone(), settings.clone()].map(|settings| Client::new(settings).unwrap()) {
            for _ in 0..3 {
                run_once(&client).await.unwrap();
                client.disconnect();
            }
            assert_eq!((client.stats().connections, client.stats().handshakes), (3, 3));
        }
        let log = realm.log().replacen(&before, "", 1);
        // Once to hear that it wants proof of the password.
        let asked = (count(&log, "AS_REQ"), count(&log, "TGS_REQ"));
        assert_eq!(asked, (2, 1), "{log}");
        let said = acceptor.stop().await;
        assert_eq!(
            (count(&said, "\"authenticated\""), count(&said, "\"refused\"")),
            (6, 0),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_ticket_that_the_host_no_longer_takes_is_replaced_without_the_caller_noticing() {
    let Some(realm) = Realm::start().await else { return };
    let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &[]).await;
    let client = Client::new(settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD)).unwrap();
    run_once(&client).await.unwrap();
    client.disconnect();
    // As when the host has been joined to its domain anew.
    realm.renew_service_key().await;
    let before = realm.log();
    run_once(&client).await.unwrap();
    client.disconnect();
    run_once(&client).await.unwrap();
    let log = realm.log().replacen(&before, "", 1);
    assert_eq!(count(&log, "TGS_REQ"), 1, "{log}");
    let said = acceptor.stop().await;
    assert_eq!(
        (count(&said, "\"authenticated\""), count(&said, "\"refused\"")),
        (3, 1),
        "{said}"
    );
}

#[tokio::test]
async fn a_kept_ticket_is_no_way_around_a_host_that_does_not_prove_itself() {
    let Some(realm) = Realm::start().await else { return };
    let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &[]).await;
    let mut settings = settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD);
    run_once(&Client::new(settings.clone()).unwrap()).await.unwrap();
    let variables = [("RESPONDER_MISCHIEF", "unproven")];
    let impostor = Acceptor::start(&realm, Scheme::Negotiate, false, &variables).await;
    settings.endpoint.port = impostor.port;
    let error = fails(&Client::new(settings.clone()).unwrap()).await;
    assert!(matches!(error, Error::Downgrade { .. }), "{error:?}");
    assert_eq!(count(&impostor.stop().await, "\"request\""), 0);
    assert_eq!(count(&realm.log(), "TGS_REQ"), 1);
    // What failed once is not used again.
    settings.endpoint.port = acceptor.port;
    run_once(&Client::new(settings).unwrap()).await.unwrap();
    assert_eq!(count(&realm.log(), "TGS_REQ"), 2);
}

/// Hears everything that is logged, and counts who says it.
#[derive(Clone, Default)]
struct Eavesdropper {
    ours: Arc<AtomicUsize>,
    others: Arc<AtomicUsize>,
}

impl tracing::Subscriber for Eavesdropper {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let target = event.metadata().target();
        if target.starts_with("winrm_transport") {
            self.ours.fetch_add(1, Ordering::Relaxed);
        } else if target.starts_with("sspi") || target.starts_with("picky") {
            self.others.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn the_library_which_would_log_session_keys_is_not_heard() {
    let Some(realm) = Realm::start().await else { return };
    let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &[]).await;
    let heard = Eavesdropper::default();
    // Everything here runs on the one thread of this test.
    let listening = tracing::subscriber::set_default(heard.clone());
    let client = Client::new(settings(&realm, acceptor.port, r"LAB.TEST\alice", PASSWORD)).unwrap();
    run_once(&client).await.unwrap();
    drop(listening);
    assert!(heard.ours.load(Ordering::Relaxed) > 0);
    assert_eq!(heard.others.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn the_kdc_is_found_in_krb5_conf() {
    const INNER: &str = "TEST_KERBEROS_PORT";
    #[expect(
        clippy::disallowed_methods,
        reason = "how this test tells the copy of itself that it is the copy"
    )]
    let inner = std::env::var(INNER).ok();
    if let Some(port) = inner {
        let account = Account::parse(r"LAB.TEST\alice", PASSWORD.to_owned().into()).unwrap();
        let mut settings = Settings::new(Endpoint::http("localhost", port.parse().unwrap()), account);
        settings.auth = AuthMethod::Kerberos;
        let client = Client::new(settings).unwrap();
        run_once(&client).await.unwrap();
        return client.close(LIMIT).await;
    }
    let Some(realm) = Realm::start().await else { return };
    let acceptor = Acceptor::start(&realm, Scheme::Negotiate, false, &[]).await;
    // The file is named by the environment, which only a process of its own may have changed.
    let mut copy = tokio::process::Command::new(std::env::current_exe().unwrap());
    copy.args(["--exact", "kerberos::the_kdc_is_found_in_krb5_conf"]);
    copy.env(INNER, acceptor.port.to_string())
        .env("KRB5_CONFIG", realm.config())
        .kill_on_drop(true);
    let done = tokio::time::timeout(LIMIT, copy.output()).await.unwrap().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert_eq!(count(&acceptor.stop().await, "\"authenticated\""), 1);
}
