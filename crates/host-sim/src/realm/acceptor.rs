//! The one service of the realm.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command as Process};
use tokio::time::timeout;

use super::{LIMIT, PYTHON, Realm, at, environment};

const SCRIPT: &str = include_str!("acceptor.py");

/// The HTTP authentication scheme that an [`Acceptor`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Negotiate`: the token inside SPNEGO.
    Negotiate,
    /// `Kerberos`: the bare token.
    Kerberos,
}

/// A minimal WS-Management service `HTTP/localhost` of a [`Realm`], a process of its own. Every command ends with exit
/// code 7 and writes its words as a JSON list.
#[derive(Debug)]
pub struct Acceptor {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    folder: tempfile::TempDir,
}

impl Acceptor {
    /// With variables that make it misbehave: `RESPONDER_FORGETS` and `RESPONDER_MISCHIEF`, see `acceptor.py`.
    pub async fn start(realm: &Realm, scheme: Scheme, tls: bool, variables: &[(&str, &str)]) -> Self {
        let mut process = Process::new(PYTHON);
        process.envs(variables.iter().copied());
        Self::spawn(realm, scheme, tls, process).await
    }

    /// With a clock that is wrong by so much, such as `+1h`.
    pub async fn start_at(realm: &Realm, offset: &str) -> Self {
        Self::spawn(realm, Scheme::Negotiate, false, at(Some(offset), PYTHON)).await
    }

    async fn spawn(realm: &Realm, scheme: Scheme, tls: bool, mut process: Process) -> Self {
        let folder = tempfile::tempdir().unwrap();
        environment(&mut process, realm.folder.path());
        let script = folder.path().join("acceptor.py");
        std::fs::write(&script, SCRIPT).unwrap();
        process.arg(script);
        process.arg(match scheme {
            Scheme::Negotiate => "negotiate",
            Scheme::Kerberos => "kerberos",
        });
        if tls {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
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
        let port = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
        let port = port.parse().unwrap();
        Self {
            child,
            lines,
            port,
            folder,
        }
    }

    /// Its certificate, in PEM, when it was started with TLS.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Ends the process and gives everything it said: a line of JSON for each connection, request and authentication.
    pub async fn stop(mut self) -> String {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.lines.into_inner().read_to_string(&mut said).await.unwrap();
        self.child.wait().await.unwrap();
        said
    }
}
