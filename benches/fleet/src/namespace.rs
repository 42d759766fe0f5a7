//! A network of our own, with sixty-five thousand addresses that all reach us.
//!
//! The program starts itself again in fresh namespaces for network, processes and mounts. They have no names, so
//! nothing of them is left, however the program ends; and with its first process every other one in them ends too.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use tokio::signal::unix::{SignalKind, signal};

/// The addresses of the hosts.
const HOSTS: &str = "10.50.0.0/16";

/// Runs this program with the same words inside, and waits for its end.
pub(crate) async fn enter() -> Result<ExitCode> {
    let program = std::env::current_exe()?;
    // Ten thousand connections need as many descriptors as we may have, on both sides. The shell stays as the first
    // process: it takes leave of the dead that nobody else waits for, such as a database that has been stopped.
    let first = "ulimit -n \"$(ulimit -Hn)\"; \"$0\" \"$@\"";
    let mut inside = tokio::process::Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["sh", "-c", first])
        .arg(program)
        .arg("--inside")
        .args(std::env::args_os().skip(1))
        .kill_on_drop(true)
        .spawn()
        .context("make namespaces: setpriv, unshare (util-linux) and root are needed")?;
    let mut asked_to_end = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut interruptions = 0;
    loop {
        tokio::select! {
            ended = inside.wait() => return Ok(if ended?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
            _ = asked_to_end.recv() => inside.start_kill()?,
            // The terminal tells those inside too, and they tidy up; who asks twice does not want to wait.
            _ = interrupted.recv() => {
                interruptions += 1;
                if interruptions > 1 {
                    inside.start_kill()?;
                }
            }
        }
    }
}

/// Gives the network its loopback interface and the addresses of the hosts.
pub(crate) fn prepare() -> Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    ip(&["route", "add", "local", HOSTS, "dev", "lo"])
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(words)
        .output()
        .context("run ip (iproute2)")?;
    let problem = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), "ip {}: {problem}", words.join(" "));
    Ok(())
}
