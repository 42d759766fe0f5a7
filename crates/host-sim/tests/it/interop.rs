//! Clients that others wrote do their work: pywinrm, pypsrp, curl.
//!
//! The Python ones need an interpreter with the packages of `tests/python/requirements.txt`, named by
//! `INTEROP_PYTHON`. Without it they say that they were skipped, or fail when `REQUIRE_REAL=1`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use host_sim::{
    At, AuthPolicy, CbtLevel, EffectKind, Farm, FarmOptions, Fault, HostSpec, SimHost, addresses, paths,
};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(120);

#[expect(
    clippy::disallowed_methods,
    reason = "the test learns here which real clients there are"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says that a test is skipped, or fails where skipping is forbidden.
#[expect(clippy::print_stdout, reason = "a skipped test must say so")]
fn skip(why: &str) {
    assert_ne!(
        variable("REQUIRE_REAL").as_deref(),
        Some("1"),
        "{why}, and REQUIRE_REAL=1"
    );
    println!("skipped: {why}");
}

async fn farm(change: impl FnOnce(&mut HostSpec)) -> Farm {
    let mut spec = HostSpec::new("lab-ws-01", addresses::block(1)[0], [2, 0, 0, 0, 0, 1]).awake();
    spec.certificate_names_address = true;
    change(&mut spec);
    Farm::start(vec![spec], FarmOptions::default()).await.unwrap()
}

async fn run_python(script: &str, mode: &str, change: impl FnOnce(&mut HostSpec)) -> Option<(Farm, SimHost)> {
    let Some(python) = variable("INTEROP_PYTHON") else {
        skip("INTEROP_PYTHON not set");
        return None;
    };
    let farm = farm(change).await;
    let host = farm.host("lab-ws-01").unwrap().clone();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, farm.ca_pem()).unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let mut command = Command::new(python);
    command
        .arg("-B")
        .arg(scripts.join(script))
        .args(["--mode", mode, "--computer", "LAB-WS-01"]);
    command.args(["--address", &host.address().to_string()]);
    command.args(["--http-port", &host.http_port().to_string()]);
    command.args(["--https-port", &host.https_port().unwrap().to_string()]);
    command.args(["--user", &host.spec().user, "--password", &host.spec().password]);
    command.arg("--ca").arg(&ca);
    let output = finish(&mut command).await;
    assert_eq!(output.trim_end().lines().last(), Some("ok"), "{output}");
    Some((farm, host))
}

async fn finish(command: &mut Command) -> String {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, child.output())
        .await
        .unwrap()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// What every script must have left behind on the host.
