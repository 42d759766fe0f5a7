//! A service as an operator runs it: a program with an environment, a log and an exit code.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::process::{Child, Command};

/// A running program; killed when dropped.
pub(crate) struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

static STARTED: AtomicU32 = AtomicU32::new(0);

impl Process {
    pub(crate) fn start(
        program: &str,
        arguments: &[&str],
        variables: &BTreeMap<String, String>,
        folder: &Path,
    ) -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let out = folder.join(format!("out.{number}"));
        let err = folder.join(format!("err.{number}"));
        let file = |path: &Path| Stdio::from(std::fs::File::create(path).unwrap());
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(variables)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file(&out))
            .stderr(file(&err))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, out, err }
    }

    /// All it has written so far, standard output first.
    pub(crate) fn said(&self) -> String {
        let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        read(&self.out) + &read(&self.err)
    }

    /// Waits until its log holds a text.
    pub(crate) async fn says(&mut self, text: &str) {
        super::until(&format!("{text:?} is logged"), || {
            let found = self.said().contains(text);
            let ended = self.child.try_wait().unwrap();
            assert!(
                found || ended.is_none(),
                "ended with {ended:?} before {text:?}: {}",
                self.said()
            );
            std::future::ready(found.then_some(()))
        })
        .await;
    }

    /// When each poll of each host began, as its log says, oldest first. It has to log at the level debug.
    pub(crate) fn polls(&self) -> Vec<(chrono::DateTime<chrono::Utc>, String)> {
        let said = self.said();
        let polls = said.lines().filter_map(|line| {
            let host = line.split_once(" poll host.name=")?.1;
            let at = line.split_whitespace().next()?.parse().ok()?;
            Some((at, host.trim().to_owned()))
        });
        polls.collect()
    }

    /// Where it listens, once it does.
    pub(crate) async fn address(&mut self) -> SocketAddr {
        self.says("listening address=").await;
        let said = self.said();
        let after = said.split("listening address=").nth(1).unwrap();
        after.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("still running");
        let line = format!("kill -{signal} {pid}");
        let sent = std::process::Command::new("sh")
            .args(["-c", &line])
            .status()
            .unwrap();
        assert!(sent.success(), "{line}");
    }

    /// Asks it to stop, and gives how it ended.
    pub(crate) async fn terminate(self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.ended().await
    }

    /// Ends it where it stands.
    pub(crate) async fn kill(self) {
        self.signal("KILL");
        self.ended().await;
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let ended = tokio::time::timeout(super::LIMIT, self.child.wait()).await;
        (
            ended.expect("the program did not end in time").unwrap(),
            self.said(),
        )
    }
}
