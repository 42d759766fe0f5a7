//! A bare server: the same accept loop library, no routes, no checks. What the machine gives at best.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// Serves until it is ended, and prints where.
pub(crate) async fn serve() -> Result<()> {
    use std::io::Write as _;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let answer = service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
                    b"{\"hello\":\"world\"}",
                ))))
            });
            // A caller that is gone is no trouble here.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

/// The bare server as a process of its own.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

pub(crate) async fn start() -> Result<Server> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("hello")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let out = child.stdout.take().context("no output")?;
    let line = BufReader::new(out).lines().next_line().await?;
    let address = line.context("the bare server said nothing")?.trim().parse()?;
    Ok(Server { child, address })
}

impl Server {
    pub(crate) async fn stop(mut self) {
        let _ = self.child.kill().await;
    }
}