fn assert_work_was_done(host: &SimHost) {
    let commands: Vec<(Vec<String>, Option<i32>)> = host
        .effects()
        .into_iter()
        .filter_map(|effect| match effect.what {
            EffectKind::Command { argv, exit_code, .. } => Some((argv, exit_code)),
            _ => None,
        })
        .collect();
    let ran = |words: &[&str], code| {
        commands
            .iter()
            .any(|(argv, exit)| argv == words && *exit == Some(code))
    };
    assert!(ran(&[paths::PROGRAM, "status-json"], 0), "{commands:?}");
    let message = "--guard-message=two words \"quoted\"";
    assert!(
        ran(&[paths::PROGRAM, "prepare-session", "--no-guard", message], 0),
        "{commands:?}"
    );
    assert!(ran(&[paths::PROGRAM, "no-such-command"], 2), "{commands:?}");
    let counts = host.counts();
    assert_eq!(counts.open_shells, 0);
    assert_eq!(counts.shells_created, 1);
    assert!(counts.refused_credentials >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pywinrm_works_with_basic_over_https() {
    let change = |spec: &mut HostSpec| spec.auth = AuthPolicy::ALL;
    let Some((_farm, host)) = run_python("pywinrm_client.py", "basic-https", change).await else {
        return;
    };
    assert_work_was_done(&host);
    assert_eq!(host.counts().handshakes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pywinrm_works_with_ntlm_and_channel_bindings_over_https() {
    let change = |spec: &mut HostSpec| spec.cbt = CbtLevel::Strict;
    let Some((_farm, host)) = run_python("pywinrm_client.py", "ntlm-https", change).await else {
        return;
    };
    assert_work_was_done(&host);
    assert!(host.counts().handshakes >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pywinrm_works_with_sealed_ntlm_over_http() {
    let Some((_farm, host)) = run_python("pywinrm_client.py", "ntlm-http", |_| {}).await else {
        return;
    };
    assert_work_was_done(&host);
    assert_eq!(host.counts().tls_handshakes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pypsrp_works_with_sealed_spnego_over_http() {
    let Some((_farm, host)) = run_python("pypsrp_client.py", "negotiate-http", |_| {}).await else {
        return;
    };
    assert_work_was_done(&host);
    assert_eq!(host.counts().handshakes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pypsrp_works_with_ntlm_over_https() {
    let change = |spec: &mut HostSpec| spec.cbt = CbtLevel::Strict;
    let Some((_farm, host)) = run_python("pypsrp_client.py", "ntlm-https", change).await else {
        return;
    };
    assert_work_was_done(&host);
}

#[tokio::test(flavor = "multi_thread")]
async fn pypsrp_works_with_basic_over_https_and_done_in_an_answer_of_its_own() {
    let change = |spec: &mut HostSpec| {
        spec.auth = AuthPolicy::ALL;
        spec.done = host_sim::DoneStyle::After;
    };
    let Some((_farm, host)) = run_python("pypsrp_client.py", "basic-https", change).await else {
        return;
    };
    assert_work_was_done(&host);
}

const IDENTIFY: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"><s:Body><i:Identify/></s:Body></s:Envelope>"#;

fn curl(farm: &Farm, ca: &Path, secure: bool, password: &str) -> Command {
    let host = farm.host("lab-ws-01").unwrap();
    let (scheme, port) = if secure {
        ("https", host.https_port().unwrap())
    } else {
        ("http", host.http_port())
    };
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--ntlm",
        "--noproxy",
        "*",
        "--write-out",
        "\n%{http_code}",
    ]);
    command
        .args(["--user", &format!("{}:{password}", host.spec().user)])
        .arg("--cacert")
        .arg(ca);
    command.args([
        "--header",
        "Content-Type: application/soap+xml;charset=UTF-8",
        "--data-binary",
        IDENTIFY,
    ]);
    command.arg(format!("{scheme}://{}:{port}/wsman", host.address()));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_identifies_the_host_with_ntlm() {
    if std::process::Command::new("curl")
        .arg("--version")
        .output()
        .is_err()
    {
        return skip("no curl");
    }
    let farm = farm(|spec| {
        spec.auth = AuthPolicy::ALL;
        spec.allow_unencrypted = true;
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, farm.ca_pem()).unwrap();
    let host = &farm.hosts()[0];
    let password = host.spec().password.clone();
    // Set without a count, because curl tries a broken handshake once more on a fresh connection.
    host.set_fault(Fault::Reset(At::Authenticate));
    let broken = curl(&farm, &ca, false, &password).output().await.unwrap();
    assert!(!broken.status.success(), "{broken:?}");
    assert_eq!(host.counts().handshakes, 0);
    assert!(host.counts().requests >= 2);
    host.clear_faults();
    for secure in [true, false] {
        let output = finish(&mut curl(&farm, &ca, secure, &password)).await;
        assert!(output.ends_with("\n200"), "{output}");
        assert!(output.contains("OS: 10.0.22631"), "{output}");
        let refused = finish(&mut curl(&farm, &ca, secure, "wrong")).await;
        assert!(refused.ends_with("\n401"), "{refused}");
    }
    assert_eq!(host.counts().handshakes, 2);
    assert_eq!(host.counts().refused_credentials, 2);
}
