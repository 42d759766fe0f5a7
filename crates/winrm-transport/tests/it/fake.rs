//! Peers that are a few lines of bytes on a socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use winrm_transport::{Account, AuthMethod, Client, Command, Endpoint, Error, Settings};

pub(crate) const SHORT: Duration = Duration::from_secs(2);
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn settings(address: SocketAddr) -> Settings {
    let account = Account::parse("user", "hunter2-secret".to_owned().into()).unwrap();
    Settings::new(Endpoint::http(address.ip().to_string(), address.port()), account)
}

/// Serves every connection with `behave` until the handle is dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn fake<F, B>(behave: F) -> Fake
where
    F: Fn(TcpStream) -> B + Send + 'static,
    B: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(behave(stream));
        }
    });
    Fake { address, task }
}

/// Reads one request, body included, as text.
pub(crate) async fn request(stream: &mut TcpStream) -> io::Result<String> {
    let mut seen = Vec::new();
    loop {
        if let Some(head) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&seen[..head]).to_ascii_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if seen.len() >= head + 4 + length.unwrap_or(0_usize) {
                return Ok(String::from_utf8_lossy(&seen).into_owned());
            }
        }
        if stream.read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

pub(crate) async fn answer(stream: &mut TcpStream, status: &str, more: &str, body: &str) -> io::Result<()> {
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{more}\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await
}

pub(crate) async fn fails(fake: &Fake, change: impl FnOnce(&mut Settings)) -> Error {
    let mut settings = settings(fake.address);
    change(&mut settings);
    let client = Client::new(settings).unwrap();
    let error = timeout(LIMIT, client.run(&Command::new("x.exe"), LIMIT))
        .await
        .unwrap()
        .unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    error
}

pub(crate) fn basic(settings: &mut Settings) {
    settings.auth = AuthMethod::Basic;
    settings.allow_insecure_basic = true;
}
