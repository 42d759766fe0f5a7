//! A child process that is asked line by line.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Longest time for any phase.
const PATIENCE: Duration = Duration::from_secs(300);

/// Ended when dropped.
pub struct Asked {
    name: String,
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Asked {
    pub fn start(name: &str, mut command: Command) -> anyhow::Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("start {name}"))?;
        let to = child.stdin.take().context("no stdin")?;
        let from = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        Ok(Self {
            name: name.to_owned(),
            child,
            to,
            from,
        })
    }

    pub async fn tell(&mut self, what: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.to.write_all(&line).await?;
        Ok(self.to.flush().await?)
    }

    pub async fn hear<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = tokio::time::timeout(PATIENCE, self.from.next_line()).await;
        let line = line.with_context(|| format!("{} is silent", self.name))??;
        let line = line.with_context(|| format!("{} ended", self.name))?;
        serde_json::from_str(&line).with_context(|| format!("{} said {line}", self.name))
    }

    pub async fn ask<T: DeserializeOwned>(&mut self, what: &impl Serialize) -> anyhow::Result<T> {
        self.tell(what).await?;
        self.hear().await
    }

    /// Ends the input and waits for the end of the process, for a few seconds.
    pub async fn end(self) {
        let Self { mut child, to, .. } = self;
        drop(to);
        // What does not end in time is ended by being dropped.
        let _ = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
    }
}
