//! The PowerShell that goes to hosts is PowerShell: a grammar written by others reads every script without an error.
//!
//! It says nothing about what a script does. It needs an interpreter with the packages of
//! `host-sim/tests/python/requirements.txt`, named by `INTEROP_PYTHON`; without it the test says that it was skipped, or
//! fails when `REQUIRE_REAL=1`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use host_sim::{EffectKind, SimHost};
use station_control::WatchAsk;
use winrm_transport::{Account, AuthMethod, Client, Endpoint, FileError, PowerShell, Settings};

use crate::bench::{Bench, LIMIT, awake};
use crate::poll::FIRST;

#[expect(
    clippy::disallowed_methods,
    reason = "the test learns here whether there is a reader"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What the grammar says of each script.
fn read(python: &str, scripts: &[String]) -> Vec<String> {
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/powershell_syntax.py");
    let mut child = Command::new(python)
        .arg("-B")
        .arg(reader)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let all = serde_json::to_vec(scripts).unwrap();
    child.stdin.take().unwrap().write_all(&all).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(str::to_owned).collect()
}

/// The script of an encoded command.
fn decoded(argument: &str) -> String {
    let bytes = STANDARD.decode(argument).unwrap();
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    String::from_utf16(&units).unwrap()
}

/// The scripts that a host was given.
fn received(sim: &SimHost) -> Vec<String> {
    let effects = sim.effects().into_iter();
    effects
        .filter_map(|effect| match effect.what {
            EffectKind::Command { argv, .. } if argv[0] == "powershell.exe" => {
                argv.last().map(|last| decoded(last))
            }
            _ => None,
        })
        .collect()
}

/// Makes every part of this workspace that knows a script send it.
async fn every_script() -> Vec<String> {
    let bench = Bench::start(awake()).await;
    let sim = bench.sim();
    let ask = WatchAsk {
        first_word: LIMIT,
        poll_deadline: LIMIT,
        ..WatchAsk::new(FIRST)
    };
    let mut watch = bench.control.watch(bench.name(), ask);
    while !watch.is_live() {
        watch.next().await.unwrap();
    }
    drop(watch);
    let spec = sim.spec();
    let account = Account::parse(&format!(r".\{}", spec.user), spec.password.clone().into()).unwrap();
    let mut settings = Settings::new(
        Endpoint::http(sim.address().to_string(), sim.http_port()),
        account,
    );
    settings.auth = AuthMethod::Ntlm;
    let client = Client::new(settings).unwrap();
    let missing = client.stat(r"C:\it's not there.txt", LIMIT).await.unwrap_err();
    assert!(matches!(missing, FileError::NotFound { .. }), "{missing}");
    client.close(LIMIT).await;
    let mut scripts = received(sim);
    bench.end().await;
    assert!(scripts.len() >= 2, "the watch and the file: {scripts:?}");
    // What a script too long for a command line is fetched with.
    let long = PowerShell::script("#".repeat(3_000)).command();
    scripts.push(decoded(long.arguments().last().unwrap()));
    scripts
}

/// The interpreter that has the grammar; without it the test says that it is skipped, or fails where that is forbidden.
#[expect(clippy::print_stdout, reason = "a skipped test must say so")]
fn python() -> Option<String> {
    let python = variable("INTEROP_PYTHON");
    if python.is_none() {
        let required = variable("REQUIRE_REAL").as_deref() == Some("1");
        assert!(!required, "INTEROP_PYTHON not set, and REQUIRE_REAL=1");
        println!("skipped: INTEROP_PYTHON not set");
    }
    python
}

#[tokio::test]
async fn every_script_is_read_without_an_error_by_a_grammar_of_others() {
    let Some(python) = python() else { return };
    let mut scripts = every_script().await;
    let sound = scripts.len();
    // The reader is worth asking: it finds each of these slips.
    for (right, slip) in [
        ("finally{$f.Dispose()}", "finally{$f.Dispose()"),
        ("$v.g+=$r}", "$v.g+=}"),
        ("-lt 24)", "-lt )"),
        ("catch [IO.IOException]", "catch [IO.IOException"),
    ] {
        let broken = scripts[0].replacen(right, slip, 1);
        assert_ne!(broken, scripts[0], "{right}");
        scripts.push(broken);
    }
    let said = read(&python, &scripts);
    assert_eq!(said.len(), scripts.len());
    for (script, said) in scripts.iter().zip(&said).take(sound) {
        assert_eq!(said, "ok", "{script}");
    }
    let overlooked = said.iter().skip(sound).filter(|said| *said == "ok").count();
    assert_eq!(overlooked, 0, "{said:?}");
}
